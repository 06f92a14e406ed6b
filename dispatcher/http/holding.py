"""Holding the answer of a submission until it is known what became of it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from dispatcher.events import REREAD_S, STARTED
from dispatcher.http.backend import Backend
from dispatcher.models import Job

SETTLES_S = 0.5
"""A bot that refuses at once is seen to answer first, and then to refuse: both are on record within moments."""


async def until_started(backend: Backend, job: Job, *, wait_s: float) -> None:
    """Wait until the upstream has accepted the job or it has ended, for that time at most.

    One that was accepted is given another moment, for it may have been accepted only to be refused.
    """
    if job.status in STARTED:  # a repeated call, answered before
        return
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    end_s = loop.time() + wait_s

    def wake(_: str) -> None:
        loop.call_soon_threadsafe(changed.set)

    with backend.events.watch([job.id], wake, statuses=STARTED):
        while not job.is_final and (left_s := end_s - loop.time()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, REREAD_S)):
                    await changed.wait()
            changed.clear()
            was_started = job.status in STARTED
            found = await backend.do(backend.jobs.record(job.id))
            job = found if found is not None else job
            if job.status in STARTED and not was_started:
                end_s = min(end_s, loop.time() + SETTLES_S)
