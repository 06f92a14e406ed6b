"""Keeps what only grows from growing: RQ's registries, and the lists that name jobs whose records have expired."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict, astuple
from typing import Any, get_args

import redis

from dispatcher import rq_prefix
from dispatcher.connection import AsyncStore, Call, command, failures_told
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.models import Status
from dispatcher.settings import Settings

INTERVAL_S = 60.0
PAGE = 500

log = get_logger(__name__)


class Cleaner(Loop):
    """Cleans every minute."""

    def __init__(self, store: AsyncStore, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._redis_url = str(settings.redis_url)
        self._namespace = settings.namespace
        self._keep_ms = int(settings.jobs_keep_days * 86_400_000)

    def interval(self) -> float:
        """One minute."""
        return INTERVAL_S

    async def step(self) -> None:
        """Clean RQ's registries, then each user's lists."""
        await asyncio.to_thread(_clean_registries, self._redis_url, self._namespace)
        for user in await self._users():
            await self._trim(user)

    async def _users(self) -> list[str]:
        """Users who ever had a token or an account."""
        keys = self._store.keys
        numbered, pools = await self._store.do_many(
            [_texts("HKEYS", keys.of("users")), _texts("SMEMBERS", keys.of("pools"))]
        )
        return sorted({*numbered, *(pool.partition(":")[0] for pool in pools)})

    async def _trim(self, user: str) -> None:
        """Take jobs off the lists that are old and whose record is gone; one that still waits or runs stays."""
        keys = self._store.keys
        listed = keys.of("jobs", user)
        now_s, _ = await self._store.do(command("TIME", read=tuple))
        oldest_kept_ms = int(now_s) * 1000 - self._keep_ms
        skipped = removed = 0
        while page := await self._store.do(
            _texts("ZRANGEBYSCORE", listed, "-inf", oldest_kept_ms, "LIMIT", skipped, PAGE)
        ):
            exists = await self._store.do_many([command("EXISTS", keys.job(job), read=bool) for job in page])
            gone = [job for job, has_record in zip(page, exists, strict=True) if not has_record]
            if gone:
                lists = [listed, *(keys.of("jobs", user, status) for status in get_args(Status))]
                await self._store.do_many([command("ZREM", name, *gone, read=int) for name in lists])
            skipped += len(page) - len(gone)
            removed += len(gone)
        if removed:
            log.info("expired jobs taken off the lists", user=int(user), jobs=removed)


def _clean_registries(redis_url: str, namespace: str) -> None:
    rq_prefix.take(namespace)
    from dispatcher.registries import clean_registries  # noqa: PLC0415 (loads rq, which reads its prefix once)

    with failures_told("clean"), redis.Redis.from_url(redis_url) as connection:
        cleaned = clean_registries(connection)
    if any(astuple(cleaned)):
        log.info("registries cleaned", **asdict(cleaned))


def _texts(name: str, *args: str | float) -> Call[list[str]]:
    def read(reply: Iterable[Any]) -> list[str]:
        return [str(item) for item in reply]

    return command(name, *args, read=read)
