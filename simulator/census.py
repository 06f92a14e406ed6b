"""How many gateway sessions each user has, now and at most: the oracle's word on "one session per token"."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class UserSessions:
    """One user's counts: connected now, the most at once, and how often one was opened and resumed."""

    open: int = 0
    peak: int = 0
    identified: int = 0
    resumed: int = 0

    def connect(self) -> None:
        """Count one more."""
        self.open += 1
        self.peak = max(self.peak, self.open)


class Census:
    """The counts of all users who ever had a session."""

    def __init__(self) -> None:
        self._users: dict[str, UserSessions] = {}

    def of(self, user_id: str) -> UserSessions:
        """Return a user's counts."""
        return self._users.setdefault(user_id, UserSessions())

    def reset(self) -> None:
        """Forget what was; who is connected now counts on."""
        self._users = {
            user_id: UserSessions(open=user.open, peak=user.open) for user_id, user in self._users.items() if user.open
        }

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return the counts under their names, by user id."""
        return {user_id: asdict(user) for user_id, user in self._users.items()}
