"""Renewing leases: one thread, one client of its own, all the leases of the process.

A worker whose loop is blocked for a moment keeps its leases; one that was frozen, or cut off from the store, learns
here that they are lost, and its coroutines stop. The thread frees no lease. After each pass it does what a dispatcher
does: grants what waits and re-admits accounts whose cooling has ended, so that slots fill while no dispatcher runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dispatcher.connection import Store, command
from dispatcher.errors import LeaseLost, StoreUnavailable
from dispatcher.handoff import DeliveryId
from dispatcher.leases import LEASES_A_CALL
from dispatcher.log import get_logger
from dispatcher.settings import Settings
from dispatcher.slots import Slots

SOCKET_TIMEOUT_S = 2.0
RETRY_PAUSE_S = 0.5

log = get_logger(__name__)


class _Held:
    """One lease in this process: the task that works under it, and whether it was lost."""

    __slots__ = ("is_lost", "loop", "task")

    def __init__(self, task: asyncio.Task[object], loop: asyncio.AbstractEventLoop) -> None:
        self.task = task
        self.loop = loop
        self.is_lost = False


class Renewal:
    """Keeps this process's leases alive, every ``heartbeat_s`` seconds."""

    def __init__(self, settings: Settings) -> None:
        client = redis.Redis.from_url(
            str(settings.redis_url),
            decode_responses=True,
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._store = Store(client, settings.namespace)
        self._slots = Slots(settings)
        self._heartbeat_s = settings.heartbeat_s
        self._held: dict[DeliveryId, _Held] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-renewal", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; leases still held run out by themselves."""
        self._stopped.set()
        self._thread.join()
        self._store.close()

    def deliveries(self) -> list[DeliveryId]:
        """What this process holds now."""
        with self._lock:
            return list(self._held)

    @asynccontextmanager
    async def keep(self, delivery: DeliveryId) -> AsyncIterator[None]:
        """Renew the lease while the block runs.

        Raises:
            LeaseLost: inside the block, at its next await, when the lease is not ours any more.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (coroutines always run in one)
        held = _Held(task, asyncio.get_running_loop())
        with self._lock:
            self._held[delivery] = held
        try:
            yield
        except asyncio.CancelledError:
            if not held.is_lost:
                raise
            while task.uncancel() > 0:
                pass  # given up more than once
            raise LeaseLost(delivery.job_id, "taken over") from None
        finally:
            with self._lock:
                del self._held[delivery]

    def give_up(self, delivery: DeliveryId) -> None:
        """Stop the work under a lease that is not ours any more; from any thread.

        Repeat it while the work goes on: before Python 3.12 a cancellation that meets the end of an
        ``asyncio.wait_for``, as in redis-py's calls, is swallowed.
        """
        with self._lock:
            held = self._held.get(delivery)
            if held is not None:
                held.is_lost = True
        if held is not None:
            held.loop.call_soon_threadsafe(self._cancel, delivery, held)

    def _cancel(self, delivery: DeliveryId, held: _Held) -> None:
        """Cancel on the loop's own thread, where a lease is still kept, or not any more: then nothing is owed."""
        if self._held.get(delivery) is held:
            held.task.cancel()

    def renew(self) -> None:
        """Renew everything once; work whose lease is not ours any more is given up.

        Raises:
            StoreUnavailable: some leases were not renewed.
        """
        for chunk in _chunks(self.deliveries(), LEASES_A_CALL):
            verdicts = self._store.do(self._slots.renew(chunk))
            for delivery, is_ours in zip(chunk, verdicts, strict=True):
                if not is_ours:
                    self.give_up(delivery)

    def readmit(self) -> None:
        """Grant what waits, and let accounts back in whose cooling has ended.

        Raises:
            StoreUnavailable: some pools were not looked at.
        """
        for pool in self._store.do(command("SMEMBERS", self._store.keys.of("pools"), read=list)):
            self._store.do(self._slots.dispatch(pool))

    def _run(self) -> None:
        pause_s = self._heartbeat_s
        while not self._stopped.wait(pause_s):
            is_done = self._done(self.renew, "leases not renewed")
            self._done(self.readmit, "accounts not re-admitted")
            pause_s = self._heartbeat_s if is_done else min(RETRY_PAUSE_S, self._heartbeat_s)

    def _done(self, duty: Callable[[], None], failure: str) -> bool:
        """Do one duty; whatever fails is told, and never ends the thread: a worker that renews nothing loses all."""
        try:
            duty()
        except StoreUnavailable as error:
            log.warning(failure, reason=str(error), held=len(self._held))
        except Exception:
            log.exception(failure, held=len(self._held))
        else:
            return True
        return False


def _chunks(deliveries: Sequence[DeliveryId], size: int) -> Iterator[Sequence[DeliveryId]]:
    """Cut a list into pieces of at most ``size``."""
    for start in range(0, len(deliveries), size):
        yield deliveries[start : start + size]
