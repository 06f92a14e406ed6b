"""How long jobs took lately, by pool and command, from their acceptance to their result, on Discord's clock alone.

The instant at which we saw the result does not count: what is looked for late would be learned as late, for ever.
"""

from __future__ import annotations

import time
from typing import Any

from dispatcher.connection import AsyncStore, Call, command
from dispatcher.errors import StoreReplyError, StoreUnavailable
from workers.upstream.discord.rhythm import Took

KEPT = 64
"""Durations of a command that count: the latest."""
LEARNED_FROM = 8
"""Fewer say nothing about how long the next takes."""
_LIFE_MS = 7 * 86_400_000
_READ_AGAIN_S = 60.0
_LOOK_AGAIN_S = 5.0
"""While nobody knows: a fleet that has just begun learns by its first jobs."""


class Durations:
    """What this worker knows of them: read at most once a minute for each command, more often while nobody knows."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._known: dict[tuple[str, str], tuple[float, Took | None]] = {}

    async def of(self, pool: str, name: str) -> Took | None:
        """How long a command takes in a pool; None where nobody knows, or the store is away."""
        read_s, took = self._known.get((pool, name), (None, None))
        if read_s is not None and time.monotonic() - read_s < (_READ_AGAIN_S if took else _LOOK_AGAIN_S):
            return took
        try:
            took = await self._store.do(command("LRANGE", self._store.keys.of("took", pool, name), 0, -1, read=_took))
        except StoreUnavailable:
            return took
        self._known[pool, name] = (time.monotonic(), took)
        return took

    async def add(self, pool: str, name: str, *, job: str, took_ms: int) -> None:
        """Learn from a job; where the store is away nothing is learned."""
        try:
            await self._store.do(Call("took", (pool, name, job, max(0, took_ms), KEPT, _LIFE_MS), _none))
        except StoreUnavailable:
            return


def took_of(durations_ms: list[int]) -> Took | None:
    """Sum up durations in ms; None where they are too few."""
    if len(durations_ms) < LEARNED_FROM:
        return None
    ordered = sorted(durations_ms)
    tenth = len(ordered) // 10
    return Took(ordered[tenth] / 1000, ordered[-1 - tenth] / 1000)


def _took(reply: Any) -> Took | None:
    return took_of([int(entry.partition(" ")[0]) for entry in reply])


def _none(reply: Any) -> None:
    if reply != ["ok"]:
        raise StoreReplyError("took", reply)
