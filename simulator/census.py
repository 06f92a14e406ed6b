"""How many gateway sessions each user has, now and at most: the oracle's word on "one session per token"."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass


@dataclass(slots=True)
class UserSessions:
    """One user's counts: connected now, the most at once, and how often one was opened and resumed."""

    open: int = 0
    peak: int = 0
    identified: int = 0
    resumed: int = 0


@dataclass(slots=True)
class Overlap:
    """For how long a user had more than one session connected; ``until_ms`` is None while that lasts."""

    user: str
    from_ms: int
    until_ms: int | None = None


class Census:
    """The counts of all users who ever had a session."""

    def __init__(self) -> None:
        self._users: dict[str, UserSessions] = {}
        self._overlaps: list[Overlap] = []

    def of(self, user_id: str) -> UserSessions:
        """Return a user's counts."""
        return self._users.setdefault(user_id, UserSessions())

    def connect(self, user_id: str) -> None:
        """Count one more session that is connected."""
        user = self.of(user_id)
        user.open += 1
        user.peak = max(user.peak, user.open)
        if user.open == 2:  # noqa: PLR2004 (one more than one)
            self._overlaps.append(Overlap(user_id, _now_ms()))

    def disconnect(self, user_id: str) -> None:
        """Count one less."""
        user = self.of(user_id)
        user.open -= 1
        if user.open == 1:
            self._last_overlap(user_id).until_ms = _now_ms()

    def reset(self) -> None:
        """Forget what was; who is connected now counts on."""
        self._users = {
            user_id: UserSessions(open=user.open, peak=user.open) for user_id, user in self._users.items() if user.open
        }
        self._overlaps = [overlap for overlap in self._overlaps if overlap.until_ms is None]

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return the counts under their names, by user id."""
        return {user_id: asdict(user) for user_id, user in self._users.items()}

    def overlaps_as_json(self) -> list[dict[str, str | int | None]]:
        """Return when users had more than one session at once."""
        return [asdict(overlap) for overlap in self._overlaps]

    def _last_overlap(self, user_id: str) -> Overlap:
        return next(overlap for overlap in reversed(self._overlaps) if overlap.user == user_id)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
