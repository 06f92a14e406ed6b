"""One observer per token and channel, whatever the number of jobs: it asks for the channel's looks, the jobs read them.

Looks are shared by all workers (:mod:`feed`). An observer asks when one of its own jobs needs a look: another worker
may have read meanwhile, may be reading, or the turn is ours. A look reads every message from the oldest unfinished
job's on: edits keep their ids, so "what is new" would miss them.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    RateLimited,
    StoreUnavailable,
    UpstreamBlocked,
    UpstreamError,
)
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done
from workers.upstream.discord.feed import TURN_MS, Feed, Turn, View, spot_of, trouble_of
from workers.upstream.discord.messages import ChannelMessage, id_of, parsed
from workers.upstream.discord.rest import PAGE_MAX, Rest
from workers.upstream.discord.rhythm import Bounds, next_look_s
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_TROUBLE_PAUSE_S = 1.0
_REFUSED_PAUSE_S = 60.0
"""A refused reading counts as an invalid request, and ten thousand of them block the address."""
_ASK_AGAIN_S = 0.5
"""While another reads: should the hint that it is done be lost, or the store be away."""
_QUESTIONS = 8
"""How many questions are remembered: of several at the same turn the last alone."""


@dataclass(frozen=True, slots=True)
class _OwnTurn:
    """The last turn that was ours: its number; when we asked for it, and when the reading began (monotonic)."""

    number: int
    asked_s: float
    started_s: float


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
        self._turn = 0
        self._name = secrets.token_hex(8)
        self._questions: deque[tuple[int, float]] = deque(maxlen=_QUESTIONS)
        self._own = _OwnTurn(0, 0.0, 0.0)
        self._last_s: float | None = None
        self._not_before_s = 0.0
        self._fed_until_s = 0.0
        self._is_list_wanted = False

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

    def hear(self, version: int) -> None:
        """Take a hint: there is news of that version."""
        self._hinted = version
        self._changed.set()

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
        return parsed(sorted(page, key=id_of))

    async def message(self, message_id: int) -> ChannelMessage | None:
        """Read one message of a bot; None where there is none (any more)."""
        raw = await self._rest.message(self._token, self._channel, message_id)
        return next(iter(parsed([raw])), None) if raw else None

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
        jobs = [watch.awaited for watch in self._watches]
        if self._last_s is None or time.monotonic() >= self._fed_until_s:
            return next_look_s(last_s=self._last_s, jobs=jobs, bounds=self._bounds)
        new = [watch.awaited for watch in self._watches if not watch.has_looked]
        due_s = self._last_s + (self._bounds.min_s if self._is_list_wanted else self._bounds.max_s)
        return min(due_s, next_look_s(last_s=self._last_s, jobs=new, bounds=self._bounds)) if new else due_s

    # --- What to do then ----------------------------------------------------------------------------------

    async def _step(self, *, is_due: bool) -> None:
        """Ask what others have read, for the turn too where a look is due; read if it is ours."""
        self._hinted = 0
        asked_s = time.monotonic()
        known = self._version if all(watch.has_looked for watch in self._watches) else 0
        since = min(watch.since_id for watch in self._watches)
        name = self._name if is_due else ""
        view = await self._feed.ask(self.spot, known=known, since=since, name=name, turn=self._turn)
        self._remember(view.turn, asked_s)
        if view.verdict == "read":
            turn = Turn(name=name, known=known, since=view.read_since, prints=view.prints)
            self._own = _OwnTurn(view.turn, asked_s, time.monotonic())
            view = await self._read(turn, troubles=view.troubles, since=since)
            self._name = secrets.token_hex(8)
        elif view.verdict == "busy":
            self._not_before_s = time.monotonic() + _ASK_AGAIN_S
        elif view.verdict == "paused":
            self._not_before_s = time.monotonic() + view.pause_s
        self._take(view)

    def _remember(self, turn: int, asked_s: float) -> None:
        """What is read in a later turn than this began after the question: see ``feed``."""
        if turn <= self._turn:  # the same still; or less, for the store lost some, and what was known means nothing
            while self._questions and self._questions[-1][0] >= turn:
                self._questions.pop()
        self._questions.append((turn, asked_s))
        self._turn = turn

    def _asked_before_s(self, turn: int) -> float | None:
        """The last question before the reading of a turn began; None if there was none."""
        if turn == self._own.number:
            return self._own.asked_s
        return max((asked_s for known, asked_s in self._questions if known < turn), default=None)

    async def _read(self, turn: Turn, *, troubles: int, since: int) -> View:
        async with self._kept(turn, since=since):
            try:
                window = await self._window(after=turn.since)
            except UpstreamError as error:
                pause_s = self._pause_s(error, troubles + 1)
                log.warning("channel not read", channel_id=self._channel, reason=str(error), pause_s=round(pause_s, 1))
                view = await self._feed.tell_trouble(self.spot, error, turn=turn, pause_s=pause_s)
                self._not_before_s = time.monotonic() + view.pause_s
                return view
            return await self._feed.tell_list(self.spot, window, turn=turn)

    @asynccontextmanager
    async def _kept(self, turn: Turn, *, since: int) -> AsyncIterator[None]:
        """Keep the turn, however long the reading takes."""

        async def keep() -> None:
            while True:
                await asyncio.sleep(TURN_MS / 3000)
                try:
                    await self._feed.ask(self.spot, known=self._version, since=since, name=turn.name, turn=self._turn)
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

    def _take(self, view: View) -> None:
        """Show the watches what is new to them, whoever read it."""
        now_s = time.monotonic()
        self._fed_until_s = now_s + view.fed_s
        self._is_list_wanted = view.wanted >= view.listed
        if view.troubled != self._troubled:
            self._troubled = view.troubled
            self._fail(view)
        if view.version == self._version:
            return
        is_list = view.listed != self._listed
        if is_list:
            self._last_s = now_s - view.age_s
            self._listed = view.listed
        fresh = {id_of(raw) for version, raw in view.news if version > self._version or view.version < self._version}
        self._version = view.version
        if not view.listed:
            return
        asked_s = self._asked_before_s(view.listed)
        started_s = self._own.started_s if view.listed == self._own.number else asked_s
        messages = parsed(raw for _, raw in view.news)
        for watch in self._watches:
            is_new = not watch.has_looked
            if is_new and (not is_list or asked_s is None or asked_s < watch.entered_s or watch.since_id < view.since):
                continue  # that list may have begun before the job came, or not reach back to it
            news = (m for m in messages if m.id > watch.since_id and (is_new or m.id in fresh))
            watch.show(Look(started_s or 0.0, tuple(news), view.present, is_list))

    def _fail(self, view: View) -> None:
        """Tell the watches once that the channel may not be read; those that came since wait for the next attempt."""
        asked_s = self._asked_before_s(view.troubled)
        if not view.trouble or asked_s is None:
            return
        error = trouble_of(view)
        if isinstance(error, AccountRejected):
            for watch in self._watches:
                if watch.entered_s <= asked_s:
                    watch.fail(error)

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
        if poller.cancelled() or not self._watches:
            return
        self._poller = None
        self._closed()
        failure = poller.exception() or RuntimeError("the poller ended")
        for watch in self._watches:
            watch.fail(failure)
