"""Keeps what only grows from growing: RQ's registries, lists that name jobs whose records have expired, old uploads.

Callbacks that were given up are forgotten here, too, when they are as old as the record of a finished job may be.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from typing import Any, get_args

import redis

from dispatcher import rq_prefix
from dispatcher.callbacks import Outbox
from dispatcher.connection import AsyncStore, Call, command, failures_told
from dispatcher.errors import StorageUnavailable
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.models import FINAL, Status
from dispatcher.plan import pieces
from dispatcher.settings import Settings
from dispatcher.storage import Storage
from dispatcher.uploads import UPLOADS

INTERVAL_S = 60.0
UPLOADS_INTERVAL_S = 3600.0
PAGE = 500
_UPLOAD = re.compile(rf"{UPLOADS}/[0-9a-f]{{64}}\.\w+")

log = get_logger(__name__)


class Cleaner(Loop):
    """Cleans every minute."""

    def __init__(self, store: AsyncStore, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._redis_url = str(settings.redis_url)
        self._namespace = settings.namespace
        self._keep_ms = int(settings.jobs_keep_days * 86_400_000)
        self._outbox = Outbox(settings)
        self._storage = Storage(settings.storage)
        self._uploads_due_s = 0.0

    def interval(self) -> float:
        """One minute."""
        return INTERVAL_S

    async def step(self) -> None:
        """Clean RQ's registries, then each user's lists and the dead letters; once an hour the storage."""
        await asyncio.to_thread(_clean_registries, self._redis_url, self._namespace)
        users = await self._users()
        for user in users:
            await self._trim(user)
        await self._store.do(self._outbox.forget(before_ms=await self._oldest_kept_ms()))
        if time.monotonic() >= self._uploads_due_s:
            self._uploads_due_s = time.monotonic() + UPLOADS_INTERVAL_S
            await self._remove_uploads(users)

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
        oldest_kept_ms = await self._oldest_kept_ms()
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

    async def _oldest_kept_ms(self) -> int:
        now_s, _ = await self._store.do(command("TIME", read=tuple))
        return int(now_s) * 1000 - self._keep_ms

    async def _remove_uploads(self, users: list[str]) -> None:
        """Remove uploads that are as old as no finished job's record, unless a job that has not ended needs one.

        A caller stores its file, again if need be, before its job is accepted: so whoever needs an old one is listed.
        """
        oldest_kept = datetime.fromtimestamp(await self._oldest_kept_ms() / 1000, UTC)
        try:
            old = await asyncio.to_thread(self._storage.uploads_before, oldest_kept)
            needed = await self._needed(users) if old else set()
            removed = 0
            for name in old:
                if name not in needed:
                    removed += await asyncio.to_thread(self._storage.remove, name, before=oldest_kept)
        except StorageUnavailable as error:
            log.warning("uploads not cleaned", reason=str(error))
            return
        if removed:
            log.info("old uploads removed", uploads=removed)

    async def _needed(self, users: list[str]) -> set[str]:
        """Uploads of jobs that have not ended; lists are read twice, for a job may go back while they are read."""
        keys = self._store.keys
        unfinished = 2 * [status for status in get_args(Status) if status not in FINAL]
        needed: set[str] = set()
        for listed in (keys.of("jobs", user, status) for user in users for status in unfinished):
            jobs = await self._store.do(_texts("ZRANGE", listed, 0, -1))
            for page in pieces(jobs, PAGE):
                asked = [command("HGET", keys.job(job), "request", read=lambda reply: str(reply or "")) for job in page]
                for request in await self._store.do_many(asked):
                    needed.update(_UPLOAD.findall(request))
        return needed


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
