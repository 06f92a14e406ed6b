"""The bot's own limit: how many jobs of one user it runs at once, and what it does with one more."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Crowded = Literal["queue", "busy", "ephemeral"]
"""It waits its turn; it is told so in the channel; it is told so where only a gateway session sees it."""


class Places:
    """Places by user; without a rule there is always one."""

    def __init__(self) -> None:
        self._max: int | None = None
        self._when_crowded: Crowded = "queue"
        self._taken: Counter[str] = Counter()
        self._waiting: defaultdict[str, deque[Callable[[], None]]] = defaultdict(deque)

    def rule(self, most: int | None, when_crowded: Crowded) -> None:
        """Run at most so many jobs of a user at once (None: any number) from now on."""
        self._max, self._when_crowded = most, when_crowded

    def crowded(self, user_id: str) -> Crowded | None:
        """Say what becomes of a further job of a user; None: there is a place for it."""
        if self._max is None or self._taken[user_id] < self._max:
            return None
        return self._when_crowded

    def take(self, user_id: str) -> None:
        """Take a place."""
        self._taken[user_id] += 1

    def wait(self, user_id: str, begin: Callable[[], None]) -> int:
        """Call ``begin`` when a place has become free, in turn; return how many are before it."""
        self._waiting[user_id].append(begin)
        return len(self._waiting[user_id]) - 1

    def leave(self, user_id: str) -> None:
        """Free a place, and let the next one have it."""
        self._taken[user_id] -= 1
        if self._waiting[user_id] and self.crowded(user_id) is None:
            self.take(user_id)
            self._waiting[user_id].popleft()()

    def clear(self) -> None:
        """Forget all jobs and the rule."""
        self._taken.clear()
        self._waiting.clear()
        self.rule(None, "queue")
