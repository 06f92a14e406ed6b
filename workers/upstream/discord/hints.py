"""Hears which spots have news, for all observers of this process, on one connection.

A hint may be lost: see :mod:`feed`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dispatcher.connection import AsyncStore, failures_told
from dispatcher.errors import StoreReplyError, StoreUnavailable
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done

_WAIT_S = 5.0
_PAUSE_S = 0.5

log = get_logger(__name__)


class Hints:
    """Calls ``hear(spot)`` with the name of each spot that has news, until it is stopped.

    Args:
        store: where they come from.
        hear: passed every hint of the fleet; most are nobody's here.
    """

    def __init__(self, store: AsyncStore, hear: Callable[[str], None]) -> None:
        self._store = store
        self._hear = hear
        self._listening: asyncio.Task[None] | None = None
        self._is_stopped = False
        self._is_deaf = False

    def start(self) -> None:
        """Begin to listen, if that has not begun."""
        if self._listening is None and not self._is_stopped:
            self._listening = asyncio.create_task(self._listen(), name="hints")

    async def stop(self) -> None:
        """Stop listening, for good."""
        self._is_stopped = True
        if self._listening is not None:
            await cancel_until_done(self._listening)

    async def _listen(self) -> None:
        while not self._is_stopped:
            try:
                with failures_told("subscribe"):
                    await self._hear_until_trouble()
            except (StoreUnavailable, StoreReplyError) as error:
                if not self._is_deaf:
                    log.warning("no hints heard", reason=str(error))
                self._is_deaf = True
                await asyncio.sleep(_PAUSE_S)
            except Exception:
                log.exception("hint not taken")  # a fault of ours: hints save time, and must not end for good
                await asyncio.sleep(_PAUSE_S)

    async def _hear_until_trouble(self) -> None:
        async with self._store.client.pubsub(ignore_subscribe_messages=True) as heard:
            await heard.subscribe(self._store.keys.of("looks"))
            while not self._is_stopped:
                hint = await heard.get_message(timeout=_WAIT_S)
                self._is_deaf = False
                if hint is not None:
                    self._hear(str(hint["data"]))
