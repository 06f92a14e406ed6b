"""Brings accounts back: the disabled ones whose time has come are checked, ever more rarely while they stay refused."""

from __future__ import annotations

from dispatcher.checks import BATCH, Checks
from dispatcher.connection import AsyncStore
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.settings import Settings

INTERVAL_S = 5.0

log = get_logger(__name__)


class Rechecker(Loop):
    """Asks workers for the checks that are due; the script takes each once, however many services ask."""

    def __init__(self, store: AsyncStore, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._checks = Checks(settings)
        self._is_more = False

    def interval(self) -> float:
        """Five seconds, or 0 when more are due."""
        return 0 if self._is_more else INTERVAL_S

    async def step(self) -> None:
        """Ask once."""
        asked = await self._store.do(self._checks.ask_due())
        self._is_more = len(asked) >= BATCH
        if asked:
            log.info("accounts checked again", accounts=len(asked))
