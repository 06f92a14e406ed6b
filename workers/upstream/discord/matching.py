"""Which message belongs to which job. Never by prompt text alone where there is anything else.

1. Behind the `mark S` gate one submission of a channel is unanswered, so the first unclaimed answer to our user, of our
   command, in the time of our submission, is that job's (:class:`Expected`).
2. From then on the interaction's id is followed.
   A press is answered by a message that names it, or that names at least the message whose button it was. Where nothing
   does, an unnamed reply to that message or an edit of it may be its answer (:class:`Pressed`), and its own id is
   followed.
3. A result posted as an ordinary message names no interaction: :func:`plain_result` gives it to the one unfinished job
   whose prompt it repeats, and to nobody if there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook, Reading
from workers.upstream.discord.snowflake import born_ms

COMMAND, COMPONENT = 2, 3
"""The interaction types of a slash command and of a pressed button."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The answer that a submission will have; instants are ms on Discord's clock.

    ``pressed`` is the message whose button it presses; None for a slash command.
    """

    user_id: int
    command: str
    earliest_ms: int
    latest_ms: int
    application_id: str | None = None
    pressed: int | None = None

    def is_answer(self, message: ChannelMessage) -> bool:
        """Whether the message may answer our submission: only a claim in Redis makes it so."""
        answered = message.answers
        if not message.author.bot or answered is None:
            return False
        if self.application_id and message.application_id not in (None, self.application_id):
            return False
        if self.pressed is None:
            is_of_kind = answered.type == COMMAND and answered.name in (None, self.command)
        else:
            is_of_kind = answered.type == COMPONENT and _pressed_in(message) == self.pressed
        return is_of_kind and answered.user.id == self.user_id and self.is_in_time(born_ms(answered.id))

    def is_in_time(self, instant_ms: int) -> bool:
        """Whether something of that instant can have come of our submission."""
        return self.earliest_ms <= instant_ms <= self.latest_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """A message whose button was pressed, and what stood on it before: the ids of its files.

    An answer that names no interaction counts only where no named one came in time, and only a claim of its own id in
    Redis makes it ours. So of several presses of one message that are answered by its edits the first alone is known.
    """

    id: int
    files: frozenset[str]

    def is_edited(self, message: ChannelMessage, reading: Reading, expected: Expected) -> bool:
        """Whether the message itself shows the answer: edited since the press, and more than its buttons changed."""
        edited_ms = message.edited_ms
        return edited_ms is not None and edited_ms >= expected.earliest_ms and self.is_changed(message, reading)

    def is_changed(self, message: ChannelMessage, reading: Reading) -> bool:
        """Whether it shows something else than the finished result that it was."""
        return reading.says != "completed" or {file.id for file in message.attachments} != self.files

    def is_reply(self, message: ChannelMessage, expected: Expected) -> bool:
        """Whether a bot replied to the message since the press, naming no interaction, and no user but ours."""
        return (
            message.author.bot
            and message.answers is None
            and message.replies_to == self.id
            and all(user.bot or user.id == expected.user_id for user in message.mentions)
            and expected.is_in_time(born_ms(message.id))
        )

    def is_named_in(self, message: ChannelMessage) -> bool:
        """Whether the message answers a press of this one by name: then a bot that names none is not at work."""
        answered = message.answers
        return answered is not None and answered.type == COMPONENT and _pressed_in(message) == self.id


def _pressed_in(message: ChannelMessage) -> int | None:
    """Which message's button it answers: its interaction says so, or else that it is a reply."""
    named = message.answers.interacted_message_id if message.answers else None
    return named if named is not None else message.replies_to


PlainVerdict = ChannelMessage | Literal["ambiguous"] | None


def plain_result(
    messages: Iterable[ChannelMessage],
    *,
    remote_id: int,
    user_id: int,
    phrases: Phrasebook,
    prompts: Mapping[int, str],
) -> PlainVerdict:
    """Find the ordinary message that is a job's result.

    A job whose prompt is not known yet (its answer is still empty, another worker has it) may share ours: nothing is
    decided before it is known.

    Args:
        messages: of the channel, oldest first, from before the job's answer to now.
        remote_id: the job's interaction.
        user_id: who submitted it, whom the bot mentions.
        phrases: reads the prompt that a message repeats.
        prompts: of the interactions that this process knows, normalised.

    Returns:
        The message; ``ambiguous`` once as many results have come as jobs share the prompt, so that all have ended;
        None where there is no result, or nothing is decided yet.
    """
    prompt = prompts[remote_id]
    ordered = list(messages)
    asked = _prompts_asked(ordered, user_id=user_id, phrases=phrases, prompts=prompts)
    sharing: list[int] = []
    unassigned = 0
    for message in ordered:
        if message.answers is not None:
            interaction = message.answers.id
            if interaction in asked and interaction not in sharing and asked[interaction] in (prompt, None):
                sharing.append(interaction)
            continue
        if not sharing or not _is_plain_result(message, prompt, user_id=user_id, phrases=phrases):
            continue
        if remote_id in sharing and any(asked[interaction] is None for interaction in sharing):
            return None
        unassigned += 1
        if unassigned == len(sharing):
            if remote_id in sharing:
                return message if len(sharing) == 1 else "ambiguous"
            sharing, unassigned = [], 0
    return None


def _prompts_asked(
    messages: Iterable[ChannelMessage], *, user_id: int, phrases: Phrasebook, prompts: Mapping[int, str]
) -> dict[int, str | None]:
    """The interactions of our user that did not bring their result themselves, with their prompts as far as known."""
    asked: dict[int, str | None] = {}
    ended: set[int] = set()
    for message in messages:
        answered = message.answers
        if answered is None or answered.user.id != user_id:
            continue
        told = phrases.prompt_in(message)
        asked[answered.id] = prompts.get(answered.id, asked.get(answered.id) if told is None else told)
        if phrases.read(message, files=1, own_words=()).says != "running":
            ended.add(answered.id)
    return {interaction: prompt for interaction, prompt in asked.items() if interaction not in ended}


def _is_plain_result(message: ChannelMessage, prompt: str, *, user_id: int, phrases: Phrasebook) -> bool:
    """Whether an ordinary message of a bot ends a job with this prompt, for this user."""
    return (
        message.author.bot
        and any(user.id == user_id for user in message.mentions)
        and phrases.prompt_in(message) == prompt
        and phrases.read(message, files=1, own_words=()).says != "running"
    )
