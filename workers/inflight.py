"""The deliveries that run in this process: each a coroutine, its end written to RQ's books on a small thread pool."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial

from dispatcher.log import get_logger
from workers.deliveries import Delivery
from workers.endings import Ending, Endings
from workers.execution import Execution, current_execution

log = get_logger(__name__)


class InFlight:
    """What runs, and what has run and is not in RQ's books yet. Used on the loop's thread only."""

    def __init__(
        self,
        *,
        owner: str,
        callables: Mapping[str, Callable[[str], Awaitable[None]]],
        endings: Endings,
        finishers: Executor,
        on_idle: Callable[[], None],
    ) -> None:
        self._owner = owner
        self._callables = callables
        self._endings = endings
        self._finishers = finishers
        self._on_idle = on_idle
        self._tasks: dict[Delivery, asyncio.Task[None]] = {}
        self._books: set[asyncio.Future[bool]] = set()
        self._ended = asyncio.Event()
        self.is_draining = False
        """Whether a cancelled coroutine is no fault: its job has been handed over."""

    @property
    def count(self) -> int:
        """How many coroutines run."""
        return len(self._tasks)

    def has(self, delivery_id: str) -> bool:
        """Say whether the delivery runs here."""
        return any(delivery.id == delivery_id for delivery in self._tasks)

    def start(self, delivery: Delivery) -> None:
        """Run the delivery's function, which may ask which execution it is."""
        context = contextvars.copy_context()
        context.run(current_execution.set, Execution(delivery.execution.id, self._owner))
        task = asyncio.get_running_loop().create_task(self._call(delivery), context=context)
        self._tasks[delivery] = task
        task.add_done_callback(partial(self._finish, delivery))

    async def _call(self, delivery: Delivery) -> None:
        await self._callables[delivery.order.callable_name](delivery.order.argument)

    def _finish(self, delivery: Delivery, task: asyncio.Task[None]) -> None:
        del self._tasks[delivery]
        self._ended.set()
        if task.cancelled():
            ending = Ending(None if self.is_draining else asyncio.CancelledError("cancelled from within"))
        else:
            ending = Ending.of(task.exception())
        loop = asyncio.get_running_loop()
        book = loop.run_in_executor(self._finishers, self._endings.record, delivery, ending)
        self._books.add(book)
        book.add_done_callback(self._close_book)

    def _close_book(self, book: asyncio.Future[bool]) -> None:
        self._books.discard(book)
        if not book.cancelled() and (error := book.exception()):
            log.error("ending not recorded in RQ", exc_info=error)
        if not self._tasks and not self._books:
            self._on_idle()

    def cancel_all(self) -> None:
        """Cancel every coroutine."""
        for task in self._tasks.values():
            task.cancel()

    async def one_ended(self, *, timeout_s: float) -> None:
        """Wait until a coroutine ends, or for a time."""
        self._ended.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), timeout_s)

    async def all_ended(self, *, timeout_s: float) -> None:
        """Wait until no coroutine runs, or for a time."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while self._tasks and (left_s := end_s - loop.time()) > 0:
            await self.one_ended(timeout_s=left_s)

    async def all_recorded(self, *, timeout_s: float) -> None:
        """Wait until every ending is in RQ's books, or for a time."""
        if self._books:
            await asyncio.wait(self._books, timeout=timeout_s)
