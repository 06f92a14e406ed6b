"""The demo's fleet: `dispatcher up --simulator` as a process, and its accounts, registered over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

STOP_S = 30
SERVER = "1180000000000000000"
TOKEN = "user:1-demo"  # noqa: S105 (a token of the demo's own throw-away service)


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """One account of the demo."""

    channel: str
    max_jobs: int


ACCOUNTS = (
    DemoAccount("1197013797467074001", 2),
    DemoAccount("1197013797467074002", 3),
    DemoAccount("1197013797467074003", 5),
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Where the running service is reached."""

    url: str
    redis_url: str
    simulator_url: str

    def register(self, account: DemoAccount) -> None:
        """POST the account, as any client of the contract does."""
        body = {
            "discord": f"demo-discord-token-of-{account.channel}",
            "server": SERVER,
            "channel": account.channel,
            "maxJobs": account.max_jobs,
        }
        headers = {"Authorization": f"Bearer {TOKEN}"}
        url = f"{self.url}/v1/pixverse/account/{account.channel}"
        httpx.post(url, json=body, headers=headers, timeout=10).raise_for_status()

    def oracle(self, *, with_jobs: bool) -> dict[str, Any]:
        """What the upstream counted."""
        answer = httpx.get(f"{self.simulator_url}/sim/oracle", params={"jobs": int(with_jobs)}, timeout=10)
        verdict: dict[str, Any] = answer.raise_for_status().json()
        return verdict


@contextmanager
def running_fleet(state_dir: Path, config: Path, log: Path) -> Iterator[Fleet]:
    """Start everything with one command, and leave no process behind."""
    command = [sys.executable, "-m", "dispatcher", "up", "--simulator", "--json", "--port", "0"]
    command += ["--state-dir", str(state_dir), "--config", str(config), "--token", TOKEN]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
    with log.open("wb") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)  # noqa: S603 (ours)
        try:
            assert process.stdout is not None  # noqa: S101 (PIPE was asked for)
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the service did not start (exit {process.wait()}); its log is {log}")
            ready = json.loads(line)
            yield Fleet(ready["url"], ready["redis_url"], ready["simulator"])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
