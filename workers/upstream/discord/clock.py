"""How far Discord's clock is from Redis's: interaction ids carry the one, our submission instants the other."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

_PROMPT_S = 1.0
"""A slower exchange says too little about the other side's clock."""
_DEAD_BAND_MS = 1000
"""``Date`` has whole seconds and may be cached: a smaller difference is the measurement's, not the clocks'.
With the measurement's own error of half a second it stays well inside the skew that a submission is allowed."""


class ClockGap:
    """Discord's clock minus Redis's, in ms, as last measured; 0 until both have been heard, or when they agree."""

    def __init__(self) -> None:
        self.ms = 0
        self._redis_minus_local_ms: float | None = None

    def hear_redis(self, *, instant_ms: int, asked_s: float) -> None:
        """Take an instant of Redis's clock that was asked for at ``asked_s`` (monotonic) and arrived now."""
        now_s = time.monotonic()
        if now_s - asked_s < _PROMPT_S:
            self._redis_minus_local_ms = instant_ms - (asked_s + now_s) / 2 * 1000

    def hear_discord(self, date: str | None, *, sent_s: float) -> None:
        """Take the ``Date`` header of an answer to a request that was sent at ``sent_s`` (monotonic)."""
        now_s = time.monotonic()
        if date is None or self._redis_minus_local_ms is None or now_s - sent_s >= _PROMPT_S:
            return
        try:
            discord_ms = parsedate_to_datetime(date).timestamp() * 1000 + 500
        except ValueError:
            return
        gap_ms = discord_ms - ((sent_s + now_s) / 2 * 1000 + self._redis_minus_local_ms)
        self.ms = round(gap_ms) if abs(gap_ms) > _DEAD_BAND_MS else 0
