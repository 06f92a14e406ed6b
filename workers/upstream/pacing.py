"""The limits of one upstream, shared by all workers through Redis: who may call when, and what its answers forbid.

Every call asks first (``Pacing.turn``, or ``Pacing.clear`` where nothing may wait) and every answer that speaks of
limits is told (``Pacing.hear``). Three things can hold a call up, each until an instant on Redis's clock: a *block* on
its route, on its secret or on the whole address, which is only ever extended; an empty *bucket*; and the *pace*, a few
calls at once and then one per interval, of a route and of the address.

The address is what the internet sees of a host; operators name it by the setting ``egress``. A secret is known here by
a digest, never in clear.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from dispatcher.connection import AsyncStore, Call
from dispatcher.errors import CallHeld, StoreReplyError, StoreUnavailable
from dispatcher.leases import REASON_CHARACTERS
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done

T = TypeVar("T")

log = get_logger(__name__)

WAIT_IN_PLACE_S = 10.0
"""A longer wait is not spent on a slot, nor in a poller: whoever called is told how long, and does better things."""
INVALID_WINDOW_MS = 600_000
"""Discord counts refused requests of an address by ten minutes; nobody else says."""
_DIGEST_CHARACTERS = 32

Blocks = Literal["", "route", "token", "address"]


@dataclass(frozen=True, slots=True)
class Route:
    """What an upstream counts by: the endpoint, and the part of its path that it counts apart (a channel, a server)."""

    name: str
    major: str = "-"


@dataclass(frozen=True, slots=True)
class Pace:
    """``burst`` calls at once, and one per ``interval_ms`` in the long run; 0 is no pace."""

    interval_ms: float = 0.0
    burst: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is the operator's to say of an upstream's limits.

    Args:
        upstream: its name.
        egress: the address that this host's calls leave from.
        reads: the pace of each route that is read.
        address: the pace of all calls of the address.
        invalid_max: after so many refused calls within ten minutes no call leaves the address for ten more.
    """

    upstream: str
    egress: str
    reads: Pace
    address: Pace
    invalid_max: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as an answer described it: its name, the calls left in it, and when it is full again, in seconds."""

    name: str
    remaining: int
    reset_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What an answer said of limits.

    Args:
        blocks: what must not be called any more: this route with this secret, anything with it, or anything from here.
        for_s: for how long.
        reason: what the operator reads.
        is_invalid: it counts among the refusals for which upstreams block an address.
        bucket: the bucket of the route, where it was named.
    """

    blocks: Blocks = ""
    for_s: float = 0.0
    reason: str = ""
    is_invalid: bool = False
    bucket: Bucket | None = None

    @property
    def is_news(self) -> bool:
        """Whether the others must know."""
        return bool(self.blocks or self.is_invalid or self.bucket)


@dataclass(frozen=True, slots=True)
class _Held:
    """The call must not leave for ``wait_ms``."""

    wait_ms: int
    scope: str
    reason: str


class Pacing:
    """Asks and tells for one upstream. While the store is away every call waits: nothing leaves unpaced."""

    def __init__(self, store: AsyncStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self._away = asyncio.Lock()
        self._telling: set[asyncio.Task[None]] = set()

    async def turn(
        self,
        secret: str,
        route: Route,
        *,
        pace: Pace | None = None,
        leaves: bool = True,
        patience_s: float = WAIT_IN_PLACE_S,
    ) -> None:
        """Wait until a call may leave; no thread is held meanwhile, and no connection.

        Args:
            secret: whose call it is.
            route: what it calls.
            pace: of the route; without it that of reads.
            leaves: whether the call leaves now, and takes its place in a bucket; else it is about to be asked again.
            patience_s: how long to wait at most, the store's absence not counted.

        Raises:
            CallHeld: it would wait longer.
        """
        pace = self._limits.reads if pace is None else pace
        end_s = time.monotonic() + patience_s
        has_turn = False
        while True:
            left_s = max(0.0, end_s - time.monotonic())
            ask = self._ask(secret, route, None if has_turn else pace, patience_s=left_s, leaves=leaves)
            verdict = await self._insist(ask)
            if isinstance(verdict, _Held):
                if verdict.wait_ms > left_s * 1000:
                    raise self._held(verdict)
                await asyncio.sleep(verdict.wait_ms / 1000)
            elif verdict == 0:
                return
            else:  # the turn is ours, and in its time a block may begin
                has_turn = True
                await asyncio.sleep(verdict / 1000)

    async def clear(self, secret: str, route: Route) -> None:
        """Return if the call may leave this instant; its turn was taken before.

        Raises:
            CallHeld: it may not.
            StoreUnavailable: nobody knows.
        """
        verdict = await self._store.do(self._ask(secret, route, None, patience_s=0, leaves=True))
        if isinstance(verdict, _Held):
            raise self._held(verdict)

    async def hear(self, secret: str, route: Route, heard: Heard) -> None:
        """Tell all workers what an answer said, however long the store is away; free where it said nothing.

        It is told although whoever asked is cancelled: a job that ends must not hide a limit that all others have.
        """
        if not heard.is_news:
            return
        telling = asyncio.create_task(self._have_told(secret, route, heard), name="limits told")
        self._telling.add(telling)
        telling.add_done_callback(self._telling.discard)
        await asyncio.shield(telling)

    async def close(self) -> None:
        """Tell nothing more; no call is under way."""
        await cancel_until_done(*self._telling)

    async def _have_told(self, secret: str, route: Route, heard: Heard) -> None:
        shut = await self._insist(self._tell(secret, route, heard))
        if shut is not None:
            log.error(
                "address closed",
                upstream=self._limits.upstream,
                egress=self._limits.egress,
                for_s=shut.wait_ms / 1000,
                reason=shut.reason,
            )

    async def _insist(self, call: Call[T]) -> T:
        """Make the round trip, however long the store is away: then one of this process tries for all that wait."""
        if not self._away.locked():
            with suppress(StoreUnavailable):
                return await self._store.do(call)
        async with self._away:
            return await self._store.insist(call)

    def _held(self, held: _Held) -> CallHeld:
        upstream = self._limits.upstream
        where = {
            "address": f"no call leaves the address {self._limits.egress}",
            "token": "no call leaves with this secret",
        }.get(held.scope, "this call does not leave")
        is_address = held.scope == "address"
        wait_s = held.wait_ms / 1000 * (_spread() if is_address else 1)
        return CallHeld(upstream, f"{where}: {held.reason}", wait_s=wait_s, is_address=is_address)

    def _place(self, secret: str, route: Route) -> tuple[str, str, str, str, str]:
        limits = self._limits
        return limits.upstream, limits.egress, digest_of(secret), route.name, route.major

    def _ask(
        self, secret: str, route: Route, pace: Pace | None, *, patience_s: float, leaves: bool
    ) -> Call[int | _Held]:
        """Ask for a turn, or (without a pace) only whether something forbids the call: ms to wait, or what holds it."""
        paces = (pace, self._limits.address) if pace is not None else (Pace(), Pace())
        intervals = [part for given in paces for part in (round(given.interval_ms * 1000), given.burst)]

        def read(reply: Any) -> int | _Held:
            match reply:
                case ["go", wait_ms]:
                    return int(wait_ms)
                case ["held", wait_ms, str(scope), str(reason)]:
                    return _Held(int(wait_ms), scope, reason)
                case _:
                    raise StoreReplyError("pace", reply)

        return Call("pace", (*self._place(secret, route), *intervals, int(patience_s * 1000), int(leaves)), read)

    def _tell(self, secret: str, route: Route, heard: Heard) -> Call[_Held | None]:
        bucket = heard.bucket or Bucket("", 0, 0)
        args = (
            *(heard.blocks, round(heard.for_s * 1000), heard.reason[:REASON_CHARACTERS]),
            *(secrets.token_hex(8) if heard.is_invalid else "", INVALID_WINDOW_MS, self._limits.invalid_max),
            *(bucket.name, bucket.remaining, round(bucket.reset_after_s * 1000)),
        )

        def read(reply: Any) -> _Held | None:
            match reply:
                case ["ok"]:
                    return None
                case ["shut", wait_ms, str(reason)]:
                    return _Held(int(wait_ms), "address", reason)
                case _:
                    raise StoreReplyError("paced", reply)

        return Call("paced", (*self._place(secret, route), *args), read)


def _spread() -> float:
    """Up to a tenth more: all that waits for an address must not leave it at one instant, or it is refused again."""
    return 1 + secrets.randbelow(1000) / 10_000


def digest_of(secret: str) -> str:
    """Name a secret in a key: SHA-256, which nobody can turn back, for a token is long and made by chance."""
    return hashlib.sha256(secret.encode()).hexdigest()[:_DIGEST_CHARACTERS]
