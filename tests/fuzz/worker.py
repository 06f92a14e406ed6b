"""A worker as ours behave (``workers/run.py``, ``ledger.py``, ``renewal.py``, ``recent.py``), in virtual time.

It takes deliveries, holds their leases in memory, renews them, tells a store again what it lost, and may die or freeze
between any two steps. What it sent travels on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dispatcher.connection import Call
from dispatcher.errors import LeaseLost, RolledBack
from dispatcher.handoff import DeliveryId
from dispatcher.leases import LEASES_A_CALL, Holding
from tests.fuzz.stage import QUEUE_KEY
from tests.fuzz.timeline import Host, Process, Task

if TYPE_CHECKING:
    from tests.fuzz.execution import Execution
    from tests.fuzz.history import History

T = TypeVar("T")
Steps = Generator[int, None, T]

HEARTBEAT_MS = 5000
REMEMBERED_MS = 30_000
STOP_MS = 25_000
INTERMEDIATE_KEY = f"{QUEUE_KEY}:intermediate"


@dataclass(frozen=True, slots=True)
class Ending:
    """One delivery's end, to be told again to a store that lost it."""

    holding: Holding
    call: Call[Any]
    ended_ms: int


class Worker(Host):
    """One process."""

    def __init__(self, name: str, history: History) -> None:
        super().__init__(name)
        self.history = history
        self.held: dict[DeliveryId, tuple[Execution, Task]] = {}
        self.at_gate: dict[str, Execution] = {}
        self.recent: list[Ending] = []
        self.is_taking = False
        self.is_stopping = False
        history.timeline.start(self, self._renewing(), after_ms=history.chance.randint(0, HEARTBEAT_MS))

    def take(self) -> None:
        """Take what waits in RQ's queue, unless it is being done."""
        if not self.is_taking and not self.is_stopping:
            self.is_taking = True
            self.history.timeline.start(self, self._taking())

    def stop(self) -> None:
        """SIGTERM: hand all deliveries on, then end."""
        self.is_stopping = True
        self.history.timeline.start(self, self._stopping())

    def _taking(self) -> Process:
        from tests.fuzz.execution import Execution  # noqa: PLC0415 (each knows the other)

        client, chance = self.history.stage.client, self.history.chance
        yield chance.randint(1, 60)
        while not self.is_stopping:
            popped = client.lmove(QUEUE_KEY, INTERMEDIATE_KEY, "LEFT", "RIGHT")
            if popped is None:
                break
            self.history.taken.add(str(popped))
            yield chance.choice((1, 3, 10, 40))  # killed here, its id is lost
            client.lrem(INTERMEDIATE_KEY, 1, str(popped))
            execution = Execution(self, DeliveryId.parse(str(popped)))
            execution.task = self.history.timeline.start(self, execution.run())
        self.is_taking = False

    def _renewing(self) -> Process:
        while True:
            yield from self._renew_all()
            yield from self._tell_recent()
            for pool in self.history.pools:
                yield from self.history.ask(self.history.slots.dispatch(pool))
            self.take()
            yield HEARTBEAT_MS

    def _renew_all(self) -> Process:
        mine = [execution for execution, _ in self.held.values()]
        for start in range(0, len(mine), LEASES_A_CALL):
            chunk = mine[start : start + LEASES_A_CALL]
            holdings = [execution.holding for execution in chunk]
            call = self.history.slots.renew([holding.lease for holding in holdings])
            verdicts = yield from self.history.ask(call)
            asked_ms = self.history.last_run_ms
            for execution, holding, verdict in zip(chunk, holdings, verdicts, strict=True):
                if verdict == "ok":
                    execution.confirmed_ms = asked_ms
                elif verdict == "lost":
                    self._give_up(execution)
                else:
                    yield from self._reassert(execution, holding)

    def _reassert(self, execution: Execution, holding: Holding) -> Process:
        try:
            yield from self.history.ask(self.history.slots.reassert(holding))
        except LeaseLost:
            self._give_up(execution)
        else:
            self.history.judge.reasserted(holding)

    def _give_up(self, execution: Execution) -> None:
        delivery = execution.holding.lease.delivery
        if delivery in self.held:
            self.history.judge.lost(execution)
            self.held[delivery][1].interrupt(LeaseLost(delivery.job_id, "taken over"))

    def _tell_recent(self) -> Process:
        endings = list(self.recent)
        asked_ms = self.history.timeline.now_ms
        if endings:
            call = self.history.slots.renew([ending.holding.lease for ending in endings[:LEASES_A_CALL]])
            verdicts = yield from self.history.ask(call)
            for ending, verdict in zip(endings, verdicts, strict=False):
                if verdict != "lost":
                    yield from self._tell_again(ending, is_forgotten=verdict == "rolled_back")
        self.recent = [ending for ending in self.recent if ending.ended_ms >= asked_ms - REMEMBERED_MS]

    def _tell_again(self, ending: Ending, *, is_forgotten: bool) -> Process:
        with suppress(LeaseLost, RolledBack):
            if is_forgotten:
                yield from self.history.ask(self.history.slots.reassert(ending.holding))
            yield from self.history.ask(ending.call)

    def _stopping(self) -> Process:
        until_ms = self.history.timeline.now_ms + STOP_MS
        while self.held and self.history.timeline.now_ms < until_ms:
            mine = [(execution, task) for execution, task in self.held.values()][:LEASES_A_CALL]
            call = self.history.slots.yield_([execution.holding.lease for execution, _ in mine])
            verdicts = yield from self.history.ask(call)
            for (execution, task), verdict in zip(mine, verdicts, strict=True):
                if verdict in {"ok", "stale"}:
                    task.interrupt(LeaseLost(execution.holding.lease.delivery.job_id, "yielded"))
                elif verdict == "rolled_back":
                    yield from self._reassert(execution, execution.holding)
            yield 1000
        self.is_dead = True


def insisted(history: History, make: Callable[[], Call[T]], reassert: Callable[[], Process]) -> Steps[T]:
    """Make a transition; where the store lost what it knew of us, tell it again first."""
    while True:
        try:
            return (yield from history.ask(make()))
        except RolledBack:
            yield from reassert()
        yield 100
