"""One poller per token and channel, whatever the number of jobs: it reads the channel, the jobs read its looks.

A look reads every message from the oldest unfinished job's on: edits keep their ids, so "what is new" would miss them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from dispatcher.errors import AccountRejected, CallHeld, RateLimited, UpstreamBlocked, UpstreamError
from dispatcher.log import get_logger
from workers.upstream.discord.messages import ChannelMessage, fingerprint
from workers.upstream.discord.rest import PAGE_MAX, Rest
from workers.upstream.discord.rhythm import Bounds, next_look_s
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_TROUBLE_PAUSE_S = 1.0
_REFUSED_PAUSE_S = 60.0
"""A refused reading counts as an invalid request, and ten thousand of them block the address."""


class Observer:
    """Reads one channel with one token while somebody watches."""

    def __init__(self, rest: Rest, *, token: str, channel: str, bounds: Bounds, closed: Callable[[], object]) -> None:
        self._rest = rest
        self._token = token
        self._channel = channel
        self._bounds = bounds
        self._closed = closed
        self._watches: set[Watch] = set()
        self._seen: dict[int, tuple[Any, ...]] = {}
        self._changed = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None

    def enter(self, watch: Watch) -> None:
        """Add a watch; the first starts the poller."""
        self._watches.add(watch)
        self._changed.set()
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name=f"poll {self._channel}")
            self._poller.add_done_callback(self._tell_end)

    def leave(self, watch: Watch) -> None:
        """Remove a watch; the last stops the poller."""
        self._watches.discard(watch)
        if not self._watches and self._poller is not None:
            self._poller.cancel()
            self._poller = None
            self._closed()

    async def is_readable(self) -> bool:
        """Whether the channel shows us its messages: without permission Discord lists none, and says nothing.

        An empty list is believed only if the channel's description, too, knows of no message.
        """
        if await self._rest.messages(self._token, self._channel, limit=1):
            return True
        return await self._rest.last_message_id(self._token, self._channel) is None

    async def page_before(self, message_id: int) -> list[ChannelMessage]:
        """Read the page of messages before one, oldest first."""
        page = await self._rest.messages(self._token, self._channel, before=message_id)
        return parsed(sorted(page, key=_id))

    def prompts(self) -> dict[int, str]:
        """Prompts of the jobs that watch, by their interaction, as far as both are known."""
        return {watch.remote_id: watch.prompt for watch in self._watches if watch.remote_id is not None}

    async def _poll(self) -> None:
        last_s: float | None = None
        not_before_s = 0.0
        troubles = 0
        while True:
            await self._sleep_until_due(last_s, not_before_s)
            last_s = time.monotonic()
            try:
                await self._look(last_s)
                troubles = 0
            except UpstreamError as error:
                troubles += 1
                pause_s = self._pause_s(error, troubles)
                not_before_s = time.monotonic() + pause_s
                log.warning("channel not read", channel_id=self._channel, reason=str(error), pause_s=round(pause_s, 1))
                if isinstance(error, AccountRejected):
                    for watch in self._watches:
                        watch.fail(error)

    async def _sleep_until_due(self, last_s: float | None, not_before_s: float) -> None:
        """Sleep until the next look is due; whoever enters or is answered may move that instant."""
        while True:
            self._changed.clear()
            unanswered_s = max((w.sent_s for w in self._watches if w.is_unanswered), default=None)
            youngest_s = max(w.sent_s for w in self._watches)
            due_s = next_look_s(last_s=last_s, unanswered_s=unanswered_s, youngest_s=youngest_s, bounds=self._bounds)
            wait_s = max(due_s, not_before_s) - time.monotonic()
            if wait_s <= 0:
                return
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _look(self, started_s: float) -> None:
        watches = tuple(self._watches)
        window = await self._window(after=min(watch.since_id for watch in watches))
        seen = {_id(raw): fingerprint(raw) for raw in window}
        changed = {message_id for message_id, print_ in seen.items() if self._seen.get(message_id) != print_}
        self._seen = seen
        new_since = min((watch.since_id for watch in watches if not watch.has_looked), default=None)
        wanted = (
            changed if new_since is None else changed | {message_id for message_id in seen if message_id > new_since}
        )
        messages = parsed(raw for raw in window if _id(raw) in wanted)
        present = frozenset(seen)
        for watch in watches:
            news = (m for m in messages if m.id > watch.since_id and (m.id in changed or not watch.has_looked))
            watch.show(Look(started_s, tuple(news), present))

    async def _window(self, *, after: int) -> list[dict[str, Any]]:
        """Read all messages after an id, oldest first, page by page."""
        window: list[dict[str, Any]] = []
        while True:
            page = await self._rest.messages(self._token, self._channel, after=after)
            page.sort(key=_id)
            window += page
            if len(page) < PAGE_MAX:
                return window
            after = _id(page[-1])

    def _pause_s(self, error: UpstreamError, troubles: int) -> float:
        match error:
            case RateLimited():
                return error.retry_after_s
            case CallHeld():
                return error.wait_s
            case UpstreamBlocked():
                return error.retry_after_s or _REFUSED_PAUSE_S
            case AccountRejected():
                return max(_REFUSED_PAUSE_S, self._bounds.max_s)
            case _:
                return min(self._bounds.max_s, _TROUBLE_PAUSE_S * 2.0 ** min(troubles - 1, 10))

    def _tell_end(self, poller: asyncio.Task[None]) -> None:
        """A poller ends by itself only through a fault of ours: the jobs must hear of it, not wait for ever."""
        if poller.cancelled():
            return
        self._poller = None
        self._closed()
        failure = poller.exception() or RuntimeError("the poller ended")
        for watch in self._watches:
            watch.fail(failure)


class Observers:
    """All channels that jobs of this process watch."""

    def __init__(self, rest: Rest, bounds: Bounds) -> None:
        self._rest = rest
        self._bounds = bounds
        self._observers: dict[tuple[str, str], Observer] = {}

    def of(self, token: str, channel: str) -> Observer:
        """Return the observer of a channel; enter a watch before anything else runs, or it may be gone."""
        key = (token, channel)
        if key not in self._observers:
            self._observers[key] = Observer(
                self._rest,
                token=token,
                channel=channel,
                bounds=self._bounds,
                closed=lambda: self._observers.pop(key, None),
            )
        return self._observers[key]


def parsed(window: Iterable[dict[str, Any]]) -> list[ChannelMessage]:
    """Read the messages of bots; one in an unknown shape is passed over, by name."""
    messages = []
    for raw in window:
        if not (raw.get("author") or {}).get("bot"):
            continue
        try:
            messages.append(ChannelMessage.model_validate(raw))
        except ValidationError as error:
            log.warning("message in an unknown shape", message_id=raw.get("id"), reason=error.errors()[0]["msg"])
    return messages


def _id(raw: dict[str, Any]) -> int:
    return int(raw["id"])
