"""Virtual time: processes are generators that yield how long they sleep, on hosts that may die or freeze.

Nothing here waits: the clock jumps to the next process that wakes. So a run is as fast as its work, and the same seed
gives the same run.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator
from itertools import count
from typing import Any

Process = Generator[int, None, Any]


class Host:
    """Where processes run. Dead: none goes on. Frozen: all go on when it thaws, with what they knew."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_until_ms = 0


class Task:
    """A process on its host."""

    def __init__(self, host: Host, process: Process) -> None:
        self.host = host
        self.process = process
        self.is_over = False
        self._error: BaseException | None = None

    def interrupt(self, error: BaseException) -> None:
        """Raise ``error`` in the process where it sleeps, as soon as it wakes."""
        self._error = error

    def advance(self) -> int | None:
        """Go on to the next sleep; its length, None at the end."""
        error, self._error = self._error, None
        try:
            return self.process.throw(error) if error else next(self.process)
        except StopIteration:
            self.is_over = True
            return None

    def drop(self) -> None:
        """Its host died."""
        self.is_over = True
        self.process.close()


class Timeline:
    """The clock, and who wakes when."""

    def __init__(self) -> None:
        self.now_ms = 0
        self._wakes: list[tuple[int, int, Task]] = []
        self._sequence = count()

    def start(self, host: Host, process: Process, *, after_ms: int = 0) -> Task:
        """Let a process begin."""
        task = Task(host, process)
        self._wake(task, self.now_ms + after_ms)
        return task

    def run_until(self, instant_ms: int) -> None:
        """Let everything happen that happens before the instant."""
        while self._wakes and self._wakes[0][0] <= instant_ms:
            at_ms, _, task = heapq.heappop(self._wakes)
            self.now_ms = max(self.now_ms, at_ms)
            if task.host.is_dead:
                task.drop()
            elif task.host.frozen_until_ms > self.now_ms:
                self._wake(task, task.host.frozen_until_ms)
            elif (sleep_ms := task.advance()) is not None:
                self._wake(task, self.now_ms + sleep_ms)
        self.now_ms = instant_ms

    def close(self) -> None:
        """End all processes where they are."""
        for _, _, task in self._wakes:
            task.drop()
        self._wakes.clear()

    def _wake(self, task: Task, at_ms: int) -> None:
        heapq.heappush(self._wakes, (at_ms, next(self._sequence), task))
