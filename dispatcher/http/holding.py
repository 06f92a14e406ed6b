"""Holding the answer of a submission until it is known what became of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dispatcher.events import REREAD_S, STARTED
from dispatcher.http.backend import Backend
from dispatcher.models import Job


async def until_started(backend: Backend, job: Job, *, wait_s: float) -> None:
    """Wait until the upstream has accepted the job or it has ended, for that time at most."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    end_s = loop.time() + wait_s

    def wake(_: str) -> None:
        loop.call_soon_threadsafe(changed.set)

    with backend.events.watch([job.id], wake, statuses=STARTED):
        while job.status not in STARTED and (left_s := end_s - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, REREAD_S)):
                    await changed.wait()
            changed.clear()
            job = await backend.do(backend.jobs.get(job.id))
