"""In what condition channels are: who may read them, whether they are archived, and how stale a list of theirs is."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Condition:
    """One channel's.

    Attributes:
        has_history: whether messages may be read; without it Discord lists none, and says nothing of it.
        is_archived: whether it is a thread that nobody may write into.
        lag_s: lists come from a replica that is this many seconds behind.
        alternates: every second list comes from a replica that is not behind.
        repeats: so many next lists are the answer before them once more, whatever is asked.
        last_page: the list that was answered last, since the channel has a condition.
    """

    has_history: bool = True
    is_archived: bool = False
    lag_s: float = 0.0
    alternates: bool = False
    repeats: int = 0
    last_page: bytes = b"[]"
    _is_turn: bool = False

    def next_lag_s(self) -> float:
        """Return how far behind the next list is."""
        self._is_turn = not self._is_turn
        return self.lag_s if self._is_turn or not self.alternates else 0.0

    def delivered(self, page: bytes) -> bytes:
        """Return what is answered in place of a page: the page before once more, or this one."""
        if self.repeats:
            self.repeats -= 1
        else:
            self.last_page = page
        return self.last_page


@dataclass(slots=True)
class Conditions:
    """Every channel's condition; one that nobody spoke of is well."""

    _of: dict[str, Condition] = field(default_factory=dict)

    def of(self, channel_id: str) -> Condition | None:
        """Return a channel's condition, or None where all is well."""
        return self._of.get(channel_id)

    def put(self, channel_id: str, condition: Condition) -> None:
        """Put a channel into a condition; the list before stays the list before."""
        if former := self._of.get(channel_id):
            condition.last_page = former.last_page
        self._of[channel_id] = condition

    def clear(self) -> None:
        """Let all be well again."""
        self._of.clear()
