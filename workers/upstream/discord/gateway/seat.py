"""One session a token over the fleet: the place at it is leased in Redis, and whoever has the place keeps the session.

Invariant: a process that runs closes its session before its lease can run out, counted on its own monotonic clock from
before it asked. So two processes have sessions of one token only while one of them is frozen: Discord closes that
one's, which sends no heartbeats, and its owner closes it as soon as it wakes. A store that lost the lease, or whose
clock jumped over it, may give the place away before that: until its holder asks the next time, a third of the lease.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Never

from dispatcher.connection import AsyncStore, Call
from dispatcher.errors import StoreReplyError, StoreUnavailable
from dispatcher.log import get_logger

log = get_logger(__name__)

TTL_S = 6.0
"""How long after its holder's death a session is opened elsewhere, at most; a holder renews three times in it."""
_DIGEST_CHARACTERS = 32
_SPREAD_S = 0.2
_CANCEL_AGAIN_S = 0.5
"""Long enough for a session to say goodbye, and not for another to be opened beside its successor's."""


class Seat:
    """The place at one token's session.

    Args:
        store: where the fleet meets.
        token: the user's; only its digest is kept.
        owner: this process, under a name that it has at this start only.
        ttl_s: how long the place is ours after each renewal.
    """

    def __init__(self, store: AsyncStore, token: str, *, owner: str, ttl_s: float = TTL_S) -> None:
        self._store = store
        self._digest = hashlib.sha256(token.encode()).hexdigest()[:_DIGEST_CHARACTERS]
        self._owner = owner
        self._ttl_s = ttl_s
        self._ours_until_s = 0.0
        self._closes_s = 0.0
        self._not_before_s = 0.0

    def close(self, *, for_s: float) -> None:
        """Have nobody of the fleet take the place for so long after the session that has it now."""
        self._closes_s = for_s

    async def serve(self, session: Callable[[], Coroutine[Any, Any, None]]) -> Never:
        """Run ``session`` while the place is ours, until cancelled; its failure ends this, and frees the place."""
        while True:
            try:
                wait_s = await self._take()
            except StoreUnavailable:
                wait_s = self._ttl_s / 3
            if wait_s is None:
                await self._while_ours(session)
                wait_s = 0.0
            await asyncio.sleep(wait_s + random.uniform(0, _SPREAD_S))  # noqa: S311 (to spread those who wait)

    async def _take(self) -> float | None:
        """Take or renew the place; None: it is ours; else the seconds after which it may be free.

        Raises:
            StoreUnavailable: nothing is known; what was ours is so until its time.
        """
        asked_s = time.monotonic()
        if asked_s < self._not_before_s:
            return self._not_before_s - asked_s
        taken_ms = await self._store.do(self._hold())
        if taken_ms is not None:
            return taken_ms / 1000
        self._ours_until_s = asked_s + self._ttl_s * 2 / 3
        return None

    async def _while_ours(self, session: Callable[[], Coroutine[Any, Any, None]]) -> None:
        serving = asyncio.create_task(session())
        renewing = asyncio.create_task(self._renew())
        try:
            while not (serving.done() or renewing.done()):
                left_s = self._ours_until_s - time.monotonic()
                if left_s <= 0:
                    break
                await asyncio.wait({serving, renewing}, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for ended in (serving, renewing):
                if ended.done():
                    ended.result()
            log.warning("gateway session is another worker's", reason="its lease could not be renewed")
        finally:
            await _end(serving, renewing)
            await self._leave()  # the session is closed by now, so its successor is never the second

    async def _renew(self) -> None:
        """Renew until the place is another's."""
        while True:
            await asyncio.sleep(self._ttl_s / 3)
            with suppress(StoreUnavailable):
                if await self._take() is not None:
                    return

    async def _leave(self) -> None:
        closed_s, self._closes_s = self._closes_s, 0.0
        self._not_before_s = time.monotonic() + closed_s
        args = (self._digest, self._owner, int(closed_s * 1000))
        try:
            await self._store.do(Call("session_leave", args, lambda reply: reply))
        except StoreUnavailable:
            return  # it runs out by itself

    def _hold(self) -> Call[int | None]:
        def read(reply: Any) -> int | None:
            match reply:
                case ["ours", str()]:
                    return None
                case ["taken" | "closed", int(left_ms)]:
                    return left_ms
                case _:
                    raise StoreReplyError("session_hold", reply)

        return Call("session_hold", (self._digest, self._owner, int(self._ttl_s * 1000)), read)


async def _end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks until they are done: redis-py may swallow a cancellation, and a session go on beside another's."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=_CANCEL_AGAIN_S)
    await asyncio.gather(*tasks, return_exceptions=True)
