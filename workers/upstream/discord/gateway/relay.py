"""What a token's session hears is told to the feed, where the jobs of all workers look; polling stays the fallback.

Invariant: nothing is concluded from an event but what it shows. A message that is whole is told as it stands; whatever
else happened (a part of an edit, a deletion, a session that may have missed something) has a list read. A channel
counts as fed only once an event of it was of use to a watcher, for ``FED_S`` at a time: when the session ends, lists
come at their own rhythm again by then at the latest.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from dispatcher.connection import AsyncStore
from dispatcher.errors import AccountRejected, StoreUnavailable, UpstreamBlocked
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done
from workers.upstream.discord.feed import Feed, Spot, spot_of
from workers.upstream.discord.gateway.events import Event, MessageGone, MessageTold, SessionDown, SessionUp
from workers.upstream.discord.gateway.seat import Seat
from workers.upstream.discord.gateway.session import Session

log = get_logger(__name__)

FED_S = 10.0
_WHOLE = frozenset({"author", "content", "attachments", "components", "flags", "timestamp", "type"})
_EPHEMERAL = 64
_WAITING_MAX = 10_000


class Relay:
    """One token's: waits for the place at its session, keeps it, and tells what it hears.

    Args:
        feed: is told.
        store: where the place is leased.
        token: the user's.
        find: says where the gateway is.
        check: turns an address into the one to connect to, or refuses it.
    """

    def __init__(
        self,
        feed: Feed,
        store: AsyncStore,
        token: str,
        *,
        find: Callable[[], Awaitable[str]],
        check: Callable[[str], str],
    ) -> None:
        self._feed = feed
        self._token = token
        self._seat = Seat(store, token, owner=secrets.token_hex(8))
        self._find = find
        self._check = check
        self._events: asyncio.Queue[Event] = asyncio.Queue(_WAITING_MAX)
        self._fed: set[Spot] = set()
        self._tasks = (
            asyncio.create_task(self._serve(), name="gateway session"),
            asyncio.create_task(self._tell(), name="gateway events"),
        )

    async def close(self) -> None:
        """End the session for good, and leave the place to another."""
        await cancel_until_done(*self._tasks)

    async def _serve(self) -> None:
        try:
            await self._seat.serve(self._session)
        except (AccountRejected, UpstreamBlocked) as error:
            log.error("gateway session given up", reason=str(error))  # noqa: TRY400 (its reason says all)

    async def _session(self) -> None:
        try:
            await Session(self._token, find=self._find, check=self._check, take=self._take).run()
        finally:
            self._take(SessionDown("it is another worker's, or is not wanted any more"))

    def _take(self, event: Event) -> None:
        if self._events.full():
            self._events.get_nowait()  # events may be lost: the list is the truth
        self._events.put_nowait(event)

    async def _tell(self) -> None:
        while True:
            event: Event | None = None
            try:
                async with asyncio.timeout(FED_S / 3):
                    event = await self._events.get()
            except TimeoutError:
                pass
            try:
                await (self._renew() if event is None else self._pass_on(event))
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
            case MessageTold() if event.raw.get("flags", 0) & _EPHEMERAL:
                return  # no list ever shows it, so it would count as deleted
            case MessageTold() if event.raw.keys() >= _WHOLE:
                spot = spot_of(self._token, event.channel)
                if await self._feed.tell_messages(spot, [event.raw]):
                    await self._feed_on(spot)
            case MessageTold() | MessageGone():
                await self._feed.want_list(spot_of(self._token, event.channel))
            case SessionUp(is_resumed=False):
                await self._want_lists()
            case SessionDown():
                await self._want_lists()
                self._fed.clear()

    async def _want_lists(self) -> None:
        for spot in tuple(self._fed):
            await self._feed.want_list(spot)
