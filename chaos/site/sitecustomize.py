"""Loaded by a Python process that runs under libfaketime: makes ``time.sleep`` work there.

Python sleeps until an instant of the monotonic clock; libfaketime 0.9.10 takes that instant for one of the stepped
clock, even where the monotonic clock is left alone, and the sleep fails with EINVAL. A wait for a duration passes.
"""

from __future__ import annotations

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex, /) -> None:
    select.select([], [], [], float(seconds))


time.sleep = _sleep
