"""When this process asked for a channel's looks: what is read in a turn began after the questions before it.

A missing answer means something only in a look that began late enough; turns say so, no clock does: see :mod:`feed`.
All instants are seconds on the monotonic clock.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

_KEPT = 8
"""How many questions are remembered: of several at the same turn the last alone."""


@dataclass(frozen=True, slots=True)
class _OwnTurn:
    """The last turn that was ours: its number; when we asked for it, and when the reading began."""

    number: int
    asked_s: float
    started_s: float


class Questions:
    """One observer's; ``turn`` is the last that it was told of."""

    def __init__(self) -> None:
        self.turn = 0
        self._asked: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        self._own = _OwnTurn(0, 0.0, 0.0)

    def answered(self, turn: int, *, asked_s: float) -> None:
        """Remember a question and the turn that its answer told: a later one began after it."""
        if turn <= self.turn:  # the same still; or less, for the store lost some, and what was known means nothing
            while self._asked and self._asked[-1][0] >= turn:
                self._asked.pop()
        self._asked.append((turn, asked_s))
        self.turn = turn

    def granted(self, turn: int, *, asked_s: float, started_s: float) -> None:
        """Remember that a turn is ours, and when its reading began."""
        self._own = _OwnTurn(turn, asked_s, started_s)

    def asked_before_s(self, turn: int) -> float | None:
        """The last question before the reading of a turn began; None if there was none."""
        if turn == self._own.number:
            return self._own.asked_s
        return max((asked_s for known, asked_s in self._asked if known < turn), default=None)

    def started_s(self, turn: int) -> float:
        """When the reading of a turn began, or an instant before; 0 where nothing is known."""
        if turn == self._own.number:
            return self._own.started_s
        return self.asked_before_s(turn) or 0.0
