"""The tap on RQ's queue: one connection that blocks, and one that can wake it."""

from __future__ import annotations

from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from rq.suspension import WORKERS_SUSPENDED

BLOCK_S = 5
SOCKET_TIMEOUT_S = BLOCK_S + 10
"""Well past the block: where both end together, the server hands over an id at the moment the client hangs up."""
CONNECT_TIMEOUT_S = 5


class QueueTap:
    """Takes ids from the queue to RQ's intermediate list, in which none is lost.

    The blocking connection never repeats a command by itself: a repeated BLMOVE would forget the id of the first.
    """

    def __init__(self, redis_url: str, *, queue_key: str, intermediate_key: str) -> None:
        self._lists = (queue_key, intermediate_key)
        self._blocking: Any = redis.asyncio.Redis.from_url(
            redis_url,
            max_connections=1,  # so that the id asked for is the id of the connection that waits
            socket_timeout=SOCKET_TIMEOUT_S,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._waking: Any = redis.asyncio.Redis.from_url(
            redis_url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )
        self._client_id: int | None = None

    async def take(self, most: int) -> list[bytes]:
        """Wait up to ``BLOCK_S`` for an id, then take what else is there: at most ``most`` in all.

        Raises:
            RedisError, OSError: the store is away; what it had already moved stays in the intermediate list.
        """
        try:
            if self._client_id is None:
                self._client_id = int(await self._blocking.client_id())
            first: bytes | None = await self._blocking.blmove(*self._lists, BLOCK_S)
            if first is None:
                return []
            return [first, *await self._more(most - 1)]
        except (RedisError, OSError):
            self._client_id = None  # the next connection is another client to the server
            raise

    async def _more(self, most: int) -> list[bytes]:
        waiting = min(most, await self._blocking.llen(self._lists[0]))
        if waiting <= 0:
            return []
        async with self._blocking.pipeline(transaction=False) as pipeline:
            for _ in range(waiting):
                pipeline.lmove(*self._lists)
            return [raw_id for raw_id in await pipeline.execute() if raw_id is not None]

    async def is_suspended(self) -> bool:
        """Say whether `rq suspend` asks workers to take nothing new."""
        return bool(await self._blocking.exists(WORKERS_SUSPENDED))

    async def wake(self) -> None:
        """End a wait at once, with nothing taken; does nothing where there is no wait or no store."""
        if self._client_id is None:
            return
        try:
            await self._waking.client_unblock(self._client_id)
        except (RedisError, OSError):
            return

    async def close(self) -> None:
        """Close both connections."""
        await self._blocking.aclose()
        await self._waking.aclose()
