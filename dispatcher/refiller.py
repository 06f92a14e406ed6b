"""Grants what waits and re-admits accounts whose cooling is over: the safety net behind every inline refill."""

from __future__ import annotations

from typing import Any

from dispatcher.connection import AsyncStore, Call, command
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.replies import milliseconds
from dispatcher.slots import Slots

INTERVAL_S = 0.25

log = get_logger(__name__)


class Refiller(Loop):
    """Dispatches every pool; sleeps until the earliest account is due, at most 250 ms."""

    def __init__(self, store: AsyncStore, slots: Slots) -> None:
        super().__init__()
        self._store = store
        self._slots = slots
        self._interval_s = INTERVAL_S

    def interval(self) -> float:
        """Seconds until the earliest account is due, at most 0.25; 0 when more waits."""
        return self._interval_s

    async def step(self) -> None:
        """Dispatch each pool once."""
        pools = await self._store.do(command("SMEMBERS", self._store.keys.of("pools"), read=sorted))
        calls: list[Call[Any]] = [command("TIME", read=milliseconds)]
        calls += [self._slots.dispatch(pool) for pool in pools]
        now_ms, *replies = await self._store.do_many(calls)
        if grants := sum(granted for granted, _, _ in replies):
            log.info("slots granted", grants=grants)
        self._interval_s = min(
            (_wait_s(is_more=more, due_ms=due_ms, now_ms=now_ms) for _, more, due_ms in replies), default=INTERVAL_S
        )


def _wait_s(*, is_more: bool, due_ms: int, now_ms: int) -> float:
    """Seconds until a pool needs the next dispatch; both instants are Redis's, as clocks differ."""
    if is_more:
        return 0
    if not due_ms:
        return INTERVAL_S
    return min(INTERVAL_S, max(0, due_ms - now_ms) / 1000)
