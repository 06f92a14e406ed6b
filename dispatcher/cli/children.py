"""The child processes of `dispatcher up`: started, watched, restarted with back-off, stopped in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dispatcher.lifeline import Lifeline
from dispatcher.log import get_logger

POLL_S = 0.05
BACK_OFF_FIRST_S = 0.1
BACK_OFF_MAX_S = 5.0
STEADY_S = 30.0
"""A child that lived so long starts anew without back-off."""

log = get_logger(__name__)


class BackOff:
    """How long to wait before the next start: doubled by each early death, forgotten by a long life."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._started_s = time.monotonic()

    def started(self) -> None:
        """Note a start."""
        self._started_s = time.monotonic()

    def pause_s(self) -> float:
        """Seconds to wait after the death that is now."""
        lived_s = time.monotonic() - self._started_s
        self._pause_s = 0 if lived_s >= STEADY_S else min(BACK_OFF_MAX_S, self._pause_s * 2 or BACK_OFF_FIRST_S)
        return self._pause_s


class Child:
    """One process that is kept running.

    Args:
        name: what logs call it.
        command: its command line; secrets travel in the environment.
        environment: all of it.
        lifeline: what the child watches, to stop when this process is gone.
        on_ready: for a child that announces itself by a line of JSON on stdout: called with it, at each start.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: dict[str, str],
        lifeline: Lifeline,
        on_ready: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.exit_code: int | None = None
        self._environment = {**environment, **lifeline.environment()}
        self._lifeline = lifeline
        self._on_ready = on_ready
        self._heard = b""
        self._process: subprocess.Popen[bytes] | None = None
        self._back_off = BackOff()
        self._start_at_s = 0.0

    def start(self) -> None:
        """Start the process."""
        self._heard = b""
        self.exit_code = None
        self._back_off.started()
        self._process = subprocess.Popen(  # noqa: S603 (our own programs)
            self.command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if self._on_ready else sys.stderr,
            pass_fds=(self._lifeline.child_end,),
            start_new_session=True,  # Ctrl-C in the terminal is for `up`, which stops things in order
        )
        if self._process.stdout:
            os.set_blocking(self._process.stdout.fileno(), False)
        log.info("child started", child=self.name, pid=self._process.pid)

    def poll(self) -> None:
        """Hear an announcement, see an end, and start again when its time has come."""
        if self._process is None:
            if time.monotonic() >= self._start_at_s:
                self.start()
            return
        self._hear()
        code = self._process.poll()
        if code is None:
            return
        self._close()
        self.exit_code = code
        pause_s = self._back_off.pause_s()
        self._start_at_s = time.monotonic() + pause_s
        log.warning("child ended and is started again", child=self.name, exit_code=code, pause_s=pause_s)

    def signal(self, number: int) -> None:
        """Send a signal, if it runs."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def has_ended(self) -> bool:
        """Whether it runs no more; to be asked while stopping, when nothing is started again."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            return False
        self._close()
        return True

    def _hear(self) -> None:
        """Read what it wrote; the first line is its announcement."""
        if self._process is None or self._process.stdout is None or self._on_ready is None:
            return
        heard = self._process.stdout.read() or b""
        if b"\n" in self._heard:
            return
        self._heard += heard
        line, newline, _ = self._heard.partition(b"\n")
        if newline:
            self._on_ready(json.loads(line))

    def _close(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None


def stop_all(children: Sequence[Child], *, patience_s: float, is_hurried: Callable[[], bool]) -> None:
    """SIGTERM to all at once; SIGKILL to those left after ``patience_s``, or at once when hurried."""
    for child in children:
        child.signal(signal.SIGTERM)
    end_s = time.monotonic() + patience_s
    running = list(children)
    is_killed = False
    while running := [child for child in running if not child.has_ended()]:
        if not is_killed and (time.monotonic() > end_s or is_hurried()):
            is_killed = True
            for child in running:
                log.warning("child is killed", child=child.name)
                child.signal(signal.SIGKILL)
        time.sleep(POLL_S)
