"""Callers: they submit in bursts, with pins, limits, priorities, deadlines and keys, and cancel at any time."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from dispatcher.errors import DispatcherError, JobNotFound
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from tests.fuzz.timeline import Process

if TYPE_CHECKING:
    from tests.fuzz.history import History

BURST = 6
BURST_MAX = 14


class Callers:
    """All callers of a history."""

    def __init__(self, history: History, jobs: int) -> None:
        self.history = history
        self.left = jobs
        self.under_way = 0
        self._keys: dict[str, str] = {}

    @property
    def are_done(self) -> bool:
        """Whether all jobs were submitted, and all who would cancel did."""
        return not self.left and not self.under_way

    def begin(self) -> None:
        """Let them call."""
        self.history.timeline.start(self.history.network, self._calling())

    def burst(self) -> None:
        """Many at once, now."""
        for _ in range(BURST):
            self._submit()

    def _calling(self) -> Process:
        chance = self.history.chance
        while self.left:
            count = min(self.left, chance.choice((1, 1, 3, BURST_MAX)))
            is_rush = count == BURST_MAX and chance.random() < 0.5
            for _ in range(count):
                self.left -= 1
                self._submit(is_pinned=is_rush and chance.random() < 0.8)
            yield chance.choice((50, 500, 4000, 15_000))

    def _submit(self, *, is_pinned: bool = False) -> None:
        chance, history = self.history.chance, self.history
        user = int(chance.choice(history.pools).partition(":")[0])
        channels = history.operator.channels[f"{user}:discord"]
        options = Options(
            user=user,
            idempotency_key=f"k{next(history.numbers)}" if chance.random() < 0.1 else None,
            priority=chance.choice((0, 0, 0, -100, 100)),
            channel=channels[0] if is_pinned else chance.choice((None, None, None, chance.choice(channels))),
            deadline_s=chance.choice((None, None, None, 20, 45)),
            mode=chance.choice(("wait", "wait", "wait", "refuse")),
        )
        request = CreateSingle(prompt="a cat", style="Realistic", maxJobs=chance.choice((None, None, None, 1, 2)))
        for _ in range(2 if options.idempotency_key else 1):
            self.under_way += 1
            history.timeline.start(history.network, self._call(request, options), after_ms=chance.randint(0, 40))

    def _call(self, request: CreateSingle, options: Options) -> Process:
        from tests.fuzz.history import submitted_as  # noqa: PLC0415 (each knows the other)

        history, chance = self.history, self.history.chance
        name = f"j{next(history.numbers)}"
        try:
            job = yield from history.ask(submitted_as(history.jobs.submit(request, options), name))
        except DispatcherError:
            self.under_way -= 1
            return
        history.accepted.setdefault(job.id, history.last_run_ms)
        if options.idempotency_key and history.last_run_ms > history.judge.rolled_ms + 2000:
            first = self._keys.setdefault(options.idempotency_key, job.id)
            history.judge.key_served(options.idempotency_key, first, job.id)
        if chance.random() < 0.25:
            yield chance.choice((0, 1000, 4000, 10_000, 20_000))
            with suppress(JobNotFound):  # the store lost it
                yield from history.ask(history.jobs.cancel(job.id))
        self.under_way -= 1
