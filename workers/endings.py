"""The end of a delivery in RQ's books, through RQ's own handlers, verified."""

from __future__ import annotations

import threading
import traceback
from dataclasses import dataclass

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from rq.job import JobStatus
from rq.job_lifecycle import call_exception_handlers
from rq.utils import now

from dispatcher.errors import LeaseLost
from dispatcher.log import get_logger
from workers.deliveries import Delivery
from workers.rq_worker import BookKeeper

AWAY = (RedisConnectionError, RedisTimeoutError, OSError)
"""What the store's absence looks like; anything else will not pass by itself."""
REFUSALS_MAX = 5
PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a delivery ended: ``error`` is None where there is nothing to show as failed."""

    error: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException | None) -> Ending:
        """Read what a coroutine raised. A lost lease is no failure: its job has a newer delivery."""
        return cls(None if isinstance(error, LeaseLost) else error)

    @property
    def is_outcome(self) -> bool:
        """Whether the failure is a job's own, already on its record, rather than a fault of ours."""
        return bool(getattr(self.error, "is_outcome", False))

    @property
    def text(self) -> str:
        """What RQ shows: a line for a job's own failure, the traceback for a fault of ours."""
        if self.error is None:
            return ""
        if self.is_outcome:
            return f"{type(self.error).__name__}: {self.error}"
        return "".join(traceback.format_exception(self.error))


class Endings:
    """Records how deliveries ended. Its methods block, and may run on several threads."""

    def __init__(self, worker: BookKeeper, *, abandoned: threading.Event) -> None:
        self._worker = worker
        self._queue = worker.queues[0]
        self._abandoned = abandoned

    def record(self, delivery: Delivery, ending: Ending) -> bool:
        """Write the ending once, however long the store is away; False if that proved impossible or was abandoned.

        RQ's handlers swallow some errors, so the effect is read back; and it is read before a second attempt, because
        the first one may have done its work and only its answer was lost.
        """
        self._tell(delivery, ending)
        delivery.order.job.ended_at = now()
        attempts = refusals = 0
        pause_s = PAUSE_FIRST_S
        while refusals < REFUSALS_MAX:
            try:
                if attempts == 0 or not self._has_effect(delivery, ending):
                    attempts += 1
                    self._write(delivery, ending)
                if self._has_effect(delivery, ending):
                    return True
                refusals += 1
            except AWAY:
                pass
            except Exception:
                refusals += 1
                log.exception("ending refused by RQ", delivery_id=delivery.id)
            if self._abandoned.wait(pause_s):
                break
            pause_s = min(PAUSE_MAX_S, pause_s * 2)
        log.error("ending not recorded in RQ", delivery_id=delivery.id, attempts=attempts)
        self._worker.executions.pop(delivery.execution.id, None)  # no heartbeat keeps it: RQ sweeps it within the hour
        return False

    def _tell(self, delivery: Delivery, ending: Ending) -> None:
        """Tell the log and RQ's exception handlers (Sentry's kind) of a failure, once."""
        error, job = ending.error, delivery.order.job
        if error is None:
            return
        if not ending.is_outcome:
            # Its lease stays: the job is redelivered by `reap`, as if this worker had died.
            log.error("delivery broke", delivery_id=delivery.id, exc_info=(type(error), error, error.__traceback__))
        job._status = JobStatus.FAILED  # noqa: SLF001 (where RQ's own worker sets it, and handlers look)
        try:
            call_exception_handlers(self._worker._exc_handlers, job, type(error), error, error.__traceback__)  # noqa: SLF001
        except Exception:
            log.exception("exception handler failed", delivery_id=delivery.id)

    def _write(self, delivery: Delivery, ending: Ending) -> None:
        job = delivery.order.job
        if ending.error is None:
            registry = self._queue.started_job_registry
            self._worker.handle_job_success(job, self._queue, registry, delivery.execution)
        else:
            self._worker.handle_job_failure(job, self._queue, exc_string=ending.text, execution=delivery.execution)

    def _has_effect(self, delivery: Delivery, ending: Ending) -> bool:
        job, wanted = delivery.order.job, JobStatus.FINISHED if ending.error is None else JobStatus.FAILED
        with self._worker.connection.pipeline() as pipeline:
            pipeline.hget(job.key, "status")
            pipeline.zscore(self._queue.started_job_registry.key, delivery.execution.composite_key)
            status, running_until = pipeline.execute()
        return running_until is None and status == wanted.value.encode()
