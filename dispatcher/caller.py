"""Calls callers back: takes what is due from the outbox, posts each job as it is read, and says what became of it.

Any HTTP response is a delivery, a 500 too (unless ``callback_retry_5xx``): listeners of this contract answer 500 to
what they have taken, and would count it twice. Only where no response came is a call repeated: after 5 s, then ever
more rarely, for a day. What fails here changes no job.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter

from dispatcher.callbacks import Busy, Due, Outbox
from dispatcher.connection import AsyncStore
from dispatcher.errors import CallbackRefused, CallbackUnanswered, DispatcherError, JobNotFound, StoreUnavailable
from dispatcher.jobs import Jobs
from dispatcher.log import get_logger
from dispatcher.loop import Loop, cancel_until_done
from dispatcher.models import Job
from dispatcher.settings import Settings
from dispatcher.webhooks import Webhooks
from dispatcher.wire import job_body

INTERVAL_S = 0.25
BUSY_INTERVAL_S = 0.02
"""While calls are under way: a host may be called again as soon as one of its calls has ended."""
CALLS_MAX = 64
"""Calls under way at once."""
PAUSE_FIRST_S = 5.0
PAUSE_MAX_S = 900.0
DOUBLINGS_MAX = 8
JITTER = 0.2
"""A pause is longer or shorter by up to that share, so that what failed together does not come back together."""
GIVE_UP_S = 86_400.0
STOP_S = 2.0
"""How long calls under way may go on when the service stops; what is broken off is made again in a minute."""
SERVER_ERROR = 500
REDIRECT = 300

log = get_logger(__name__)


def body_of(job: Job) -> str:
    """Write a job as its callback's body: the same object that reading it over HTTP shows."""
    return json.dumps(job_body(job), ensure_ascii=False, separators=(",", ":"))


def pause_s(attempts: int) -> float:
    """Seconds until the next attempt, after so many that failed before this one."""
    base_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0 ** min(attempts, DOUBLINGS_MAX))
    return base_s * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 (chance that guards nothing)


class Caller(Loop):
    """Makes the calls that are due, many at once and few to one host; several services share them."""

    def __init__(self, store: AsyncStore, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._outbox = Outbox(settings)
        self._jobs = Jobs(settings)
        self._webhooks = Webhooks(settings)
        self._retries_5xx = settings.callback_retry_5xx
        self._under_way: dict[asyncio.Task[None], tuple[str, float]] = {}
        """Host and beginning of each call, the first one first."""
        self._is_more = False

    def interval(self) -> float:
        """250 ms; 20 ms while calls are under way, 0 when more is due."""
        if self._is_more:
            return 0
        return BUSY_INTERVAL_S if self._under_way else INTERVAL_S

    async def step(self) -> None:
        """Begin as many calls as there is room for; none is waited for, unless there is no room."""
        if len(self._under_way) >= CALLS_MAX:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        room = CALLS_MAX - len(self._under_way)
        taken, self._is_more = await self._store.do(self._outbox.take(room, under_way=self._busy()))
        for due in taken:
            task = asyncio.create_task(self._make(due), name=f"callback {due.id}")
            self._under_way[task] = due.host, time.monotonic()
            task.add_done_callback(self._under_way.pop)

    async def stop(self) -> None:
        """Take no more, and let what is under way end, for a moment."""
        await super().stop()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=STOP_S)
        await cancel_until_done(*self._under_way)
        self._webhooks.close()

    def _busy(self) -> dict[str, Busy]:
        calls = Counter(host for host, _ in self._under_way.values())
        began_s: dict[str, float] = {}
        for host, at_s in self._under_way.values():
            began_s.setdefault(host, at_s)
        return {host: Busy(count, time.monotonic() - began_s[host]) for host, count in calls.items()}

    async def _make(self, due: Due) -> None:
        """Make one call and report on it. While the store is away the report waits: else it would be made again."""
        try:
            await self._call(due)
        except CallbackRefused as refused:
            await self._give_up(due, f"refused: {refused.reason}")
        except CallbackUnanswered as unanswered:
            await self._fail(due, unanswered.reason)
        except JobNotFound:
            await self._store.insist(self._outbox.done(due))
        except StoreUnavailable:
            return  # before the call was made: it is due again in a minute
        except DispatcherError as error:
            await self._fail(due, str(error))
        except Exception as error:  # one bad callback must not stop the others
            log.exception("callback failed", **_fields(due))
            await self._fail(due, type(error).__name__)

    async def _call(self, due: Due) -> None:
        job = await self._store.do(self._jobs.get(due.job_id))
        status = await self._webhooks.post(str(job.replyUrl), due.id, body_of(job))
        if status >= SERVER_ERROR and self._retries_5xx:
            raise CallbackUnanswered(f"HTTP {status}")
        await self._store.insist(self._outbox.done(due))
        tell = log.info if status < REDIRECT else log.warning
        tell("callback answered", **_fields(due), job_status=job.status, status=status)

    async def _fail(self, due: Due, reason: str) -> None:
        """Put a callback off, or give it up after a day of trying."""
        delay_s = pause_s(due.attempts)
        if due.tried_s + delay_s > GIVE_UP_S:
            await self._give_up(due, reason)
            return
        await self._store.insist(self._outbox.put_off(due, delay_s=delay_s, reason=reason))
        log.warning("callback not heard", **_fields(due), reason=reason, again_s=round(delay_s, 1))

    async def _give_up(self, due: Due, reason: str) -> None:
        """Keep a final callback for the operator; one of progress is out of date by then."""
        ended = self._outbox.bury(due, reason=reason) if due.is_final else self._outbox.done(due)
        if await self._store.insist(ended):
            log.error("callback given up", **_fields(due), reason=reason)


def _fields(due: Due) -> dict[str, str | int]:
    return {"job_id": due.job_id, "callback_id": due.id, "host": due.host, "attempt": due.attempts + 1}
