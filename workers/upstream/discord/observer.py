"""One observer per token and channel, whatever the number of jobs: it asks for the channel's looks, the jobs read them.

Looks are shared by all workers (:mod:`feed`). An observer asks when one of its own jobs needs a look: another worker
may have read meanwhile, may be reading, or the turn is ours. A look reads every message from the oldest unfinished
job's on: edits keep their ids, so "what is new" would miss them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from dispatcher.errors import AccountRejected, RateLimited, StoreUnavailable, UpstreamError, UpstreamUnavailable
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done
from workers.upstream.discord.feed import TURN_MS, Feed, Turn, View, spot_of, trouble_of
from workers.upstream.discord.messages import ChannelMessage, id_of, parsed
from workers.upstream.discord.questions import Questions
from workers.upstream.discord.rest import PAGE_MAX, Rest
from workers.upstream.discord.rhythm import (
    Bounds,
    next_look_beside_events_s,
    next_look_s,
    pause_after_s,
    pause_of_others_s,
)
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_ASK_AGAIN_S = 0.5
"""While another reads: should the hint that it is done be lost, or the store be away."""
_PAGE_AGAIN_S = 1.0
_NO_TURN = -1
"""Keeps a turn that is ours, and is granted no other: should ours have ended meanwhile, nobody would read in it."""
_UNKNOWN = -1
"""In place of a hint: somebody came who does not know yet what events told before."""


class Observer:
    """Has one channel read with one token while somebody watches."""

    def __init__(
        self, rest: Rest, feed: Feed, *, token: str, channel: str, bounds: Bounds, closed: Callable[[], object]
    ) -> None:
        self.spot = spot_of(token, channel)
        self._rest = rest
        self._feed = feed
        self._token = token
        self._channel = channel
        self._bounds = bounds
        self._closed = closed
        self._watches: set[Watch] = set()
        self._changed = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._hinted = 0
        self._version = 0
        self._listed = 0
        self._troubled = 0
        self._name = secrets.token_hex(8)
        self._questions = Questions()
        self._last_s: float | None = None
        self._not_before_s = 0.0
        self._fed_until_s = 0.0
        self._is_list_wanted = False

    def enter(self, watch: Watch) -> None:
        """Add a watch; the first starts the poller."""
        self._watches.add(watch)
        if not self._questions.turn or self._is_fed():
            self._hinted = _UNKNOWN
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

    def hear(self, version: int) -> None:
        """Take a hint: there is news of that version."""
        self._hinted = version if self._hinted != _UNKNOWN else _UNKNOWN
        self._changed.set()

    async def is_readable(self) -> bool:
        """Whether the channel shows us its messages: without permission Discord lists none, and says nothing.

        An empty list is believed only if the channel's description, too, knows of no message.
        """
        if await self._page(limit=1):
            return True
        return await self._rest.last_message_id(self._token, self._channel) is None

    async def page_before(self, message_id: int) -> list[ChannelMessage]:
        """Read the page of messages before one, oldest first."""
        page = await self._page(before=message_id)
        return parsed(sorted(page, key=id_of))

    async def message(self, message_id: int) -> ChannelMessage | None:
        """Read one message of a bot; None where there is none (any more)."""
        raw = await self._rest.message(self._token, self._channel, message_id)
        return next(iter(parsed([raw])), None) if raw else None

    async def _page(self, **wanted: int) -> list[dict[str, Any]]:
        """Read a page for a job, past one trouble: where events come, its next look may be a long time off."""
        try:
            return await self._rest.messages(self._token, self._channel, **wanted)
        except (RateLimited, UpstreamUnavailable) as error:
            if isinstance(error, UpstreamUnavailable):  # a limit is known by now, and waited for if its end is near
                await asyncio.sleep(_PAGE_AGAIN_S)
            return await self._rest.messages(self._token, self._channel, **wanted)

    async def want_list(self) -> None:
        """Have a list read that begins after this call, soon; while the store is away, when it is due."""
        with suppress(StoreUnavailable):
            await self._feed.want_list(self.spot)

    def prompts(self) -> dict[int, str]:
        """Prompts of the jobs that watch, by their interaction, as far as both are known."""
        return {watch.remote_id: watch.prompt for watch in self._watches if watch.remote_id is not None}

    # --- When to ask --------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        is_away = False
        while True:
            is_due = await self._until_due_or_hinted()
            if not self._watches:
                return
            try:
                await self._step(is_due=is_due)
            except StoreUnavailable as error:
                if not is_away:
                    log.warning("looks wait for the store", channel_id=self._channel, reason=str(error))
                is_away = True
                self._not_before_s = time.monotonic() + _ASK_AGAIN_S
            else:
                is_away = False

    async def _until_due_or_hinted(self) -> bool:
        """Sleep until the next look is due (True), or there is news; who enters or is answered may move it."""
        while True:
            self._changed.clear()
            if not self._watches:
                return False
            wait_s = max(self._due_s(), self._not_before_s) - time.monotonic()
            if wait_s <= 0 or self._hinted not in (0, self._version):
                return wait_s <= 0
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return True

    def _due_s(self) -> float:
        if self._last_s is None or not self._is_fed():
            jobs = [watch.awaited for watch in self._watches]
            return next_look_s(last_s=self._last_s, jobs=jobs, bounds=self._bounds)
        needs = [watch.awaited for watch in self._watches if watch.needs_list]
        due_s = next_look_beside_events_s(last_s=self._last_s, jobs=needs, bounds=self._bounds)
        return min(due_s, self._last_s + self._bounds.min_s) if self._is_list_wanted else due_s

    def _is_fed(self) -> bool:
        return time.monotonic() < self._fed_until_s

    # --- What to do then ----------------------------------------------------------------------------------

    async def _step(self, *, is_due: bool) -> None:
        """Ask what others have read, for the turn too where a look is due; read if it is ours."""
        self._hinted = 0
        asked_s = time.monotonic()
        known = self._version if all(watch.has_looked for watch in self._watches) else 0
        since = min(watch.since_id for watch in self._watches)
        name = self._name if is_due else ""
        view = await self._feed.ask(self.spot, known=known, since=since, name=name, turn=self._questions.turn)
        self._questions.answered(view.turn, asked_s=asked_s)
        if view.verdict == "read":
            turn = Turn(name=name, known=known, since=view.read_since, prints=view.prints)
            self._questions.granted(view.turn, asked_s=asked_s, started_s=time.monotonic())
            view = await self._read(turn, troubles=view.troubles, since=since)
            self._name = secrets.token_hex(8)
        elif view.verdict == "busy":
            self._not_before_s = time.monotonic() + _ASK_AGAIN_S
        elif view.verdict == "paused":
            self._not_before_s = time.monotonic() + view.pause_s
        self._take(view, is_whole=not known)

    async def _read(self, turn: Turn, *, troubles: int, since: int) -> View:
        async with self._kept(turn, since=since):
            try:
                window = await self._window(after=turn.since)
            except UpstreamError as error:
                pause_s = pause_after_s(error, troubles + 1, self._bounds)
                log.warning("channel not read", channel_id=self._channel, reason=str(error), pause_s=round(pause_s, 1))
                others_s = pause_of_others_s(error, pause_s)
                view = await self._feed.tell_trouble(self.spot, error, turn=turn, pause_s=others_s)
                self._not_before_s = time.monotonic() + (view.pause_s if others_s == pause_s else pause_s)
                return view
            return await self._feed.tell_list(self.spot, window, turn=turn)

    @asynccontextmanager
    async def _kept(self, turn: Turn, *, since: int) -> AsyncIterator[None]:
        """Keep the turn, however long the reading takes."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(TURN_MS / 3000)
                try:
                    await self._feed.ask(self.spot, known=self._version, since=since, name=turn.name, turn=_NO_TURN)
                except StoreUnavailable:
                    continue

        keeping = asyncio.create_task(keep(), name=f"turn at {self._channel}")
        try:
            yield
        finally:
            await cancel_until_done(keeping)

    async def _window(self, *, after: int) -> list[dict[str, Any]]:
        """Read all messages after an id, oldest first, page by page."""
        window: list[dict[str, Any]] = []
        while True:
            page = await self._rest.messages(self._token, self._channel, after=after)
            page.sort(key=id_of)
            window += page
            if len(page) < PAGE_MAX:
                return window
            after = id_of(page[-1])

    # --- What it means to the jobs ------------------------------------------------------------------------

    def _take(self, view: View, *, is_whole: bool) -> None:
        """Show the watches what is new to them, whoever read it; ``is_whole``: it has all messages that are kept.

        Who waits for an answer where events come is shown what they told, also before a list covers it.
        """
        self._fed_until_s = time.monotonic() + view.fed_s
        self._is_list_wanted = view.wanted >= view.listed
        if view.troubled != self._troubled:
            self._troubled = view.troubled
            self._fail(view)
        if not view.listed:  # none yet, or the store lost it: one is due, and what is told before it comes with it
            self._version, self._listed, self._last_s = 0, 0, None
            return
        is_news = view.version != self._version
        told = {watch for watch in self._watches if watch.is_unanswered} if is_whole and self._is_fed() else set()
        if not is_news and all(watch.has_heard for watch in told):
            return
        is_list = view.listed != self._listed
        if is_list:
            self._last_s = time.monotonic() - view.age_s
            self._listed = view.listed
        fresh = {id_of(raw) for version, raw in view.news if version > self._version or view.version < self._version}
        self._version = view.version
        asked_s, started_s = self._questions.asked_before_s(view.listed), self._questions.started_s(view.listed)
        messages = parsed(raw for _, raw in view.news)
        for watch in self._watches:
            is_new = not watch.has_looked
            is_shown = is_list and _covers(view, watch, asked_s)
            if is_shown or (is_news and not is_new) or (is_new and watch in told):
                news = tuple(m for m in messages if m.id > watch.since_id and (is_new or m.id in fresh))
                present = view.present if is_shown else view.present.union(m.id for m in news)
                watch.show(Look(started_s, news, present, is_shown))

    def _fail(self, view: View) -> None:
        """Tell the watches once that the channel may not be read; those that came since wait for the next attempt."""
        asked_s = self._questions.asked_before_s(view.troubled)
        if not view.trouble or asked_s is None:
            return
        error = trouble_of(view)
        if isinstance(error, AccountRejected):
            for watch in self._watches:
                if watch.entered_s <= asked_s:
                    watch.fail(error)

    def _tell_end(self, poller: asyncio.Task[None]) -> None:
        """A poller ends by itself only through a fault of ours: the jobs must hear of it, not wait for ever."""
        if poller.cancelled() or not self._watches:
            return
        self._poller = None
        self._closed()
        failure = poller.exception() or RuntimeError("the poller ended")
        for watch in self._watches:
            watch.fail(failure)


def _covers(view: View, watch: Watch, asked_s: float | None) -> bool:
    """Whether a list reaches back to the job, and began after it came (``asked_s``: the last question before it)."""
    is_late_enough = watch.has_looked or (asked_s is not None and watch.entered_s <= asked_s)
    return is_late_enough and view.since <= watch.since_id
