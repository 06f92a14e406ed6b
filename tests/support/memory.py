"""A store in memory, for tests of what has no need of a server: the real scripts, on fakeredis."""

from __future__ import annotations

import fakeredis

from dispatcher.connection import AsyncStore
from workers.upstream.pacing import Limits, Pace, Pacing


def memory_store() -> AsyncStore:
    """An empty store of its own; it knows no server, so it never learns."""
    client = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    return AsyncStore(client, "{memory}")


def unhurried(store: AsyncStore | None = None) -> Pacing:
    """Limits that hold nothing up until an answer does."""
    limits = Limits(upstream="discord", egress="here", reads=Pace(), address=Pace(), invalid_max=300)
    return Pacing(store or memory_store(), limits)
