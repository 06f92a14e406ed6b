"""What a blocking and an asyncio client share: where the store is, which round trips they make, how long they wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dispatcher import events
from dispatcher.connection import Call
from dispatcher.errors import JobError, JobNotFound, LeasingClosed, RequestInvalid, StoreUnavailable, WaitTimeout
from dispatcher.jobs import Jobs
from dispatcher.learning import Learning
from dispatcher.links import JOIN_MS, Links
from dispatcher.models import Job
from dispatcher.options import Options, check_timeout, check_user
from dispatcher.presses import pressed
from dispatcher.requests import Button, Request
from dispatcher.settings import Settings, load_settings

Wanted = tuple[Request, Options]
"""A request, and how it is to be accepted."""


def parents_of(wanted: Sequence[Wanted]) -> list[str]:
    """Return the ids of the jobs whose buttons are pressed, as the requests name them."""
    ids = (request.jobid for request, _ in wanted if isinstance(request, Button))
    return list(dict.fromkeys(ids))


def _settings(redis_url: str | None, namespace: str | None, state_dir: str | Path | None) -> Settings:
    """Settle where the store is.

    Raises:
        SettingsError: a setting, such as the URL, is not acceptable.
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


LEARNING_PAUSE_MAX_S = 1.0
"""A window may close early, where its store is put right."""


LINKS_TIMEOUT_S = 30.0
LINKS_AGAIN_S = 0.1
"""How often the answer to a question for fresh links is looked for."""
LINKS_LOOKS = round(JOIN_MS / 1000 / LINKS_AGAIN_S)
"""So often, before the question is asked again: from then on it is not joined but repeated."""
LINKS_TRIES = 2
"""Links that are renewed for one download: the first fresh one may be known already, and dead by now."""


def pause_s(closed: LeasingClosed) -> float:
    """Seconds until a submission whose key may be among what the store lost is tried again."""
    return min(closed.wait_ms / 1000, LEARNING_PAUSE_MAX_S)


class Connected:
    """What both clients know: the settings, the user and the nouns."""

    def __init__(
        self,
        redis_url: str | None = None,
        *,
        user: int = 1,
        namespace: str | None = None,
        state_dir: str | Path | None = None,
    ) -> None:
        check_user(user)
        self.user = user
        self.settings = _settings(redis_url, namespace, state_dir)
        self._jobs = Jobs(self.settings)
        self._learning = Learning(self.settings)
        self._links = Links(self.settings)
        self._events = events.reader_of(str(self.settings.redis_url), self.settings.namespace)
        self._open(str(self.settings.redis_url))

    def _open(self, redis_url: str) -> None:
        """Open the connections of this kind of client. The URL is not kept here: it may hold a password."""
        raise NotImplementedError

    def _wanted(self, requests: Iterable[Request], common: dict[str, Any]) -> list[Wanted]:
        """One request with its options each; a key for the whole batch becomes one key each."""
        listed = list(requests)
        return list(zip(listed, _many_options(listed, self.user, common), strict=True))

    def _submissions(self, wanted: Sequence[Wanted], parents: Mapping[str, Job]) -> list[Call[Job]]:
        """Check all that is wanted, and describe how it is accepted; ``parents`` by ids as requests name them."""
        return [self._submission(request, options, parents) for request, options in wanted]

    def _submission(self, request: Request, options: Options, parents: Mapping[str, Job]) -> Call[Job]:
        if not isinstance(request, Button):
            return self._jobs.submit(request, options)
        request, options, parent = pressed(request, options, parents[request.jobid])
        return self._jobs.submit(request, options, parent=parent)

    def _keep_files(self, wanted: Sequence[Wanted]) -> None:
        """Put files into the storage; blocks. One whose job is then not accepted is removed after ``jobs_keep_days``.

        Raises:
            StorageUnavailable: one cannot be put there.
        """
        uploads = [upload for request, _ in wanted for upload in request.uploads().values()]
        if not uploads:
            return
        from dispatcher.storage import Storage  # noqa: PLC0415 (only needed with files)

        storage = Storage(self.settings.storage)
        for upload in uploads:
            storage.keep(upload)

    def _page(self, rank: int | None, before: str | datetime | None, limit: int, status: str | None) -> Call[list[str]]:
        """One page of a list: after a job's rank, before an instant, or from the top."""
        if isinstance(before, str):
            if rank is None:
                raise JobNotFound(before)
            return self._jobs.newest_after(rank, user=self.user, status=status, limit=limit)
        return self._jobs.newest(user=self.user, status=status, limit=limit, before=_bound(before))

    def _get(self, job_id: str) -> Call[Job]:
        return self._jobs.get(job_id, user=self.user)


def _bound(before: datetime | None) -> str | None:
    """An instant as the open end of a range of scores, in ms."""
    if before is None:
        return None
    try:
        return f"({before.timestamp() * 1000:.0f}"
    except (OverflowError, ValueError, OSError):
        raise RequestInvalid("before", "before is not an instant that this machine can tell") from None


class Patience:
    """How long a waiter still waits; ``late`` makes the error that says that it was too long.

    Raises:
        RequestInvalid: ``timeout_s`` is no number of seconds.
    """

    def __init__(self, timeout_s: float | None, late: Callable[[str, float], JobError] = WaitTimeout) -> None:
        check_timeout(timeout_s)
        self._late = late
        self.timeout_s = timeout_s
        self._end = None if timeout_s is None else time.monotonic() + timeout_s

    def slice_s(self, job_id: str) -> float:
        """Seconds until the record is read again.

        Raises:
            WaitTimeout: the time is up; or what ``late`` makes of it.
        """
        if self._end is None or self.timeout_s is None:
            return events.REREAD_S
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise self._late(job_id, self.timeout_s)
        return min(events.REREAD_S, left_s)
