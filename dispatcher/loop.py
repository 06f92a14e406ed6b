"""What every background loop is: start, stop, step, interval. Several may run at once, on several hosts; none leads."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from dispatcher.errors import StoreUnavailable
from dispatcher.log import get_logger

BACK_OFF_FIRST_S = 0.1
BACK_OFF_MAX_S = 1.0
CANCEL_AGAIN_S = 0.1

log = get_logger(__name__)


async def cancel_until_done(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they are done.

    Once is not enough: before Python 3.12 a cancellation that meets the end of an ``asyncio.wait_for``, as in
    redis-py's calls, is swallowed.
    """
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=CANCEL_AGAIN_S)


class Loop(ABC):
    """One duty, done again and again; a failure delays it and never ends it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._is_stopped = False

    @abstractmethod
    async def step(self) -> None:
        """Do the duty once; safe to do twice, and beside others that do it."""

    @abstractmethod
    def interval(self) -> float:
        """Seconds from the last step to the next one; 0 when there is more to do now."""

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name=type(self).__name__)

    async def stop(self) -> None:
        """End between two steps or in one: a step is safe to break off."""
        if self._task is None:
            return
        self._is_stopped = True
        await cancel_until_done(self._task)

    async def _run(self) -> None:
        back_off_s = 0.0
        while not self._is_stopped:
            try:
                await self.step()
            except Exception as error:  # noqa: BLE001 (the loop is a safety net: nothing may end it)
                if not back_off_s:
                    self._tell(error)
                back_off_s = min(BACK_OFF_MAX_S, back_off_s * 2 or BACK_OFF_FIRST_S)
                await asyncio.sleep(back_off_s)
                continue
            if back_off_s:
                log.info("loop works again", loop=type(self).__name__)
                back_off_s = 0.0
            await asyncio.sleep(self.interval())

    def _tell(self, error: Exception) -> None:
        """Log the first failure of a row; a store that is away needs no traceback."""
        name = type(self).__name__
        if isinstance(error, StoreUnavailable):
            log.warning("loop waits for the store", loop=name, reason=str(error))
        else:
            log.error("loop failed", loop=name, exc_info=error)
