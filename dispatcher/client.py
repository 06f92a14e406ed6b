"""The enqueue API: accept jobs, follow them, fetch their results.

``Client`` and ``AsyncClient`` differ only in how they make a round trip; what a round trip is stands in ``jobs.py``.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from dispatcher import events
from dispatcher.connection import Call, open_async_store, open_store
from dispatcher.errors import JobNotFound, RequestInvalid, StoreUnavailable, WaitTimeout
from dispatcher.jobs import Jobs, Options
from dispatcher.models import Job, Request, short_id
from dispatcher.settings import Settings, load_settings


def _settings(redis_url: str | None, namespace: str | None, state_dir: str | Path | None) -> Settings:
    """Settle where the store is.

    Raises:
        StoreUnavailable: no URL is given and no embedded store runs.
    """
    settings = load_settings(redis_url=redis_url, namespace=namespace, state_dir=state_dir)
    if settings.redis_url:
        return settings
    from dispatcher.embedded import running_url  # noqa: PLC0415 (only needed without a URL)

    url = running_url(settings.state_dir)
    if url is None:
        raise StoreUnavailable(
            f"No Redis URL is given and no embedded store runs in {settings.state_dir}; "
            "start `dispatcher up`, or set DISPATCHER_REDIS_URL."
        )
    return settings.model_copy(update={"redis_url": url})


def _many_options(requests: Sequence[Request], user: int, common: dict[str, Any]) -> list[Options]:
    """One set of options a request; a key for the whole batch becomes one key each, so a retry is safe."""
    whole = Options(user=user, **common)
    key = whole.idempotency_key
    return [replace(whole, idempotency_key=f"{key}#{index}" if key else None) for index, _ in enumerate(requests)]


class _Connected:
    """What both clients know: the settings, the user and the nouns."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        user: int = 1,
        namespace: str | None = None,
        state_dir: str | Path | None = None,
    ) -> None:
        self.user = user
        self.settings = _settings(redis_url, namespace, state_dir)
        self._url = str(self.settings.redis_url)
        self._jobs = Jobs(self.settings)
        self._events = events.reader_of(self._url, self.settings.namespace)

    def _submit(self, request: Request, **options: Any) -> Call[Job]:
        if not isinstance(request, Request):
            raise RequestInvalid("request", f"{type(request).__name__} is not a request such as Create or CreateSingle")
        return self._jobs.submit(request, Options(user=self.user, **options))

    def _submit_many(self, requests: Iterable[Request], common: dict[str, Any]) -> list[Call[Job]]:
        wanted = list(requests)
        for request in wanted:
            if not isinstance(request, Request):
                raise RequestInvalid("request", f"{type(request).__name__} is not a request such as Create")
        options = _many_options(wanted, self.user, common)
        return [self._jobs.submit(request, option) for request, option in zip(wanted, options, strict=True)]

    def _page(self, rank: int | None, before: str | datetime | None, limit: int, status: str | None) -> Call[list[str]]:
        """One page of a list: after a job's rank, before an instant, or from the top."""
        if isinstance(before, str):
            if rank is None:
                raise JobNotFound(before)
            return self._jobs.newest_after(rank, user=self.user, status=status, limit=limit)
        bound = f"({before.timestamp() * 1000:.0f}" if before else None
        return self._jobs.newest(user=self.user, status=status, limit=limit, before=bound)

    def _get(self, job_id: str) -> Call[Job]:
        return self._jobs.get(job_id, user=self.user)


class Client(_Connected):
    """Enqueue and follow jobs, blocking.

    Args:
        redis_url: the store; None takes ``DISPATCHER_REDIS_URL``, else the running embedded store of ``state_dir``.
        user: whose accounts and jobs; a Redis URL is full trust, so it is a number, not a token.
        namespace: the fleet's hash tag; None takes the setting.
        state_dir: where `dispatcher up` keeps its store; None takes the setting.

    Raises:
        StoreUnavailable: no store is named and none runs.
    """

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        user: int = 1,
        namespace: str | None = None,
        state_dir: str | Path | None = None,
    ) -> None:
        super().__init__(redis_url, user=user, namespace=namespace, state_dir=state_dir)
        self._store = open_store(self._url, self.settings.namespace)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; waiting calls must have ended."""
        self._store.close()

    def enqueue(
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
        """Accept a job; it starts as soon as an account has a free slot.

        Args:
            request: what to make.
            idempotency_key: the same key with the same request returns the first job, for 24 h.
            priority: -100 to 100, larger first; first in first out within.
            channel: wait for this account alone.
            deadline_s: from accept to final, in seconds.
            reply_url: where the final job is posted.
            reply_ref: an opaque text of the caller's, kept with the job.

        Returns:
            The job, ``created``.

        Raises:
            AccountNotFound: no account is registered for ``channel``.
            DuplicateJob: the key was used with another request.
            RequestInvalid: an option is out of range.
            StoreUnavailable: nothing was stored, or the answer was lost: repeat it with an ``idempotency_key``.
        """
        return self._store.do(
            self._submit(
                request,
                idempotency_key=idempotency_key,
                priority=priority,
                channel=channel,
                deadline_s=deadline_s,
                reply_url=reply_url,
                reply_ref=reply_ref,
            )
        )

    def enqueue_many(self, requests: Iterable[Request], **common: Any) -> list[Job]:
        """Accept many jobs in one round trip, order kept; ``common`` are ``enqueue``'s options, for all of them.

        All are validated before anything is stored.
        """
        return self._store.do_many(self._submit_many(requests, common))

    def get(self, job_id: str) -> Job:
        """Read a job by either form of its id.

        Raises:
            JobNotFound: the id is unknown to this user, or the record has expired.
        """
        return self._store.do(self._get(job_id))

    def jobs(self, status: str | None = None, limit: int = 100, before: str | datetime | None = None) -> list[Job]:
        """List jobs, newest first.

        Args:
            status: only jobs in this status.
            limit: at most so many.
            before: a job id (the page after it) or an instant.
        """
        rank = None
        if isinstance(before, str):
            rank = self._store.do(self._jobs.rank(before, user=self.user, status=status))
        ids = self._store.do(self._page(rank, before, limit, status))
        records = self._store.do_many([self._jobs.record(job_id) for job_id in ids])
        return [job for job in records if job is not None]

    def cancel(self, job_id: str) -> Job:
        """Cancel for the caller at once; a final job is returned unchanged.

        A job that already runs upstream keeps its slot until the upstream ends: it cannot be told to stop.
        """
        return self._store.do(self._jobs.cancel(job_id, user=self.user))

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Wait for any final state; never raises for a failed job.

        Raises:
            WaitTimeout: the time is up; the job goes on.
            JobNotFound: the id is unknown to this user.
        """
        return next(self.as_completed([job_id], timeout_s))

    def wait_many(self, job_ids: Iterable[str], timeout_s: float | None = None) -> list[Job]:
        """Wait for all of them; the order is kept."""
        ids = [short_id(job_id) for job_id in job_ids]
        ended = {job.id: job for job in self.as_completed(ids, timeout_s)}
        return [ended[job_id] for job_id in ids]

    def as_completed(self, job_ids: Iterable[str], timeout_s: float | None = None) -> Iterator[Job]:
        """Yield each job when it becomes final, in that order.

        Raises:
            WaitTimeout: the time is up before all were; they go on.
        """
        waiting = dict.fromkeys(short_id(job_id) for job_id in job_ids)
        clock = _Patience(timeout_s)
        woken: queue.SimpleQueue[str] = queue.SimpleQueue()
        with self._events.watch(waiting, woken.put):
            stale = list(waiting)
            while waiting:
                for job in self._read_all(stale):
                    if job.is_final and job.id in waiting:
                        del waiting[job.id]
                        yield job
                if not waiting:
                    return
                try:
                    stale = [woken.get(timeout=clock.slice_s(next(iter(waiting))))]
                except queue.Empty:
                    stale = list(waiting)

    def _read_all(self, ids: list[str]) -> list[Job]:
        return self._store.do_many([self._get(job_id) for job_id in ids])

    def download(self, job: Job, folder: str | Path) -> list[Path]:
        """Save the job's result files into ``folder``; the paths, in the job's order.

        Raises:
            JobStateError: the job is not completed.
            UpstreamUnavailable: a file could not be fetched.
        """
        from dispatcher.download import save_attachments  # noqa: PLC0415 (keeps httpx out of applications that do not)

        return save_attachments(job, Path(folder))


class AsyncClient(_Connected):
    """Enqueue and follow jobs under asyncio; the same names, promises and errors as :class:`Client`."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        user: int = 1,
        namespace: str | None = None,
        state_dir: str | Path | None = None,
    ) -> None:
        super().__init__(redis_url, user=user, namespace=namespace, state_dir=state_dir)
        self._store = open_async_store(self._url, self.settings.namespace)

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
        return await self._store.do(
            self._submit(
                request,
                idempotency_key=idempotency_key,
                priority=priority,
                channel=channel,
                deadline_s=deadline_s,
                reply_url=reply_url,
                reply_ref=reply_ref,
            )
        )

    async def enqueue_many(self, requests: Iterable[Request], **common: Any) -> list[Job]:
        """Accept many jobs in one round trip; see :meth:`Client.enqueue_many`."""
        return await self._store.do_many(self._submit_many(requests, common))

    async def get(self, job_id: str) -> Job:
        """Read a job; see :meth:`Client.get`."""
        return await self._store.do(self._get(job_id))

    async def jobs(
        self, status: str | None = None, limit: int = 100, before: str | datetime | None = None
    ) -> list[Job]:
        """List jobs, newest first; see :meth:`Client.jobs`."""
        rank = None
        if isinstance(before, str):
            rank = await self._store.do(self._jobs.rank(before, user=self.user, status=status))
        ids = await self._store.do(self._page(rank, before, limit, status))
        records = await self._store.do_many([self._jobs.record(job_id) for job_id in ids])
        return [job for job in records if job is not None]

    async def cancel(self, job_id: str) -> Job:
        """Cancel for the caller at once; see :meth:`Client.cancel`."""
        return await self._store.do(self._jobs.cancel(job_id, user=self.user))

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
        clock = _Patience(timeout_s)
        woken: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        with self._events.watch(waiting, lambda job_id: _wake(loop, woken, job_id)):
            stale = list(waiting)
            while waiting:
                for job in await self._store.do_many([self._get(job_id) for job_id in stale]):
                    if job.is_final and job.id in waiting:
                        del waiting[job.id]
                        yield job
                if not waiting:
                    return
                try:
                    stale = [await asyncio.wait_for(woken.get(), clock.slice_s(next(iter(waiting))))]
                except TimeoutError:
                    stale = list(waiting)

    async def download(self, job: Job, folder: str | Path) -> list[Path]:
        """Save the job's result files; see :meth:`Client.download`."""
        from dispatcher.download import save_attachments  # noqa: PLC0415 (keeps httpx out of applications that do not)

        return await asyncio.to_thread(save_attachments, job, Path(folder))


def _wake(loop: asyncio.AbstractEventLoop, woken: asyncio.Queue[str], job_id: str) -> None:
    """Hand a wake-up from the reader's thread to the loop, unless that has closed meanwhile."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(woken.put_nowait, job_id)


class _Patience:
    """How long a waiter still waits."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def slice_s(self, job_id: str) -> float:
        """Seconds until the record is read again.

        Raises:
            WaitTimeout: the time is up.
        """
        if self._end is None or self.timeout_s is None:
            return events.REREAD_S
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise WaitTimeout(job_id, self.timeout_s)
        return min(events.REREAD_S, left_s)
