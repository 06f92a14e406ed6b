"""`dispatcher up` as a process of its own, and everything that it started, found by the state directory they share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

PATIENCE_S = 60.0
TERMINAL = ("env", "--default-signal=INT")
"""Before a command: it takes Ctrl-C as in a terminal; a shell's background and ``nohup`` hand ignored signals down."""
SERVER = "1180000000000000000"
DEMO = {"DISPATCHER_POLL_MIN_S": "0.5", "DISPATCHER_POLL_MAX_S": "1", "DISPATCHER_MIN_INTERVAL_MS": "0"}


def until(claim: Callable[[], Any], what: str) -> Any:
    """Wait until a claim holds, and return what it gave; an upper bound only keeps a failure from hanging."""
    end_s = time.monotonic() + PATIENCE_S
    while not (found := claim()):
        assert time.monotonic() < end_s, f"never: {what}"
        time.sleep(0.02)
    return found


class Up:
    """One `dispatcher up`; a context manager that leaves no process behind, whatever the test did to it.

    It takes signals as in a terminal, also where the tests themselves run under ``nohup`` or in a shell's background,
    which hand ignored signals down.
    """

    hangup = "default"

    def __init__(self, state_dir: Path, *options: str, **environment: str) -> None:
        self.state_dir = state_dir
        self.log = state_dir.parent / "up.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
        self.environment = {**inherited, **environment}
        """What other commands run with, too."""
        signals = (*TERMINAL, f"--{self.hangup}-signal=HUP")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*signals, sys.executable, "-m", "dispatcher", "up", "--json", "--state-dir", str(state_dir), *options],
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            for pid in processes_of(self.state_dir):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()

    def ready(self) -> dict[str, Any]:
        """The line that it writes when calls are served."""
        if not self.lines:
            assert self.process.stdout is not None
            self.lines.append(self.process.stdout.readline())
            assert self.lines[0], self.log.read_text()
        announcement: dict[str, Any] = json.loads(self.lines[0])
        return announcement

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def token(self) -> str:
        """User 1's own token, made by the time that calls are served."""
        self.ready()
        return (self.state_dir / "token").read_text().strip()

    def call(self, method: str, path: str, *, token: str | None = None, **options: Any) -> httpx.Response:
        """Call the API."""
        headers = {"Authorization": f"Bearer {token or self.token()}"}
        return httpx.request(method, f"{self.ready()['url']}{path}", headers=headers, timeout=30, **options)

    def register(self, channel: str, *, max_jobs: int = 2) -> None:
        """Register an account over HTTP."""
        body = {"discord": f"discord-token-of-{channel}", "server": SERVER, "channel": channel, "maxJobs": max_jobs}
        answer = self.call("POST", f"/v1/pixverse/account/{channel}", json=body)
        assert answer.status_code == 204, answer.text

    def child(self, line: str) -> int:
        """Pid of the one child whose command line contains the text; 0 if there is none."""
        found = [pid for pid in processes_of(self.state_dir) if line in command_line(pid)]
        assert len(found) < 2
        return found[0] if found else 0

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run another command of the program on the same state directory."""
        line = [sys.executable, "-m", "dispatcher", *arguments, "--state-dir", str(self.state_dir)]
        return subprocess.run(
            line,
            input=stdin,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )


class DetachedUp(Up):
    """`dispatcher up` under ``nohup``."""

    hangup = "ignore"


def processes_of(state_dir: Path) -> list[int]:
    """Living processes that have the state directory in their command line or environment, but this one and `up`."""
    marks = (f"DISPATCHER_STATE_DIR={state_dir}\0".encode(), os.fsencode(state_dir / "store"))
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            text = (entry / "environ").read_bytes() + b"\0" + (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if any(mark in text for mark in marks):
            found.append(int(entry.name))
    return found


def command_line(pid: int) -> str:
    """The command line of a process; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def ignored_by(pid: int) -> set[int]:
    """The signals that a process ignores."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    mask = int(fields["SigIgn"], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}
