"""What a token's session hears is told to the feed, where the jobs of all workers look; polling stays the fallback.

Invariant: nothing is concluded from an event but what it shows. A message that is whole is told as it stands; whatever
else happened (a part of an edit, a deletion, a session that may have missed something) has a list read. What
concerns an interaction, and messages that no list shows, go to :mod:`fates`, whether anybody waits or not. A channel
counts as fed only once an event of it was of use to a watcher, for ``FED_S`` at a time: when the session ends, lists
come at their own rhythm again by then at the latest.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Never

from dispatcher.checks import Checks
from dispatcher.errors import AccountRejected, StoreUnavailable, UpstreamBlocked
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done
from workers.upstream.discord.fates import Fates
from workers.upstream.discord.feed import Feed, Spot, digest_of, spot_of
from workers.upstream.discord.gateway.events import (
    Event,
    InteractionTold,
    MessageGone,
    MessageTold,
    SessionDown,
    SessionUp,
)
from workers.upstream.discord.gateway.seat import Seat
from workers.upstream.discord.gateway.session import Session
from workers.upstream.discord.messages import answered_in, is_bots
from workers.upstream.discord.sources import Login

log = get_logger(__name__)

FED_S = 10.0
_WHOLE = frozenset({"author", "content", "attachments", "components", "flags", "timestamp", "type"})
_EPHEMERAL = 64
_WAITING_MAX = 10_000
_CLOSING_S = 5.0
_PAUSE_FIRST_S, _PAUSE_MAX_S = 1.0, 60.0


class Relay:
    """One token's: waits for the place at its session, keeps it, and tells what it hears.

    A session that Discord refuses for good ends, and over the fleet none of this token is opened for ``retry_s``. If it
    is the token that is refused, the accounts that have it still are stopped, as by a 401.

    Args:
        feed: is told; the place is leased in its store.
        token: the user's.
        find: says where the gateway is.
        check: turns an address into the one to connect to, or refuses it.
        checks: stop an account.
        retry_s: after a session that was refused.
    """

    def __init__(
        self,
        feed: Feed,
        token: str,
        *,
        find: Callable[[], Awaitable[str]],
        check: Callable[[str], str],
        checks: Checks,
        retry_s: float,
    ) -> None:
        self._feed = feed
        self._fates = Fates(feed.store)
        self._token = token
        self._digest = digest_of(token)
        self._seat = Seat(feed.store, token, owner=f"{os.getpid()}.{secrets.token_hex(8)}")
        self._find = find
        self._check = check
        self._checks = checks
        self._retry_s = retry_s
        self._logins: dict[tuple[str, str], Login] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue(_WAITING_MAX)
        self._fed: set[Spot] = set()
        self._tasks = (
            asyncio.create_task(_insisted(self._serve), name="gateway session"),
            asyncio.create_task(_insisted(self._tell), name="gateway events"),
        )

    @property
    def is_watched(self) -> bool:
        """Whether jobs are followed by what it tells, in whatever process."""
        return bool(self._fed)

    def need(self, login: Login) -> None:
        """Note which account has the token."""
        self._logins[login.pool, login.channel] = login

    async def close(self) -> None:
        """End the session for good, and leave the place to another."""
        for task in self._tasks:
            task.cancel()
        # To say goodbye takes a moment; a second cancellation would cut it short, and the place would have to run out.
        await asyncio.wait(self._tasks, timeout=_CLOSING_S)
        await cancel_until_done(*self._tasks)

    async def _serve(self) -> Never:
        while True:
            try:
                await self._seat.serve(self._session)
            except (AccountRejected, UpstreamBlocked) as error:
                log.error("gateway session given up", reason=str(error), again_in_s=self._retry_s)  # noqa: TRY400 (its reason says all)
                if isinstance(error, AccountRejected):
                    await self._reject(error)

    async def _reject(self, refusal: AccountRejected) -> None:
        """Stop the accounts that have the token; the script leaves alone one that has got another since."""
        for login in tuple(self._logins.values()):
            call = self._checks.reject(
                refusal, pool=login.pool, channel=login.channel, secret_version=login.secret_version
            )
            state = await self._feed.store.insist(call)
            log.warning("account refused by the gateway", channel_id=login.channel, state=state, reason=refusal.reason)

    async def _session(self) -> None:
        try:
            await Session(self._token, find=self._find, check=self._check, take=self._take).run()
        except (AccountRejected, UpstreamBlocked):
            self._seat.close(for_s=self._retry_s)
            raise
        finally:
            self._take(SessionDown("it is another worker's, or is not wanted any more"))

    def _take(self, event: Event) -> None:
        if self._events.full():
            self._events.get_nowait()  # events may be lost: the list is the truth
        self._events.put_nowait(event)

    async def _tell(self) -> Never:
        while not self._events.empty():  # after a failure: they may be older by now than what lists have shown
            self._events.get_nowait()
        self._fed.clear()
        renewed_s = time.monotonic()
        while True:
            event: Event | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, renewed_s + FED_S / 3 - time.monotonic())):
                    event = await self._events.get()
            try:
                if event is not None:
                    await self._pass_on(event)
                if time.monotonic() - renewed_s >= FED_S / 3:
                    renewed_s = time.monotonic()
                    await self._renew()
            except StoreUnavailable as error:
                log.debug("event not told", reason=str(error))

    async def _renew(self) -> None:
        for spot in tuple(self._fed):
            await self._feed_on(spot)

    async def _feed_on(self, spot: Spot) -> None:
        is_watched = await self._feed.tell_fed(spot, for_s=FED_S)
        (self._fed.add if is_watched else self._fed.discard)(spot)

    async def _pass_on(self, event: Event) -> None:
        match event:
            case InteractionTold(interaction, nonce, fate, reason):
                await self._fates.tell(self._digest, interaction, nonce, fate, reason or 0)
            case MessageTold() if event.raw.get("flags", 0) & _EPHEMERAL:
                await self._tell_unlisted(event)  # no list ever shows it, so it would count as deleted
            case MessageTold() if event.raw.keys() >= _WHOLE and not is_bots(event.raw):
                return
            case MessageTold() if event.raw.keys() >= _WHOLE:
                spot = spot_of(self._token, event.channel)
                if event.nonce is not None and (answered := answered_in(event.raw)) is not None:
                    await self._fates.tell(self._digest, answered, event.nonce, "succeeded")
                if await self._feed.tell_messages(spot, [event.raw]):
                    await self._feed_on(spot)
            case MessageTold() | MessageGone():
                await self._feed.want_list(spot_of(self._token, event.channel))
            case SessionUp(is_resumed=False):
                await self._want_lists(self._fed)
            case SessionDown():
                fed, self._fed = self._fed, set()  # first: should the store be away, they run out by themselves
                await self._want_lists(fed)

    async def _tell_unlisted(self, event: MessageTold) -> None:
        interaction = answered_in(event.raw)
        if interaction is not None and event.raw.keys() >= _WHOLE:
            await self._fates.tell_unlisted(self._digest, interaction, event.nonce, event.raw)

    async def _want_lists(self, spots: Iterable[Spot]) -> None:
        for spot in tuple(spots):
            await self._feed.want_list(spot)


async def _insisted(duty: Callable[[], Coroutine[Any, Any, Never]]) -> Never:
    """Do a duty until cancelled; a fault of ours is told once, and tried again after growing pauses."""
    pause_s = 0.0
    while True:
        began_s = time.monotonic()
        try:
            await duty()
        except Exception:
            if time.monotonic() - began_s > _PAUSE_MAX_S:
                pause_s = 0.0
            if not pause_s:
                log.exception("gateway relay failed")
        pause_s = min(_PAUSE_MAX_S, pause_s * 2 or _PAUSE_FIRST_S)
        await asyncio.sleep(pause_s)
