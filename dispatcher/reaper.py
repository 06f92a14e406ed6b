"""Takes back what dead owners left: expired leases are redelivered, jobs past their time end, held slots come back."""

from __future__ import annotations

from dispatcher.connection import AsyncStore
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.slots import Slots

log = get_logger(__name__)


class Reaper(Loop):
    """Sweeps every ``sweep_s`` seconds; the script's two strikes make it safe beside others and under any clock."""

    def __init__(self, store: AsyncStore, slots: Slots, *, sweep_s: float) -> None:
        super().__init__()
        self._store = store
        self._slots = slots
        self._sweep_s = sweep_s
        self._is_more = False

    def interval(self) -> float:
        """``sweep_s``, or 0 when the last sweep was cut short."""
        return 0 if self._is_more else self._sweep_s

    async def step(self) -> None:
        """Sweep once."""
        redelivered, ended, forced, self._is_more = await self._store.do(self._slots.reap())
        if redelivered or ended or forced:
            log.warning("leases reaped", redelivered=redelivered, ended=ended, slots_forced=forced)
