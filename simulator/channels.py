"""The messages of each channel, and the pages of them that Discord lists."""

from __future__ import annotations

import json
import time
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.cdn import Attachment, Cdn

PAGE_DEFAULT = 50
PAGE_MAX = 100
COMPONENTS_V2 = 32_768
LAG_MAX_S = 10.0
"""How far back a channel can be told as it was."""

Change = Literal["MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"]
"""What can happen to a message, as the gateway calls it."""


@dataclass(slots=True, eq=False)
class Message:
    """A message as it stands now; ``body`` is its JSON but for the attachments, whose links are signed when read."""

    id: int
    body: dict[str, Any]
    attachments: tuple[Attachment, ...] = ()
    posted_s: float = field(default_factory=time.monotonic)
    _rendered: bytes = b""
    _period: object = None
    _former: deque[tuple[float, dict[str, Any], tuple[Attachment, ...]]] = field(default_factory=deque)
    on_change: Callable[[Change, Message], None] | None = None

    def edit(self, changes: dict[str, Any], attachments: tuple[Attachment, ...] = ()) -> None:
        """Change fields in place: an edit keeps the id."""
        self._former.append((time.monotonic(), dict(self.body), self.attachments))
        while self._former[0][0] < time.monotonic() - LAG_MAX_S:
            self._former.popleft()
        self.body.update(changes)
        self.attachments = attachments
        self._rendered = b""
        if self.on_change is not None:
            self.on_change("MESSAGE_UPDATE", self)

    def rendered(self, cdn: Cdn) -> bytes:
        """Return the JSON, from memory as long as neither the message nor the life of its links has moved on."""
        period = cdn.links.period() if self.attachments else None
        if not self._rendered or period != self._period:
            if self.body["flags"] & COMPONENTS_V2:
                files = {"components": cdn.with_media(self.body["components"], self.attachments)}
            else:
                files = {"attachments": [cdn.as_json(attachment) for attachment in self.attachments]}
            body = {**self.body, **files}
            self._rendered = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
            self._period = period
        return self._rendered

    def as_of(self, instant_s: float) -> Message:
        """Return the message as it stood at a monotonic instant, at most ``LAG_MAX_S`` ago."""
        for ended_s, body, attachments in self._former:
            if ended_s > instant_s:
                return Message(self.id, body, attachments)
        return self


@dataclass(slots=True, eq=False)
class Channel:
    """One channel's messages in the order of their ids; ``on_change`` hears of each change."""

    _ids: list[int] = field(default_factory=list)
    _messages: dict[int, Message] = field(default_factory=dict)
    _gone: deque[tuple[float, Message]] = field(default_factory=deque)
    on_change: Callable[[Change, Message], None] | None = None

    @property
    def last_message_id(self) -> int | None:
        """The newest message's id."""
        return self._ids[-1] if self._ids else None

    def post(self, message: Message) -> None:
        """Add a message, whose id is larger than every id before."""
        self._ids.append(message.id)
        self._messages[message.id] = message
        message.on_change = self.on_change
        if self.on_change is not None:
            self.on_change("MESSAGE_CREATE", message)

    def delete(self, message_id: int) -> None:
        """Take a message out, if it is there."""
        if message := self._messages.pop(message_id, None):
            del self._ids[bisect_left(self._ids, message_id)]
            self._gone.append((time.monotonic(), message))
            while self._gone[0][0] < time.monotonic() - LAG_MAX_S:
                self._gone.popleft()
            if self.on_change is not None:
                self.on_change("MESSAGE_DELETE", message)

    def as_of(self, instant_s: float) -> Channel:
        """Return the channel as it stood at a monotonic instant, at most ``LAG_MAX_S`` ago."""
        gone = [message for gone_s, message in self._gone if gone_s > instant_s]
        there = [message for message in (*self._messages.values(), *gone) if message.posted_s <= instant_s]
        messages = {message.id: message.as_of(instant_s) for message in sorted(there, key=lambda each: each.id)}
        return Channel(list(messages), messages)

    def message(self, message_id: int) -> Message | None:
        """Return one message, or None."""
        return self._messages.get(message_id)

    def newest(self, limit: int) -> list[Message]:
        """Return the last ``limit`` messages, newest first."""
        return self._page(max(0, len(self._ids) - limit), len(self._ids))

    def after(self, message_id: int, limit: int) -> list[Message]:
        """Return the ``limit`` messages that follow an id most closely, newest first."""
        start = bisect_right(self._ids, message_id)
        return self._page(start, start + limit)

    def before(self, message_id: int, limit: int) -> list[Message]:
        """Return the ``limit`` messages that precede an id most closely, newest first."""
        end = bisect_left(self._ids, message_id)
        return self._page(max(0, end - limit), end)

    def around(self, message_id: int, limit: int) -> list[Message]:
        """Return up to ``limit`` messages, half of them older than the id, newest first; one: that very message."""
        middle = bisect_left(self._ids, message_id)
        start = max(0, middle - limit // 2)
        return self._page(start, middle - limit // 2 + limit)

    def _page(self, start: int, end: int) -> list[Message]:
        return [self._messages[message_id] for message_id in reversed(self._ids[start:end])]


class Channels:
    """Every channel that somebody has used; reading another one finds it empty."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}
        self.on_change: Callable[[Change, Message], None] | None = None

    def get(self, channel_id: str) -> Channel:
        """Return a channel to read; an unused one is not kept."""
        return self._channels.get(channel_id) or Channel()

    def use(self, channel_id: str) -> Channel:
        """Return a channel to post into."""
        return self._channels.setdefault(channel_id, Channel(on_change=self.on_change))

    def clear(self) -> None:
        """Forget all messages."""
        self._channels.clear()
