"""What a test (or a person) asks the fake to do: ``[[sim outcome=failed seconds=1]]`` inside a prompt.

Directives for submissions that carry none of their own wait in a `DirectiveQueue` (``POST /sim/next``).
"""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass
from typing import Any, Literal, get_args

from simulator.troubles import REFUSALS, Buckets, Scope, Terms

Outcome = Literal["completed", "failed", "moderated", "busy", "silent", "ephemeral", "deleted"]
Result = Literal["edit", "followup", "message", "pressed"]
Says = Literal["busy", "moderated", "failed"]
Components = Literal["v1", "v2"]

_CHOICES = {
    "outcome": get_args(Outcome),
    "submit": ("ok", "500-after-accept", "hang-after-accept", *REFUSALS),
    "result": get_args(Result),
    "says": get_args(Says),
    "components": get_args(Components),
    "scope": get_args(Scope),
    "buckets": get_args(Buckets),
}
_SWITCHES = ("loading", "rewrite", "modal", "named")
_DURATIONS = ("seconds", "ack", "retry_after")
_DURATION_MAX_S = 86_400.0
_PROGRESS_MAX = 1000
_UNSEEN_RUN_MAX_S = 10.0
_BEGINNING = re.compile(r"\[\[sim\b")
_WHOLE = re.compile(r"\[\[sim\b([^\[\]]*)\]\]")


class DirectiveError(ValueError):
    """A directive that says something this simulator does not know: refused, so that no typo passes silently."""


@dataclass(frozen=True, slots=True)
class Directive:
    """How one submission goes. Durations are seconds after the submission was accepted.

    ``written`` names what was said on purpose: it decides whether a moderated job answers at once.
    """

    seconds: float = 2.0
    ack: float = 0.3
    outcome: Outcome = "completed"
    submit: str = "ok"
    result: Result = "edit"
    components: Components = "v1"
    says: Says = "busy"
    progress: int = 0
    loading: bool = True
    rewrite: bool = False
    modal: bool = False
    named: bool = True
    retry_after: float = 1.0
    scope: Scope = "user"
    buckets: Buckets = "none"
    written: frozenset[str] = frozenset()

    @property
    def ack_s(self) -> float:
        """When the first message appears; the default never delays a job of fewer ``seconds``."""
        return self.ack if "ack" in self.written else min(self.ack, self.seconds)

    @property
    def finish_s(self) -> float:
        """When the job ends: at ``seconds``, or at the first message where that is later, or with an early refusal."""
        if self.is_unseen:
            return min(self.seconds, _UNSEEN_RUN_MAX_S)
        if self.refuses_at_once:
            return self.ack_s
        return max(self.seconds, self.ack_s)

    @property
    def is_unseen(self) -> bool:
        """Whether no message of the job can be read over REST."""
        return self.outcome in {"silent", "ephemeral"}

    @property
    def defers_unseen(self) -> bool:
        """Whether the bot thinks before it refuses where its user alone sees it."""
        return self.outcome == "ephemeral" and "loading" in self.written and self.loading

    @property
    def refuses_at_once(self) -> bool:
        """Whether the first message is already the refusal."""
        return self.outcome in {"moderated", "busy"} and not (
            "seconds" in self.written or ("loading" in self.written and self.loading)
        )

    @property
    def terms(self) -> Terms:
        """What a refusal says of times and limits."""
        return Terms(self.retry_after if "retry_after" in self.written else None, self.scope, self.buckets)


def parse_directive(text: str) -> Directive:
    """Read ``key=value`` pairs parted by white space, with or without the ``[[sim …]]`` around them.

    Raises:
        DirectiveError: a key is unknown or repeated, or a value is not one of its key's values.
    """
    whole = _WHOLE.fullmatch(text.strip())
    values: dict[str, Any] = {}
    for pair in (whole.group(1) if whole else text).split():
        key, _, value = pair.partition("=")
        if key in values:
            raise DirectiveError(f"sim directive: {key} stands twice")
        values[key] = _parse_value(key, value)
    return Directive(**values, written=frozenset(values))


def directive_in(prompt: str) -> Directive | None:
    """Return the directive inside a prompt, or None where there is none.

    Raises:
        DirectiveError: as `parse_directive`; also an unclosed directive, or more than one.
    """
    beginnings = len(_BEGINNING.findall(prompt))
    if not beginnings:
        return None
    whole = _WHOLE.findall(prompt)
    if len(whole) != beginnings:
        raise DirectiveError("sim directive: [[sim is not closed by ]]")
    if beginnings > 1:
        raise DirectiveError("sim directive: more than one in a prompt")
    return parse_directive(whole[0])


def _parse_value(key: str, text: str) -> object:
    if key in _CHOICES:
        if text not in _CHOICES[key]:
            raise DirectiveError(f"sim directive: {key}={text} is none of {', '.join(_CHOICES[key])}")
        return text
    if key in _SWITCHES:
        if text not in {"yes", "no"}:
            raise DirectiveError(f"sim directive: {key}={text} is neither yes nor no")
        return text == "yes"
    if key in _DURATIONS:
        return _parse_duration_s(key, text)
    if key == "progress":
        if not (text.isascii() and text.isdigit() and int(text) <= _PROGRESS_MAX):
            raise DirectiveError(f"sim directive: progress={text} is no whole number from 0 to {_PROGRESS_MAX}")
        return int(text)
    raise DirectiveError(f"sim directive: unknown key {key!r}")


def _parse_duration_s(key: str, text: str) -> float:
    try:
        duration_s = float(text)
    except ValueError:
        duration_s = math.nan
    if not 0 <= duration_s <= _DURATION_MAX_S:
        raise DirectiveError(f"sim directive: {key}={text} is no number of seconds from 0 to {_DURATION_MAX_S:.0f}")
    return duration_s


@dataclass(slots=True)
class _Waiting:
    directive: Directive
    count: int
    channel_id: str | None


class DirectiveQueue:
    """Directives for the next submissions that carry none, first in first out."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()

    def __len__(self) -> int:
        """Return how many submissions are still to be directed."""
        return sum(waiting.count for waiting in self._waiting)

    def add(self, directive: Directive, *, count: int, channel_id: str | None) -> None:
        """Direct the next ``count`` submissions, of one channel or (None) of any."""
        self._waiting.append(_Waiting(directive, count, channel_id))

    def take(self, channel_id: str) -> Directive | None:
        """Use up the oldest directive that applies to a submission of this channel."""
        for waiting in self._waiting:
            if waiting.channel_id in {None, channel_id}:
                waiting.count -= 1
                if not waiting.count:
                    self._waiting.remove(waiting)
                return waiting.directive
        return None

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
