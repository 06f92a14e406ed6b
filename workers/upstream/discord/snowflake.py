"""Discord's ids: integers that carry the millisecond of their birth, written as strings in JSON.

Source: docs/upstream.md, "Ids".
"""

from __future__ import annotations

EPOCH_MS = 1_420_070_400_000
"""2015-01-01T00:00:00Z, from which snowflakes count."""

_TIME_SHIFT = 22


def born_ms(snowflake: int) -> int:
    """Return the instant, in ms since the Unix epoch on Discord's clock, at which an id was issued."""
    return (snowflake >> _TIME_SHIFT) + EPOCH_MS


def first_at(instant_ms: int) -> int:
    """Return the smallest id that can have been issued at an instant (ms since the Unix epoch)."""
    return max(0, instant_ms - EPOCH_MS) << _TIME_SHIFT
