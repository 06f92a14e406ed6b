"""Tells the log when the store begins to learn, and when it has learnt."""

from __future__ import annotations

from dispatcher.connection import AsyncStore
from dispatcher.learning import Learning, Window
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.plan import carry_out_async

INTERVAL_S = 1.0

log = get_logger(__name__)


class Learner(Loop):
    """Looks every second; one line when a window opens, one when it has closed."""

    def __init__(self, store: AsyncStore, learning: Learning) -> None:
        super().__init__()
        self._store = store
        self._learning = learning
        self._is_declared = False
        self._seen: Window | None = None

    def interval(self) -> float:
        """One second."""
        return INTERVAL_S

    async def step(self) -> None:
        """Look once; the first time tell the store how long its windows last."""
        if not self._is_declared:
            await self._store.do(self._learning.declare())
            self._is_declared = True
        window = await carry_out_async(self._store, self._learning.window())
        if window and not self._seen:
            log.warning("learning opened", reason=window.reason, left_ms=window.left_ms)
        elif self._seen and not window:
            log.info("learning ended", reason=self._seen.reason)
        self._seen = window
