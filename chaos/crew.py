"""The fleet's processes, and a supervisor's part: whoever dies is started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.stage import Stage
from chaos.clock import Clock

RESTART_S = {"work": 0.5, "run": 3.0, "api": 0.5}
"""From a death to the next start: long enough for two dispatchers to be away at once."""

STORE_AWAY = 5
"""The exit code of a program that could not reach the store."""


@dataclass(slots=True, eq=False)
class Member:
    """One post in the fleet and the process that fills it; ``lock`` is held by the fault that strikes it."""

    role: str
    arguments: tuple[str, ...]
    clock: Clock | None
    """Its own, where it has one."""
    process: subprocess.Popen[bytes]
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_frozen: bool = False
    frozen_ms: list[tuple[int, int]] = field(default_factory=list)
    """From when to when it stood still, by the wall clock."""
    _frozen_ms: int = 0

    @property
    def pid(self) -> int:
        """Of the process that fills the post now."""
        return self.process.pid

    def freeze(self) -> None:
        """SIGSTOP."""
        self._frozen_ms = _now_ms()
        os.kill(self.pid, signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self.moves()

    def moves(self) -> None:
        """Note that it stands still no more: it goes on, or is no more."""
        if self.is_frozen:
            self.is_frozen = False
            self.frozen_ms.append((self._frozen_ms, _now_ms()))


class Crew:
    """All posts of one fleet."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._lock = threading.Lock()
        self._timers: set[threading.Timer] = set()
        self._is_over = False
        self.members: list[Member] = []

    def post(self, role: str, *arguments: str, clock: Clock | None = None) -> Member:
        """Start one more process, at times one that lives by a clock of its own."""
        member = Member(role, arguments, clock, self._start(role, arguments, clock))
        self.members.append(member)
        return member

    def of(self, role: str) -> list[Member]:
        """The posts of a role."""
        return [member for member in self.members if member.role == role]

    def free(self, role: str) -> list[Member]:
        """Those that run and that no fault strikes now."""
        return [m for m in self.of(role) if not m.lock.locked() and m.process.poll() is None]

    def kill(self, member: Member) -> None:
        """SIGKILL; its post is filled again soon, and its lock released then by whoever holds it."""
        self._stage.kill(member.process)
        member.moves()

    def refill(self, member: Member) -> None:
        """Fill a post again after a moment, and release its lock."""
        timer = threading.Timer(RESTART_S[member.role], self._restart, [member])
        self._timers.add(timer)
        timer.start()

    def end(self) -> None:
        """Stop filling posts, and let the frozen go."""
        with self._lock:
            self._is_over = True
        for timer in self._timers:
            timer.cancel()
        for member in self.members:
            if member.is_frozen:
                with contextlib.suppress(ProcessLookupError):
                    member.thaw()

    def _start(self, role: str, arguments: Sequence[str], clock: Clock | None) -> subprocess.Popen[bytes]:
        return self._stage.start(role, *arguments, variables=clock.environment() if clock else None)

    def _restart(self, member: Member) -> None:
        with self._lock:
            if not self._is_over:
                member.process = self._start(member.role, member.arguments, member.clock)
        member.lock.release()

    def revive(self) -> list[str]:
        """Fill posts that emptied by themselves, and say which: no fault may end a process that was not killed.

        A worker that finds no store when it starts says so and ends; its supervisor starts it again, and so do we.
        """
        found = []
        for member in self.members:
            if member.process.poll() is not None and member.lock.acquire(blocking=False):
                if member.process.returncode != STORE_AWAY:
                    found.append(f"{member.role} ended by itself with {member.process.returncode}")
                self._stage.processes.remove(member.process)
                self.refill(member)
        return found


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
