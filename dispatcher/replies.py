"""What goes into a script and comes out of it: chance for its draws, and Redis's flat lists read as tables."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from dispatcher.errors import StoreReplyError

_SEED_MAX = 2_147_483_646


def entropy() -> int:
    """Chance for one script call: an integer in 1…2147483646."""
    return 1 + secrets.randbelow(_SEED_MAX)


def table(flat: Sequence[str]) -> dict[str, str]:
    """Read HGETALL's flat list as it comes out of a script."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def is_wanted(script: str) -> Callable[[Any], bool]:
    """Read the reply of a script that was told an outcome: whether anybody still wanted it (``ok`` or ``stale``)."""

    def read(reply: Any) -> bool:
        match reply:
            case ["ok"]:
                return True
            case ["stale"]:
                return False
            case _:
                raise StoreReplyError(script, reply)

    return read


def milliseconds(reply: Any) -> int:
    """Read TIME, which redis-py shapes into numbers of seconds and microseconds."""
    seconds, microseconds = reply
    return int(seconds) * 1000 + int(microseconds) // 1000


def hash_of(reply: Any) -> dict[str, str]:
    """Read HGETALL as a command, which redis-py already shaped on RESP3."""
    return reply if isinstance(reply, dict) else table(reply)
