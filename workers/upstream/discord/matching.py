"""Which message belongs to which job. Never by prompt text alone where there is anything else.

1. Behind the `mark S` gate one submission of a channel is unanswered, so the first unclaimed answer to our user, of our
   command, in the time of our submission, is that job's (:class:`Expected`).
2. From then on the interaction's id is followed.
3. A result posted as an ordinary message names no interaction: :func:`plain_result` gives it to the one unfinished job
   whose prompt it repeats, and to nobody if there are several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook
from workers.upstream.discord.snowflake import born_ms

COMMAND = 2
"""The interaction type of a slash command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The answer that a submission will have; instants are ms on Discord's clock."""

    user_id: int
    command: str
    earliest_ms: int
    latest_ms: int
    application_id: str | None = None

    def is_answer(self, message: ChannelMessage) -> bool:
        """Whether the message may answer our submission: only a claim in Redis makes it so."""
        answered = message.answers
        if not message.author.bot or answered is None or answered.type != COMMAND:
            return False
        if self.application_id and message.application_id not in (None, self.application_id):
            return False
        return (
            answered.user.id == self.user_id
            and answered.name in (None, self.command)
            and self.earliest_ms <= born_ms(answered.id) <= self.latest_ms
        )


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
            if interaction not in sharing and asked.get(interaction, "") in (prompt, None):
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
        asked[answered.id] = prompts.get(answered.id) or phrases.prompt_in(message) or asked.get(answered.id)
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
