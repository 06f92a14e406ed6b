"""Discord's clock, which interaction ids carry. What is compared with them is told by it, and by no other clock."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

_PROMPT_S = 1.0
"""A slower exchange says too little about the other side's clock."""


class UpstreamClock:
    """Discord's clock as its last prompt answer told it, carried on by our monotonic one.

    ``Date`` has whole seconds, so it is right to about half a second. Until an answer came it is our own clock.
    """

    def __init__(self) -> None:
        self._ahead_of_monotonic_ms: float | None = None

    def now_ms(self) -> int:
        """Milliseconds since 1970, by Discord's clock."""
        if self._ahead_of_monotonic_ms is None:
            return time.time_ns() // 1_000_000
        return int(time.monotonic() * 1000 + self._ahead_of_monotonic_ms)

    def hear(self, date: str | None, *, sent_s: float) -> None:
        """Take the ``Date`` header of an answer to a request that was sent at ``sent_s`` (monotonic)."""
        now_s = time.monotonic()
        if date is None or now_s - sent_s >= _PROMPT_S:
            return
        try:
            told_ms = parsedate_to_datetime(date).timestamp() * 1000 + 500
        except ValueError:
            return
        self._ahead_of_monotonic_ms = told_ms - (sent_s + now_s) / 2 * 1000
