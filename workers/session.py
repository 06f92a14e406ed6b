"""RQ's worker, asyncio inside: thousands of deliveries in one process, each a coroutine.

To RQ it is a worker as any other: its name, state, heartbeats, running and finished jobs are where RQ's tools look.
What RQ leaves to a worker's discretion is decided here: what may run (an allow-list), when a delivery is redelivered
(never: our leases decide), how it ends. docs/adr/0003 tells why.

Importing this module imports rq: call ``rq_prefix.take`` first.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from redis.exceptions import RedisError

from dispatcher import rq_prefix
from dispatcher.errors import StoreUnavailable
from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done
from dispatcher.settings import Settings
from workers.commands import listen
from workers.endings import Endings
from workers.execution import Execution, current_execution
from workers.inflight import InFlight
from workers.intake import Intake
from workers.presence import Presence
from workers.rq_worker import BookKeeper
from workers.taking import Taking
from workers.tap import QueueTap

T = TypeVar("T")

FINISHERS = 4
LOOK_AGAIN_S = 0.2
BOOKS_PATIENCE_S = 20.0
"""How long a stop waits for RQ's books: they are for RQ's tools, no lease depends on them."""
FORCED_PATIENCE_S = 5.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

__all__ = ["Execution", "SessionWorker", "current_execution"]

log = get_logger(__name__)


class SessionWorker(BookKeeper):
    """Runs deliveries until it is stopped.

    Args:
        redis_url: where RQ's queue is.
        settings: ``namespace`` names RQ's key prefix.
        callables: the functions that may run, by the name that a delivery gives; no other is imported or called.
        on_stop: hand the running deliveries over; called again while some still run, so it must bear repetition.
        on_cancel: cancel the job of a delivery (RQ's stop-job).
        capacity: how many deliveries run at once, at most.
        worker_beat_s: seconds between heartbeats of the worker.
        execution_beat_s: seconds between heartbeats of what it runs.

    Raises:
        SettingsError: rq was imported with another key prefix.
    """

    def __init__(
        self,
        *,
        redis_url: str,
        settings: Settings,
        callables: Mapping[str, Callable[[str], Awaitable[None]]],
        on_stop: Callable[[], Awaitable[None]],
        on_cancel: Callable[[str], Awaitable[None]],
        capacity: int = 10_000,
        worker_beat_s: float = 30.0,
        execution_beat_s: float = 300.0,
    ) -> None:
        rq_prefix.take(settings.namespace)
        super().__init__(redis_url=redis_url, connections=FINISHERS + 4)
        self._redis_url = redis_url
        self._on_stop, self._on_cancel = on_stop, on_cancel
        self._worker_beat_s, self._execution_beat_s = worker_beat_s, execution_beat_s
        self._stopping, self._forced, self._abandoned = asyncio.Event(), asyncio.Event(), threading.Event()
        self._signals_seen: set[int] = set()
        self._cancels: set[asyncio.Task[None]] = set()
        self._front_desk = ThreadPoolExecutor(1, "rq-intake")
        self._finishers = ThreadPoolExecutor(FINISHERS, "rq-endings")
        self._presence = Presence(self)
        self._inflight = InFlight(
            owner=self.name,
            callables=callables,
            endings=Endings(self, abandoned=self._abandoned),
            finishers=self._finishers,
            on_idle=self._note_idle,
        )
        queue = self.queues[0]
        self._tap = QueueTap(redis_url, queue_key=queue.key, intermediate_key=queue.intermediate_queue_key)
        self._taking = Taking(
            tap=self._tap,
            intake=Intake(self, callables),
            presence=self._presence,
            inflight=self._inflight,
            capacity=capacity,
            front_desk=self._front_desk,
        )

    # --- Until it is stopped ---------------------------------------------------------------------------

    async def serve(self) -> None:
        """Take and run deliveries until stopped; SIGTERM and SIGINT are handled where this is the main thread.

        Raises:
            StoreUnavailable: the store is away at the start. Later absences are waited out.
        """
        try:
            await self._on(self._front_desk, self._presence.register)
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis cannot be reached: {error}. Is it running, and is redis_url right?"
            ) from error
        log.info("worker started", worker=self.name)
        taking, *beside = [asyncio.create_task(part()) for part in (self._taking.run, self._obey, self._beat)]
        for part in (taking, *beside):  # none of them ends by itself; if one breaks, this worker is no use
            part.add_done_callback(lambda _: self._stopping.set())
        with self._signals_handled():
            try:
                await self._stopping.wait()
                await self._drain(taking)
            finally:
                ends = await self._leave(taking, *beside)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    def request_stop(self, signum: int | None = None, frame: FrameType | None = None) -> None:
        """First call: hand everything over and end. Second call: end at once."""
        del signum, frame
        if self._stopping.is_set():
            log.warning("worker stops at once", worker=self.name, running=self._inflight.count)
            self._forced.set()
        else:
            log.info("worker stops", worker=self.name, running=self._inflight.count)
            self._stopping.set()

    @contextmanager
    def _signals_handled(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for signum in STOP_SIGNALS:
            loop.add_signal_handler(signum, self._on_signal, signum)
        try:
            yield
        finally:
            for signum in STOP_SIGNALS:
                loop.remove_signal_handler(signum)

    def _on_signal(self, signum: int) -> None:
        """A terminal's SIGINT and a supervisor's SIGTERM after it are one wish; the same signal twice is two."""
        is_new_kind = signum not in self._signals_seen
        self._signals_seen.add(signum)
        if not (is_new_kind and self._stopping.is_set()):
            self.request_stop(signum)

    # --- Beside it -------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        executions_beat_s = loop.time()
        while True:
            await asyncio.sleep(self._worker_beat_s)
            try:
                await self._on(self._finishers, self._presence.beat)
                if loop.time() - executions_beat_s >= self._execution_beat_s:
                    await self._on(self._finishers, self._presence.beat_executions)
                    executions_beat_s = loop.time()
            except (RedisError, OSError) as error:
                log.warning("worker heartbeat missed", reason=str(error)[:200])

    async def _obey(self) -> None:
        async for command in listen(self._redis_url, self.pubsub_channel_name):
            if command.kind == "shutdown":
                if not self._stopping.is_set():
                    self.request_stop()
            elif self._inflight.has(command.delivery_id):
                task = asyncio.create_task(self._cancel(command.delivery_id))
                self._cancels.add(task)
                task.add_done_callback(self._cancels.discard)
            else:
                log.warning("delivery to stop does not run here", delivery_id=command.delivery_id)

    async def _cancel(self, delivery_id: str) -> None:
        try:
            await self._on_cancel(delivery_id)
        except Exception:
            log.exception("cancel failed", delivery_id=delivery_id)

    def _note_idle(self) -> None:
        if not self._abandoned.is_set():
            self._front_desk.submit(self._presence.show_state)

    # --- Stopping --------------------------------------------------------------------------------------

    async def _drain(self, taking: asyncio.Task[None]) -> None:
        await self._taking.stop(taking)
        self._inflight.is_draining = True
        while not self._forced.is_set():
            await self._unless_forced(self._hand_over())
            await self._unless_forced(self._inflight.all_ended(timeout_s=LOOK_AGAIN_S))
            if not self._inflight.count:
                break
        if self._forced.is_set():
            self._inflight.cancel_all()
            await self._inflight.all_ended(timeout_s=FORCED_PATIENCE_S)
            await self._inflight.all_recorded(timeout_s=FORCED_PATIENCE_S)
        else:
            await self._unless_forced(self._inflight.all_recorded(timeout_s=BOOKS_PATIENCE_S))

    async def _hand_over(self) -> None:
        try:
            await self._on_stop()
        except Exception:
            log.exception("hand-over failed; deliveries are left to their leases' end", running=self._inflight.count)
            self._inflight.cancel_all()

    async def _leave(self, *parts: asyncio.Task[None]) -> list[BaseException | None]:
        """Leave RQ's registry and close what is open; returns how the parts of the session ended."""
        self._abandoned.set()
        await cancel_until_done(*parts, *self._cancels)
        ends = await asyncio.gather(*parts, return_exceptions=True)
        await self._tap.close()
        try:
            await self._on(self._front_desk, self._presence.deregister)
        except (RedisError, OSError) as error:
            log.warning("worker not deregistered; RQ forgets it by itself", reason=str(error)[:200])
        for executor in (self._front_desk, self._finishers):
            executor.shutdown(wait=False, cancel_futures=True)
        self.connection.close()
        log.info("worker stopped", worker=self.name)
        return ends

    # --- Threads and time ------------------------------------------------------------------------------

    async def _on(self, executor: Executor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, call)

    async def _unless_forced(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for ``work``; the order to end at once cancels it."""
        task, forced = asyncio.create_task(work), asyncio.create_task(self._forced.wait())
        await asyncio.wait({task, forced}, return_when=asyncio.FIRST_COMPLETED)
        await cancel_until_done(task, forced)
        await asyncio.gather(task, forced, return_exceptions=True)
