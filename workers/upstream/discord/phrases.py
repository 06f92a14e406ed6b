"""What the bot's messages say: running, done, failed, moderated, busy. Its words are unknown, so all are settings.

A prompt is repeated in the messages, and "100% failed" may be somebody's prompt: what the user wrote is cut out before
anything is looked for, and where that cannot be done, a pattern that the user's own words match proves nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from dispatcher.settings import Settings
from workers.upstream.discord.messages import ChannelMessage

Says = Literal["running", "completed", "failed", "moderated", "busy"]

_DASHES = re.compile(r"\s*(?:[\u2012-\u2015]|--)\s*")
_ESCAPES = re.compile(r"\\([\\`*_{}\[\]()#+.!~|>-])")
_SPACES = re.compile(r"\s+")
_PERCENT_MAX = 100


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message says; ``words`` is the part that made it sure, ``percent`` how far the job is, if told."""

    says: Says
    percent: int | None = None
    words: str = ""


class Phrasebook:
    """Reads the bot's messages by the patterns of the settings.

    Args:
        settings: the patterns.
        command: the kind of the command that the messages are about: what follows the prompt differs by it.
    """

    def __init__(self, settings: Settings, command: str = "create") -> None:
        pattern = settings.discord_prompt_patterns.get(command, settings.discord_prompt_pattern)
        self._prompt = re.compile(pattern, re.DOTALL)
        self._progress = re.compile(settings.discord_progress_pattern)
        self._verdicts: tuple[tuple[Says, re.Pattern[str]], ...] = (
            ("moderated", re.compile(settings.discord_moderated_pattern)),
            ("busy", re.compile(settings.discord_busy_pattern)),
            ("failed", re.compile(settings.discord_failed_pattern)),
        )

    def read(self, message: ChannelMessage, *, files: int, own_words: Collection[str]) -> Reading:
        """Say what a message means.

        Args:
            message: one of the job's.
            files: how many videos or images the finished job has.
            own_words: what the user wrote, normalised, which the bot may repeat.
        """
        if message.is_loading:
            return Reading("running")
        text = self._without_prompt(message.text)
        percent = self._percent(text, own_words)
        unfinished = percent is not None and percent < _PERCENT_MAX
        enough = message.media_count >= files or (message.media_count > 0 and bool(message.buttons))
        if enough and not unfinished:
            return Reading("completed", _PERCENT_MAX)
        if not message.media_count:
            for says, pattern in self._verdicts:
                found = _matches(pattern, text, own_words)
                if found:
                    return Reading(says, percent, text[found[0].start() :].splitlines()[0])
        return Reading("running", percent)

    def prompt_in(self, message: ChannelMessage) -> str | None:
        """Return the prompt that a message repeats, normalised; None where it repeats none."""
        found = self._prompt.search(message.text)
        return normalised(found["prompt"]) if found and "prompt" in self._prompt.groupindex else None

    def _without_prompt(self, text: str) -> str:
        found = self._prompt.search(text)
        if not found or "prompt" not in self._prompt.groupindex:
            return text
        start, end = found.span("prompt")
        return text[:start] + text[end:]

    def _percent(self, text: str, own_words: Collection[str]) -> int | None:
        found = _matches(self._progress, text, own_words)
        if not found:
            return None
        last = found[-1]  # the bot speaks after what it repeats of the request
        digits = last[1] if self._progress.groups else last[0]
        return min(int(digits), _PERCENT_MAX) if digits.isdecimal() else None


def _matches(pattern: re.Pattern[str], text: str, own_words: Collection[str]) -> list[re.Match[str]]:
    """Find what the bot says; nothing where words of the user's, still in the text, would match as well."""
    matches = list(pattern.finditer(text))
    if not matches:
        return []
    plain = normalised(text)
    is_doubtful = any(words and pattern.search(words) and words in plain for words in own_words)
    return [] if is_doubtful else matches


def normalised(text: str) -> str:
    """Undo what bots are known to do to a prompt: other white space, other dashes, escaped markdown."""
    composed = _ESCAPES.sub(r"\1", unicodedata.normalize("NFC", text))
    return _SPACES.sub(" ", _DASHES.sub(" - ", composed)).strip()
