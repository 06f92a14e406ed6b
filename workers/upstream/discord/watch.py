"""One job's eyes on its channel, and what they see."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol, Self

from workers.upstream.discord.fates import Ear, Fate
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.rhythm import Awaited, Took


@dataclass(frozen=True, slots=True)
class Look:
    """What one reading of a channel showed a watch.

    Args:
        started_s: monotonic instant at which the list began, or a moment before it began.
        messages: the bots' messages that are new or edited since the watch's last look, oldest first.
        present: ids of all messages listed since the oldest unfinished job's.
        is_list: whether a list was read since the last look; else events brought the messages: the instant is the last
            list's, the ids are its and theirs, and nothing new is known to be missing.
    """

    started_s: float
    messages: tuple[ChannelMessage, ...]
    present: frozenset[int]
    is_list: bool = True


_NOTHING = Look(0.0, (), frozenset(), is_list=False)


class Channel(Protocol):
    """What a watch needs of its channel's observer."""

    def enter(self, watch: Watch) -> None:
        """Add a watch; the first starts the poller."""
        ...

    def leave(self, watch: Watch) -> None:
        """Remove a watch; the last stops the poller."""
        ...

    def prompts(self) -> dict[int, str]:
        """Prompts of the jobs that watch, by their interaction."""
        ...

    async def is_readable(self) -> bool:
        """Whether the channel shows us its messages."""
        ...

    async def message(self, message_id: int) -> ChannelMessage | None:
        """Read one message of a bot; None where there is none (any more)."""
        ...

    async def page_before(self, message_id: int) -> list[ChannelMessage]:
        """Read the page of messages before one, oldest first."""
        ...

    async def want_list(self) -> None:
        """Have a list read that begins after this call, as soon as may be."""
        ...


class Watch:
    """One job's eyes on its channel; the poller runs while there is one. Use it as a context manager.

    Args:
        channel: whose looks it sees.
        since_id: no message up to this id matters to the job.
        sent_s: the monotonic instant at which the job was sent.
        is_unanswered: whether its first message is still to come.
        prompt: what the user wrote, normalised.
        took: how long such jobs take.
        ear: hears of the job's interaction; None where nobody tells of it.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        since_id: int,
        sent_s: float,
        is_unanswered: bool,
        prompt: str,
        took: Took | None = None,
        ear: Ear | None = None,
    ) -> None:
        self.since_id = since_id
        self.sent_s = sent_s
        self.is_unanswered = is_unanswered
        self.prompt = prompt
        self.remote_id: int | None = None
        self.took = took
        self.entered_s = 0.0
        self.has_looked = False
        self.has_heard = False
        self._channel = channel
        self._ear = ear
        self._arrived = asyncio.Event()
        self._messages: dict[int, ChannelMessage] = {}
        self._latest: Look | None = None
        self._is_list = False
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        self.entered_s = time.monotonic()
        self._channel.enter(self)
        if self._ear is not None:
            self._ear.open(self._arrived.set)
        return self

    def __exit__(self, *_: object) -> None:
        if self._ear is not None:
            self._ear.close()
        self._channel.leave(self)

    async def next(self) -> Look:
        """Wait for the next look; what several brought while the job was busy comes as one.

        Where there is news of the interaction alone, it shows nothing that is new, and before the first look nothing.

        Raises:
            AccountRejected: the channel cannot be read any more; the poller goes on trying, slowly.
        """
        await self._arrived.wait()
        self._arrived.clear()
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        if self._latest is None:
            return _NOTHING
        messages, self._messages = self._messages, {}
        ordered = tuple(messages[message_id] for message_id in sorted(messages))
        is_list, self._is_list = self._is_list, False
        return Look(self._latest.started_s, ordered, self._latest.present, is_list)

    def answered(self, *, remote_id: int, message_id: int) -> None:
        """Say that the job's first message is known: nothing older matters to it any more."""
        self.named(remote_id)
        self.is_unanswered = False
        self.has_looked = True  # maybe by an event alone: before its answer there was nothing of the job to see
        self.since_id = max(self.since_id, message_id - 1)

    def named(self, remote_id: int) -> None:
        """Say which interaction the job's is, although its first message may be still to come."""
        self.remote_id = remote_id
        if self._ear is not None:
            self._ear.remote_id = remote_id

    async def fate(self) -> Fate | None:
        """Return what was told of the job's interaction, if anything."""
        return await self._ear.fate() if self._ear else None

    async def is_anothers(self, interaction: int) -> bool:
        """Whether an interaction is known to be of another submission."""
        return self._ear is not None and await self._ear.is_anothers(interaction)

    async def want_list(self) -> None:
        """Have a list read that begins after this call, as soon as may be."""
        await self._channel.want_list()

    async def message(self, message_id: int) -> ChannelMessage | None:
        """Read one message of a bot, however old; None where there is none (any more)."""
        return await self._channel.message(message_id)

    @property
    def needs_list(self) -> bool:
        """Whether events are not enough for it: it waits for an answer, or did not see yet what came before it."""
        return self.is_unanswered or not self.has_looked

    @property
    def awaited(self) -> Awaited:
        """What the job waits for, to the rhythm of the looks."""
        if self.has_looked or self.is_unanswered:
            return Awaited(self.sent_s, self.is_unanswered, self.took)
        return Awaited(self.entered_s, is_unanswered=False)  # whoever saw nothing yet needs a look, not its result

    async def is_readable(self) -> bool:
        """Whether an empty look means that there is nothing, rather than that we may not read."""
        return await self._channel.is_readable()

    async def before(self, message_id: int) -> list[ChannelMessage]:
        """Read the messages up to and with ``message_id``, one page, oldest first."""
        return await self._channel.page_before(message_id + 1)

    def prompts(self) -> dict[int, str]:
        """Prompts of the unfinished jobs of this channel in this process, by their interaction."""
        return self._channel.prompts()

    def show(self, look: Look) -> None:
        """Take a look in; the poller calls this."""
        self.has_heard = True
        self.has_looked = self.has_looked or look.is_list
        self._latest = look
        self._is_list = self._is_list or look.is_list
        if look.is_list and self._ear is not None:
            self._ear.ask_again()
        self._messages |= {message.id: message for message in look.messages}
        self._arrived.set()

    def fail(self, failure: BaseException) -> None:
        """Let the job know why nothing can be seen; the poller calls this."""
        self._failure = failure
        self._arrived.set()
