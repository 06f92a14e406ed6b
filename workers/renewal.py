"""Renewing leases: one thread, one client of its own, all the leases of the process.

A worker whose loop is blocked for a moment keeps its leases; one that was frozen, or cut off from the store, learns
here that they are lost, and its coroutines stop. A store that lost writes is told again here what is held, also what
nobody would speak of for minutes. The thread frees no lease. After each pass it does what a dispatcher
does: grants what waits and re-admits accounts whose cooling has ended, so that slots fill while no dispatcher runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dispatcher.connection import Store, command
from dispatcher.errors import LeaseLost, StoreUnavailable
from dispatcher.handoff import DeliveryId
from dispatcher.leases import LEASES_A_CALL, Holding
from dispatcher.log import get_logger
from dispatcher.plan import pieces
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from workers.recent import Recent

SOCKET_TIMEOUT_S = 2.0
RETRY_PAUSE_S = 0.5

log = get_logger(__name__)


class _Held:
    """One lease in this process: the task that works under it, and whether it was lost."""

    __slots__ = ("holding", "is_lost", "loop", "task")

    def __init__(
        self, holding: Callable[[], Holding], task: asyncio.Task[object], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.holding = holding
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
        self.recent = Recent()
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

    def holdings(self) -> list[Holding]:
        """What this process holds now, as each owner knows it."""
        with self._lock:
            return [held.holding() for held in self._held.values()]

    @asynccontextmanager
    async def keep(self, holding: Callable[[], Holding]) -> AsyncIterator[None]:
        """Renew the lease while the block runs.

        Args:
            holding: tells the lease and the record as they stand; called on any thread.

        Raises:
            LeaseLost: inside the block, at its next await, when the lease is not ours any more.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (coroutines always run in one)
        delivery = holding().lease.delivery
        held = _Held(holding, task, asyncio.get_running_loop())
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

        What the store forgot it is told again: each holding was read before the question, so what its owner did since
        is at most newer, and the script takes nothing older than it has.

        Raises:
            StoreUnavailable: some leases were not renewed.
        """
        for chunk in pieces(self.holdings(), LEASES_A_CALL):
            verdicts = self._store.do(self._slots.renew([held.lease for held in chunk]))
            for held, verdict in zip(chunk, verdicts, strict=True):
                if verdict == "lost":
                    self.give_up(held.lease.delivery)
            self.reassert([held for held, told in zip(chunk, verdicts, strict=True) if told == "rolled_back"])
        self.recent.tell(self._store, self._slots)

    def reassert(self, holdings: Sequence[Holding]) -> None:
        """Tell a store that lost writes what is held; work whose lease has a newer owner there is given up.

        Raises:
            StoreUnavailable: some were not told.
        """
        for held in holdings:
            delivery = held.lease.delivery
            try:
                state = self._store.do(self._slots.reassert(held))
            except LeaseLost:
                self.give_up(delivery)
            else:
                log.warning("lease re-asserted", job_id=delivery.job_id, fencing_token=delivery.token, state=state)

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
