"""What a pursuit must know of its job, and how it reads the bot's messages."""

from __future__ import annotations

from dataclasses import dataclass

from workers.upstream.discord.matching import Expected, Pressed
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a pursuit must know of its job.

    Args:
        phrases: reads the bot's messages.
        files: how many videos or images make it complete.
        own_words: what the user wrote, which the bot may repeat; the first is the prompt, normalised.
        absent_after_s: monotonic instant after which a look without an answer means that there is none.
        expected: the answer to look for; None where the interaction is known.
        is_answered: whether an answer was seen before, by whoever followed the job then.
        pressed: the message whose button was pressed; None for a slash command.
        unnamed_after_s: monotonic instant after which an answer to a press counts that names no interaction.
        why_absent: what an answer's absence probably means; '' if nothing is known of it.
        no_progress_s: how long nothing may change before the job's time is up.
        is_over: whether the job is final for its caller already.
        secret_version: of the token that reads the channel.
    """

    phrases: Phrasebook
    files: int
    own_words: tuple[str, ...]
    absent_after_s: float
    expected: Expected | None
    is_answered: bool = False
    pressed: Pressed | None = None
    unnamed_after_s: float = 0
    why_absent: str = ""
    no_progress_s: float
    is_over: bool
    secret_version: str

    def said(self, message: ChannelMessage) -> Reading:
        """Say what a message means."""
        return self.phrases.read(message, files=self.files, own_words=self.own_words)

    def reading(self, message: ChannelMessage) -> Reading:
        """Say what it means for the job: a pressed message may still show what it showed before the press."""
        reading = self.said(message)
        if self.pressed is None or message.id != self.pressed.id or self.pressed.is_changed(message, reading):
            return reading
        return Reading("running")
