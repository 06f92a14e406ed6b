"""The enqueue API, blocking: accept jobs, follow them, fetch their results.

What a round trip is stands in ``jobs.py``; ``async_client.py`` makes the same ones under asyncio.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterable, Iterator
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
from dispatcher.connection import Call, open_store
from dispatcher.errors import JobNotFound, LeasingClosed, LinksTimeout
from dispatcher.links import may_expire, with_links
from dispatcher.models import Attachment, Job, short_id
from dispatcher.options import Options, check_list
from dispatcher.plan import carry_out
from dispatcher.requests import Request


class Client(Connected):
    """Enqueue and follow jobs, blocking.

    Args:
        redis_url: the store; None takes ``DISPATCHER_REDIS_URL``, else the running embedded store of ``state_dir``.
        user: whose accounts and jobs; a Redis URL is full trust, so it is a number, not a token.
        namespace: the fleet's hash tag; None takes the setting.
        state_dir: where `dispatcher up` keeps its store; None takes the setting.

    Raises:
        RequestInvalid: ``user`` is no user number.
        SettingsError: a setting, such as the URL, is not acceptable.
        StoreUnavailable: no store is named and none runs.
    """

    def _open(self, redis_url: str) -> None:
        self._store = open_store(redis_url, self.settings.namespace)

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
            idempotency_key: the same key with the same request returns the first job, for 24 h. A store that may have
                lost it (``learning_s`` after a restart) is asked again until it knows.
            priority: -100 to 100, larger first; first in first out within.
            channel: wait for this account alone.
            deadline_s: from accept to final, in seconds; at most 366 days.
            reply_url: an http(s) URL, at most 1024 characters, to which the service posts the job when it ends; which
                addresses it calls, the setting ``callback_allowed_networks`` says.
            reply_ref: an opaque text of the caller's, at most 1024 characters, told with the job.

        Returns:
            The job, ``created``.

        Raises:
            AccountNotFound: no account is registered for ``channel``.
            DuplicateJob: the key was used with another request.
            JobNotFound: the job whose button is pressed is unknown to this user, or its record has expired.
            RequestInvalid: the request or an option is not acceptable; nothing was stored.
            StorageUnavailable: a file of the request cannot be kept; no job was accepted.
            StoreUnavailable: nothing was stored, or the answer was lost: repeat it with an ``idempotency_key``.
        """
        options = Options(
            user=self.user,
            idempotency_key=idempotency_key,
            priority=priority,
            channel=channel,
            deadline_s=deadline_s,
            reply_url=reply_url,
            reply_ref=reply_ref,
        )
        return self._accepted([(request, options)])[0]

    def enqueue_many(self, requests: Iterable[Request], **common: Any) -> list[Job]:
        """Accept many jobs in one round trip, order kept; ``common`` are ``enqueue``'s options, for all of them.

        All are validated before anything is stored.
        """
        return self._accepted(self._wanted(requests, common))

    def get(self, job_id: str) -> Job:
        """Read a job by either form of its id.

        Raises:
            JobNotFound: the id is unknown to this user, or the record has expired.
            LeasingClosed: the id is unknown to a store that lost writes and is being told again what it lost.
        """
        (job,) = self._known([job_id])
        return job

    def jobs(self, status: str | None = None, limit: int = 100, before: str | datetime | None = None) -> list[Job]:
        """List jobs, newest first; one whose record cannot be read is left out, and logged.

        Args:
            status: only jobs in this status.
            limit: at most so many, 1 to 10000.
            before: a job id (the page after it) or an instant.

        Raises:
            RequestInvalid: an argument is not acceptable.
            JobNotFound: the job that ``before`` names is not in the list.
        """
        check_list(status=status, limit=limit, before=before)
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

    def retry(self, job_id: str) -> Job:
        """Enqueue an ended job's request again, as a new job with the same pin, priority, time and reply.

        While the new job has not ended, retrying the old one again returns it.

        Raises:
            AccountNotFound: the account that it was pinned to is gone.
            JobNotFound: the id is unknown to this user, or the record has expired.
            JobStateError: the job has not ended.
        """
        request, options = self._store.do(self._jobs.again(job_id, user=self.user))
        (job,) = self._accepted([(request, options)])
        return self.retry(job.id) if job.is_final else job

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
        clock = Patience(timeout_s)
        woken: queue.SimpleQueue[str] = queue.SimpleQueue()
        with self._events.watch(waiting, woken.put):
            stale = list(waiting)
            while waiting:
                for job in self._known_by_now(stale):
                    if job.is_final and job.id in waiting:
                        del waiting[job.id]
                        yield job
                if not waiting:
                    return
                try:
                    stale = [woken.get(timeout=clock.slice_s(next(iter(waiting))))]
                except queue.Empty:
                    stale = list(waiting)

    def _accepted(self, wanted: list[Wanted]) -> list[Job]:
        """Submit; a key that the store may have lost is asked for again until it has learned."""
        calls: list[Call[Job]] = []
        while True:
            try:
                if not calls:
                    parents = parents_of(wanted)
                    calls = self._submissions(wanted, dict(zip(parents, self._known(parents), strict=True)))
                    self._keep_files(wanted)
                return self._store.do_many(calls)
            except LeasingClosed as closed:
                time.sleep(pause_s(closed))

    def _known(self, ids: list[str]) -> list[Job]:
        try:
            return self._store.do_many([self._get(job_id) for job_id in ids])
        except JobNotFound:
            if left_ms := carry_out(self._store, self._learning.noticed_ms()):
                raise LeasingClosed(left_ms) from None
            raise

    def _known_by_now(self, ids: list[str]) -> list[Job]:
        """Read jobs; none while one may be among what the store is about to be told again."""
        try:
            return self._known(ids)
        except LeasingClosed:
            return []

    def links(self, job_id: str, timeout_s: float = LINKS_TIMEOUT_S) -> Job:
        """Read an ended job with fresh links to its files: a worker asks the upstream for them, within ``timeout_s``.

        One whose links never expire is read as it is, and so is one without files. What a worker learned is told again
        for up to an hour. The record keeps its own links.

        Raises:
            JobNotFound: the id is unknown to this user, or the record has expired.
            JobStateError: the job has not ended.
            LinksTimeout: no worker answered in time.
            LinksUnavailable: there are none, and why: the account was deleted, say, or the upstream refuses.
        """
        job = self.get(job_id)
        return self._renewed(job, timeout_s) if may_expire(job) else job

    def _renewed(self, job: Job, timeout_s: float, dead: Attachment | None = None) -> Job:
        """Put fresh links into a job; others than that of ``dead``, where it is given."""
        clock = Patience(timeout_s, LinksTimeout)
        while True:  # a question that a worker took to its grave is asked again
            asked = self._store.do(self._links.ask(job.id, user=self.user, dead=dead))
            for _ in range(LINKS_LOOKS):
                if (urls := self._store.do(self._links.answer(asked))) is not None:
                    return with_links(job, urls)
                time.sleep(min(LINKS_AGAIN_S, clock.slice_s(job.id)))

    def download(self, job: Job, folder: str | Path) -> list[Path]:
        """Save the job's result files into ``folder``; the paths, in the job's order.

        Where a link has expired, fresh ones are fetched as by :meth:`links`.

        Raises:
            JobStateError: the job is not completed.
            RequestInvalid: the folder cannot be made or written to.
            UpstreamUnavailable: a file could not be fetched.
            JobNotFound, LinksTimeout, LinksUnavailable: a link has expired, and there is no fresh one.
        """
        from dispatcher.download import LinkDead, save_attachments  # noqa: PLC0415 (keeps httpx out of other uses)

        for _ in range(LINKS_TRIES):
            try:
                return save_attachments(job, Path(folder))
            except LinkDead as dead:
                job = self._renewed(job, LINKS_TIMEOUT_S, dead.attachment)
        return save_attachments(job, Path(folder))
