"""The verdict on gateway sessions: one a token, by the oracle; and no more of them opened than faults account for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from chaos.kinds import BY_NAME, GATEWAY_KINDS, is_worker_fault
from chaos.strike import Strike

Span = tuple[int, int]
"""From when to when, in ms of the wall clock."""

WAKES_MS = 3000
"""A process that stood still sees its lease over, and closes its session, in that time."""
RENEWED_MS = 6000
"""So long after the store lost the lease, or saw it run out early, its holder may believe in it: it renews within two
seconds, and once more should that be cut."""
UNSETTLED_MS = 20_000
"""From the beginning of such a fault until all who were struck have asked again."""
OPENED_MIN = 2
"""Of a token that no fault strikes: its own, and one more where jobs moved between workers."""
_FORGETS = frozenset({"roll back", "fail over", "fail back", "step store clock"})
_ENDS = frozenset({kind.name for kind in GATEWAY_KINDS if not kind.name.startswith("events")})


def judge_sessions(oracle: dict[str, Any], strikes: Sequence[Strike], frozen: Collection[Span]) -> dict[str, Any]:
    """Hold the oracle's count of sessions against the faults.

    Args:
        oracle: its verdict.
        strikes: all faults.
        frozen: when workers stood still, also those that were killed then.

    Returns:
        ``doubled``: tokens with two sessions at once that no frozen process and no forgetful store accounts for.
        ``opened_too_often``: tokens with more sessions than faults that may have ended one.
    """
    overlaps, counts = oracle["session_overlaps"], oracle["sessions"]
    opened = {user: of["identified"] for user, of in counts.items()}
    forgotten = [strike.at_ms for strike in strikes if strike.kind in _FORGETS]
    doubled = [each for each in overlaps if not _is_frozen_ones(each, frozen) and not _is_forgotten(each, forgotten)]
    opened_max = OPENED_MIN + len(frozen) + sum(1 for strike in strikes if _may_end(strike.kind))
    return {
        "sessions": {name: sum(of[name] for of in counts.values()) for name in ("identified", "resumed", "open")},
        "sessions_peak": max((of["peak"] for of in counts.values()), default=0),
        "sessions_most_opened": max(opened.values(), default=0),
        "sessions_opened_max": opened_max,
        "overlaps": len(overlaps),
        "doubled": [f"{each['user']} from {each['from_ms']} to {each['until_ms']}" for each in doubled],
        "opened_too_often": [
            f"{user}: {of['identified']}" for user, of in counts.items() if of["identified"] > opened_max
        ],
    }


def _is_frozen_ones(overlap: dict[str, Any], frozen: Iterable[Span]) -> bool:
    """Its first session was a frozen process's: it began as that stood still, and ended when it woke or was killed."""
    until_ms = overlap["until_ms"]
    return until_ms is not None and any(
        from_ms <= overlap["from_ms"] and until_ms <= thawed_ms + WAKES_MS for from_ms, thawed_ms in frozen
    )


def _is_forgotten(overlap: dict[str, Any], forgotten_ms: Iterable[int]) -> bool:
    """The store lost a lease, or saw it run out early: until its holder asked again, two believed in it."""
    until_ms = overlap["until_ms"]
    return until_ms is not None and any(
        at_ms <= overlap["from_ms"] <= at_ms + UNSETTLED_MS and until_ms - overlap["from_ms"] <= RENEWED_MS
        for at_ms in forgotten_ms
    )


def _may_end(kind: str) -> bool:
    return kind in _ENDS or is_worker_fault(kind) or BY_NAME[kind].is_outage or kind == "step store clock"
