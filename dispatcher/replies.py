"""What goes into a script and comes out of it: chance for its draws, and Redis's flat lists read as tables."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

_SEED_MAX = 2_147_483_646


def entropy() -> int:
    """Chance for one script call: an integer in 1…2147483646."""
    return 1 + secrets.randbelow(_SEED_MAX)


def table(flat: Sequence[str]) -> dict[str, str]:
    """Read HGETALL's flat list as it comes out of a script."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def milliseconds(reply: Any) -> int:
    """Read TIME, which redis-py shapes into numbers of seconds and microseconds."""
    seconds, microseconds = reply
    return int(seconds) * 1000 + int(microseconds) // 1000


def hash_of(reply: Any) -> dict[str, str]:
    """Read HGETALL as a command, which redis-py already shaped on RESP3."""
    return reply if isinstance(reply, dict) else table(reply)
