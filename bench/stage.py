"""A stage to measure or to break things on: a real server, the simulator, the service and workers, all processes.

Everything listens on loopback or a Unix socket, and ends with the stage. The server may also be the caller's own, or a
way to it that the caller cuts.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import Store, open_store
from dispatcher.embedded import EmbeddedStore
from dispatcher.secrets import keys_for
from dispatcher.settings import Settings
from simulator.process import running

SERVER = "1180000000000000000"
FIRST_CHANNEL = 1_197_013_797_467_000_000
STOP_S = 40.0


@dataclass(slots=True)
class Stage:
    """What runs, and how to start and stop more of it."""

    settings: Settings
    store: Store
    simulator_url: str
    folder: Path
    environment: dict[str, str]
    code: Path | None = None
    """The folder of the packages that the roles run; None: those of this process."""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _logs: list[IO[bytes]] = field(default_factory=list)

    def start(self, role: str, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start ``dispatcher <role>``; its log is ``<folder>/<role>-<n>.log``.

        Args:
            role: ``api``, ``run`` or ``work``.
            arguments: further ones.
            variables: of its environment, beside the stage's.
        """
        log = (self.folder / f"{role}-{len(self._logs)}.log").open("wb")
        self._logs.append(log)
        command = [sys.executable, "-m", "dispatcher", role, *arguments]
        environment = {**self.environment, **(variables or {})}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.code)
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """SIGKILL one process and collect it."""
        process.kill()
        process.wait()
        self.processes.remove(process)

    def stop(self) -> None:
        """SIGTERM everything that still runs, and collect it."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.poll() is None:
                process.kill()
                process.wait()
        for log in self._logs:
            log.close()

    def add_accounts(self, limits: Sequence[int], *, first_channel: int = FIRST_CHANNEL) -> list[str]:
        """Register one account per limit, and declare the limit to the oracle first; the channels."""
        accounts = Accounts(self.settings, keys_for(self.settings))
        channels = [str(first_channel + n) for n in range(len(limits))]
        with httpx.Client(base_url=self.simulator_url) as http:
            for channel, limit in zip(channels, limits, strict=True):
                token = f"discord-token-of-{channel}"
                body = {"token": token, "server": SERVER, "channel": channel, "max_jobs": limit}
                http.post("/sim/accounts", json=body).raise_for_status()
        self.store.do_many(
            [
                accounts.put(
                    user=1,
                    channel=channel,
                    server=SERVER,
                    secret=SecretStr(f"discord-token-of-{channel}"),
                    max_jobs=limit,
                )
                for channel, limit in zip(channels, limits, strict=True)
            ]
        )
        return channels

    def oracle(self, *, with_jobs: bool = True) -> dict[str, Any]:
        """What the upstream counted."""
        answer = httpx.get(f"{self.simulator_url}/sim/oracle", params={"jobs": int(with_jobs)}, timeout=30)
        verdict: dict[str, Any] = answer.raise_for_status().json()
        return verdict

    def slots_held(self) -> int:
        """Slots in use, over all channels."""
        keys = list(self.store.client.scan_iter(f"{self.settings.namespace}:slots:*", count=1000))
        return sum(int(self.store.client.zcard(key)) for key in keys)

    def beside(self, folder: Path, settings: Mapping[str, Any]) -> Stage:
        """Another fleet on the same server, simulator and keys, in another namespace: its roles log to ``folder``."""
        names = {"redis_url", "discord_api_url", "discord_upload_hosts", "secret_keys", "min_interval_ms"}
        shared = self.settings.model_dump(include=names)
        shared["secret_keys"] = shared["secret_keys"].get_secret_value()
        given = {**shared, **settings, "state_dir": str(folder)}
        return _dressed(given, simulator_url=self.simulator_url, folder=folder, code=self.code)


@contextmanager
def stage(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    redis_url: str | None = None,
    code: Path | None = None,
) -> Iterator[Stage]:
    """Set a stage in ``folder``: an empty server and a simulator; roles are started by the caller.

    Args:
        folder: for the store's files and the logs.
        settings: settings that differ from their defaults.
        redis_url: a server that the caller runs, or a way to it; None starts one.
        code: a folder with the packages that the roles run; None: those of this process.
    """
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    given = {"min_interval_ms": 0, **(settings or {}), "secret_keys": f"k1:{key}", "state_dir": str(folder)}
    with nullcontext(redis_url) if redis_url else _server(folder) as url, running() as simulator_url:
        played = {"discord_api_url": f"{simulator_url}/api/v9", "discord_upload_hosts": [simulator_url]}
        given |= {"redis_url": url, **played}
        built = _dressed(given, simulator_url=simulator_url, folder=folder, code=code)
        try:
            yield built
        finally:
            built.stop()
            built.store.close()


@contextmanager
def _server(folder: Path) -> Iterator[str]:
    """An embedded server while the block runs."""
    embedded = EmbeddedStore(folder)
    url = embedded.start()
    try:
        yield url
    finally:
        embedded.stop()


def _dressed(given: Mapping[str, Any], *, simulator_url: str, folder: Path, code: Path | None) -> Stage:
    """Build a stage whose processes have these settings and no others."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")}
    ours |= {
        f"DISPATCHER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in given.items()
    }
    settings = Settings(**given)
    store = open_store(str(given["redis_url"]), settings.namespace)
    return Stage(settings, store, simulator_url, folder, ours, code)
