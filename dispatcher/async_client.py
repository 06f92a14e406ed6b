"""The enqueue API under asyncio; the same names, promises and errors as ``client.py``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from dispatcher.connected import (
    LINKS_AGAIN_S,
    LINKS_LOOKS,
    LINKS_TIMEOUT_S,
    LINKS_TRIES,
    Connected,
    Patience,
    Wanted,
    parents_of,
    pause_s,
)
from dispatcher.connection import Call, open_async_store
from dispatcher.errors import JobNotFound, LeasingClosed, LinksTimeout
from dispatcher.links import may_expire, with_links
from dispatcher.models import Attachment, Job, short_id
from dispatcher.options import Options, check_list
from dispatcher.plan import carry_out_async
from dispatcher.requests import Request


class AsyncClient(Connected):
    """Enqueue and follow jobs under asyncio; the same names, promises and errors as :class:`Client`."""

    def _open(self, redis_url: str) -> None:
        self._store = open_async_store(redis_url, self.settings.namespace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._store.close()

    async def enqueue(
        self,
        request: Request,
        *,
        idempotency_key: str | None = None,
        priority: int = 0,
        channel: str | None = None,
        deadline_s: float | None = None,
        reply_url: str | None = None,
        reply_ref: str | None = None,
    ) -> Job:
        """Accept a job; see :meth:`Client.enqueue`."""
        options = Options(
            user=self.user,
            idempotency_key=idempotency_key,
            priority=priority,
            channel=channel,
            deadline_s=deadline_s,
            reply_url=reply_url,
            reply_ref=reply_ref,
        )
        return (await self._accepted([(request, options)]))[0]

    async def enqueue_many(self, requests: Iterable[Request], **common: Any) -> list[Job]:
        """Accept many jobs in one round trip; see :meth:`Client.enqueue_many`."""
        return await self._accepted(self._wanted(requests, common))

    async def get(self, job_id: str) -> Job:
        """Read a job; see :meth:`Client.get`."""
        (job,) = await self._known([job_id])
        return job

    async def jobs(
        self, status: str | None = None, limit: int = 100, before: str | datetime | None = None
    ) -> list[Job]:
        """List jobs, newest first; see :meth:`Client.jobs`."""
        check_list(status=status, limit=limit, before=before)
        rank = None
        if isinstance(before, str):
            rank = await self._store.do(self._jobs.rank(before, user=self.user, status=status))
        ids = await self._store.do(self._page(rank, before, limit, status))
        records = await self._store.do_many([self._jobs.record(job_id) for job_id in ids])
        return [job for job in records if job is not None]

    async def cancel(self, job_id: str) -> Job:
        """Cancel for the caller at once; see :meth:`Client.cancel`."""
        return await self._store.do(self._jobs.cancel(job_id, user=self.user))

    async def retry(self, job_id: str) -> Job:
        """Enqueue an ended job's request again, as a new job; see :meth:`dispatcher.Client.retry`."""
        request, options = await self._store.do(self._jobs.again(job_id, user=self.user))
        (job,) = await self._accepted([(request, options)])
        return await self.retry(job.id) if job.is_final else job

    async def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait for any final state; see :meth:`Client.wait`."""
        async for job in self.as_completed([job_id], timeout_s):
            return job
        raise JobNotFound(job_id)

    async def wait_many(self, job_ids: Iterable[str], timeout_s: float | None = None) -> list[Job]:
        """Wait for all of them; the order is kept."""
        ids = [short_id(job_id) for job_id in job_ids]
        ended = {job.id: job async for job in self.as_completed(ids, timeout_s)}
        return [ended[job_id] for job_id in ids]

    async def as_completed(self, job_ids: Iterable[str], timeout_s: float | None = None) -> AsyncIterator[Job]:
        """Yield each job when it becomes final, in that order; see :meth:`Client.as_completed`."""
        waiting = dict.fromkeys(short_id(job_id) for job_id in job_ids)
        clock = Patience(timeout_s)
        woken: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        with self._events.watch(waiting, lambda job_id: _wake(loop, woken, job_id)):
            stale = list(waiting)
            while waiting:
                for job in await self._known_by_now(stale):
                    if job.is_final and job.id in waiting:
                        del waiting[job.id]
                        yield job
                if not waiting:
                    return
                try:
                    stale = [await asyncio.wait_for(woken.get(), clock.slice_s(next(iter(waiting))))]
                except TimeoutError:
                    stale = list(waiting)

    async def _accepted(self, wanted: list[Wanted]) -> list[Job]:
        calls: list[Call[Job]] = []
        while True:
            try:
                if not calls:
                    parents = parents_of(wanted)
                    calls = self._submissions(wanted, dict(zip(parents, await self._known(parents), strict=True)))
                    await asyncio.to_thread(self._keep_files, wanted)
                return await self._store.do_many(calls)
            except LeasingClosed as closed:
                await asyncio.sleep(pause_s(closed))

    async def _known(self, ids: list[str]) -> list[Job]:
        try:
            return await self._store.do_many([self._get(job_id) for job_id in ids])
        except JobNotFound:
            if left_ms := await carry_out_async(self._store, self._learning.noticed_ms()):
                raise LeasingClosed(left_ms) from None
            raise

    async def _known_by_now(self, ids: list[str]) -> list[Job]:
        try:
            return await self._known(ids)
        except LeasingClosed:
            return []

    async def links(self, job_id: str, timeout_s: float = LINKS_TIMEOUT_S) -> Job:
        """Read an ended job with fresh links to its files; see :meth:`Client.links`."""
        job = await self.get(job_id)
        return await self._renewed(job, timeout_s) if may_expire(job) else job

    async def _renewed(self, job: Job, timeout_s: float, dead: Attachment | None = None) -> Job:
        clock = Patience(timeout_s, LinksTimeout)
        while True:
            asked = await self._store.do(self._links.ask(job.id, user=self.user, dead=dead))
            for _ in range(LINKS_LOOKS):
                urls = await self._store.do(self._links.answer(asked))
                if urls is not None:
                    return with_links(job, urls)
                await asyncio.sleep(min(LINKS_AGAIN_S, clock.slice_s(job.id)))

    async def download(self, job: Job, folder: str | Path) -> list[Path]:
        """Save the job's result files; see :meth:`Client.download`."""
        from dispatcher.download import LinkDead, save_attachments  # noqa: PLC0415 (keeps httpx out of other uses)

        for _ in range(LINKS_TRIES):
            try:
                return await asyncio.to_thread(save_attachments, job, Path(folder))
            except LinkDead as dead:
                job = await self._renewed(job, LINKS_TIMEOUT_S, dead.attachment)
        return await asyncio.to_thread(save_attachments, job, Path(folder))


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Queue[str], job_id: str) -> None:
    """Hand a wake-up from the reader's thread to the loop, unless that has closed meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(woken.put_nowait, job_id)
