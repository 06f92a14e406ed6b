"""Discord's ids: 64-bit integers that carry their time of birth, written as strings in JSON."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime

DISCORD_EPOCH_MS = 1_420_070_400_000
"""2015-01-01T00:00:00Z, from which snowflakes count."""

_TIME_SHIFT = 22
_FIRST_DERIVED_MS = 1_483_228_800_000 - DISCORD_EPOCH_MS
_DERIVED_SPAN_MS = 6 * 365 * 86_400_000
_SNOWFLAKE_MAX = 2**64


def clock_ms() -> int:
    """Return the wall clock in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Snowflakes:
    """Issues ids in strictly increasing order, each with the wall clock's millisecond in it."""

    def __init__(self) -> None:
        self._last = 0

    def issue(self) -> int:
        """Return an id larger than every id issued before, also within one millisecond or after a clock step back."""
        self._last = max((clock_ms() - DISCORD_EPOCH_MS) << _TIME_SHIFT, self._last + 1)
        return self._last


def derived_id(name: str) -> str:
    """Return the same plausible id (born 2017 to 2022) for the same name, on every machine and in every run."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:12])
    born_ms = _FIRST_DERIVED_MS + (digest >> _TIME_SHIFT) % _DERIVED_SPAN_MS
    return str(born_ms << _TIME_SHIFT | digest & (1 << _TIME_SHIFT) - 1)


def parse_snowflake(text: str) -> int | None:
    """Return the id that ``text`` spells in decimal digits, or None when it spells none below 2**64."""
    if not (text.isascii() and text.isdigit()):
        return None
    value = int(text)
    return value if value < _SNOWFLAKE_MAX else None


def timestamp_of(epoch_ms: int) -> str:
    """Write an instant as Discord does: ``2026-11-22T20:01:02.345000+00:00``."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    instant = datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=milliseconds * 1000)
    return instant.isoformat(timespec="microseconds")
