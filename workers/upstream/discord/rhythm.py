"""When to look at a channel next. All instants and durations are seconds on the monotonic clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dispatcher.errors import AccountRejected, CallHeld, RateLimited, UpstreamBlocked, UpstreamError

FIRST_LOOK_AFTER_S = 0.3
"""A bot that works answers within 3 s, most within a fraction of one."""
_FIRST_LOOK_APART_S = 0.5
_ANSWER_APART_S = 1.0
UNTOLD_S = 4.0
"""Where events come, an answer that was not among them by then was lost on its way, or there is none: lists tell."""
_SHARE_OF_AGE = 0.1
"""A result is found late by a twentieth of its job's duration on average, by a tenth at worst."""
_SHARE_OF_SPREAD = 0.1
"""Where durations are known: a tenth of the time within which most end."""
_TROUBLE_PAUSE_S = 1.0
_REFUSED_PAUSE_S = 60.0
"""A refused reading counts as an invalid request, and ten thousand of them block the address."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The operator's floor and ceiling of the pause between two looks, in seconds."""

    min_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Took:
    """How long jobs of a kind took lately, in seconds: one in ten was done by ``early_s``, nine by ``late_s``."""

    early_s: float
    late_s: float


@dataclass(frozen=True, slots=True)
class Awaited:
    """One job that waits for a look.

    Args:
        sent_s: when it was sent.
        is_unanswered: whether its first message is still to come.
        took: how long such jobs take; None where nobody knows.
    """

    sent_s: float
    is_unanswered: bool
    took: Took | None = None


def next_look_s(*, last_s: float | None, jobs: Iterable[Awaited], bounds: Bounds) -> float:
    """Say when the next look at a channel is due: when the first of its jobs needs it.

    While an answer is awaited, the floor is at most 1 s, once 0.5 s. After it a job is looked at when the first of its
    kind end, then by a tenth of the time within which most of them end; where nobody knows, by a tenth of its age.

    Args:
        last_s: when the last look began; None before the first.
        jobs: all that wait; at least one.
        bounds: the floor and ceiling.
    """
    return min(_due_s(last_s, job, bounds) for job in jobs)


def next_look_beside_events_s(*, last_s: float, jobs: Iterable[Awaited], bounds: Bounds) -> float:
    """Say when a channel is listed next although events of it come: at the ceiling, or when a job needs it sooner.

    Args:
        last_s: when the last look began.
        jobs: those that wait for an answer, and those that must see what came before them.
        bounds: the floor and ceiling.
    """
    needs_s = (_untold_s(last_s, job, bounds) for job in jobs)
    return min((last_s + bounds.max_s, *needs_s))


def pause_after_s(error: UpstreamError, troubles: int, bounds: Bounds) -> float:
    """Say for how long who met the error does not read the channel, which failed ``troubles`` times in a row."""
    match error:
        case RateLimited():
            return error.retry_after_s
        case CallHeld():
            return error.wait_s
        case UpstreamBlocked():
            return error.retry_after_s or _REFUSED_PAUSE_S
        case AccountRejected():
            return max(_REFUSED_PAUSE_S, bounds.max_s)
        case _:
            return min(bounds.max_s, _TROUBLE_PAUSE_S * 2.0 ** min(troubles - 1, 10))


def pause_of_others_s(error: UpstreamError, pause_s: float) -> float:
    """Say for how long nobody else reads it either: an address that is closed is only that of who met the error."""
    is_address = isinstance(error, CallHeld | UpstreamBlocked) and error.is_address
    return min(pause_s, _TROUBLE_PAUSE_S) if is_address else pause_s


def _untold_s(last_s: float, job: Awaited, bounds: Bounds) -> float:
    if job.is_unanswered:
        return max(last_s, job.sent_s) + max(bounds.min_s, UNTOLD_S)
    return _due_s(last_s, job, bounds)


def _due_s(last_s: float | None, job: Awaited, bounds: Bounds) -> float:
    if job.is_unanswered:
        first_s = job.sent_s + FIRST_LOOK_AFTER_S
        if last_s is None:
            return first_s
        if last_s < first_s:
            return max(first_s, last_s + min(bounds.min_s, _FIRST_LOOK_APART_S))
        return last_s + min(bounds.min_s, _ANSWER_APART_S)
    if last_s is None:
        return job.sent_s
    return last_s + max(bounds.min_s, min(_pause_s(last_s - job.sent_s, job.took), bounds.max_s))


def _pause_s(age_s: float, took: Took | None) -> float:
    if took is None:
        return age_s * _SHARE_OF_AGE
    if age_s < took.early_s:
        return took.early_s - age_s
    return max(took.late_s - took.early_s, age_s - took.late_s) * _SHARE_OF_SPREAD
