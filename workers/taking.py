"""Taking deliveries from the queue, in batches, as long as there is room; across the store's absences."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from redis.exceptions import RedisError

from dispatcher.log import get_logger
from workers.inflight import InFlight
from workers.intake import Intake
from workers.presence import Presence
from workers.tap import QueueTap

T = TypeVar("T")

BATCH = 64
SUSPENDED_PAUSE_S = 1.0
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.0
LOOK_AGAIN_S = 0.2
WAKE_AGAIN_S = 0.05
WAKE_PATIENCE_S = 2.0

log = get_logger(__name__)


class Taking:
    """Moves deliveries from RQ's queue into flight until it is stopped."""

    def __init__(
        self,
        *,
        tap: QueueTap,
        intake: Intake,
        presence: Presence,
        inflight: InFlight,
        capacity: int,
        front_desk: ThreadPoolExecutor,
    ) -> None:
        self._tap = tap
        self._intake = intake
        self._presence = presence
        self._inflight = inflight
        self._capacity = capacity
        self._front_desk = front_desk
        self._is_stopped = False

    async def run(self) -> None:
        """Take until stopped."""
        pause_s = PAUSE_FIRST_S
        while not self._is_stopped:
            try:
                if (room := self._capacity - self._inflight.count) <= 0:
                    await self._inflight.one_ended(timeout_s=LOOK_AGAIN_S)
                    continue
                if await self._tap.is_suspended():
                    await self._rest()
                    continue
                raw_ids = await self._tap.take(min(BATCH, room))
            except (RedisError, OSError) as error:
                log.warning("queue out of reach", reason=str(error)[:200])
                pause_s = await _pause(pause_s)
                continue
            pause_s = PAUSE_FIRST_S
            if raw_ids:
                await self._admit(raw_ids)

    async def stop(self, running: asyncio.Task[None]) -> None:
        """Let the tap's wait end with no id in flight: what is yielded from now on must not come back to us."""
        self._is_stopped = True
        end_s = asyncio.get_running_loop().time() + WAKE_PATIENCE_S
        while not running.done() and asyncio.get_running_loop().time() < end_s:
            await self._tap.wake()
            await asyncio.wait({running}, timeout=WAKE_AGAIN_S)
        running.cancel()
        await asyncio.wait({running})

    async def _admit(self, raw_ids: list[bytes]) -> None:
        """Start what may run of these; they wait in the intermediate list while the store is away."""
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                admitted = await self._desk(partial(self._intake.admit, raw_ids))
            except (RedisError, OSError) as error:
                log.warning("deliveries not admitted yet", deliveries=len(raw_ids), reason=str(error)[:200])
                if self._is_stopped:
                    return  # their leases run out, and `reap` hands them to another worker
                pause_s = await _pause(pause_s)
            else:
                for delivery in admitted:
                    self._inflight.start(delivery)
                return

    async def _rest(self) -> None:
        """`rq suspend`: take nothing new; what runs goes on."""
        await self._desk(partial(self._presence.show_state, is_suspended=True))
        await asyncio.sleep(SUSPENDED_PAUSE_S)
        await self._desk(self._presence.show_state)

    async def _desk(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._front_desk, call)


async def _pause(pause_s: float) -> float:
    await asyncio.sleep(pause_s)
    return min(PAUSE_MAX_S, pause_s * 2)
