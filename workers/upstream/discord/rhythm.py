"""When to look at a channel next. All instants and durations are seconds on the monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_LOOK_AFTER_S = 0.3
"""A bot that works answers within 3 s, most within a fraction of one."""
_FIRST_LOOK_APART_S = 0.5
_ANSWER_APART_S = 1.0
_SHARE_OF_AGE = 0.1
"""A result is found late by a twentieth of its job's duration on average, by a tenth at worst."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The operator's floor and ceiling of the pause between two looks, in seconds."""

    min_s: float
    max_s: float


def next_look_s(*, last_s: float | None, unanswered_s: float | None, youngest_s: float, bounds: Bounds) -> float:
    """Say when the next look at a channel is due.

    Args:
        last_s: when the last look began; None before the first.
        unanswered_s: when the youngest submission was sent that has no message yet; None where all have one.
        youngest_s: when the youngest unfinished job was sent.
        bounds: the floor and ceiling; while an answer is awaited, the floor is at most 1 s, once 0.5 s.
    """
    if unanswered_s is not None:
        first_s = unanswered_s + FIRST_LOOK_AFTER_S
        if last_s is None:
            return first_s
        if last_s < first_s:
            return max(first_s, last_s + min(bounds.min_s, _FIRST_LOOK_APART_S))
        return last_s + min(bounds.min_s, _ANSWER_APART_S)
    if last_s is None:
        return youngest_s
    pause_s = (last_s - youngest_s) * _SHARE_OF_AGE
    return last_s + max(bounds.min_s, min(pause_s, bounds.max_s))
