"""RQ's registries, kept short: what is finished, failed or abandoned and past its time leaves them.

Call ``rq_prefix.take`` before importing this module: it imports rq. The registries are cleaned by Redis's clock; RQ's
own sweeper goes by its host's, which is why an execution's time to live is an hour and never a failure detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker_registration import clean_worker_registry

from dispatcher import handoff


class InertJob(Job):
    """An RQ job that makes RQ keep books and nothing else, whatever its hash says.

    RQ would import and call the callbacks that a hash names, post to its webhooks, and enqueue it again. A delivery of
    ours has none of these, so a hash that has them was forged or damaged.
    """

    def restore(self, raw_data: dict[Any, Any]) -> None:
        """Read the hash, without what RQ would act upon.

        Raises:
            Exception: of whatever kind RQ's parsing raises on a hash it cannot read.
        """
        super().restore(raw_data)
        self.disarm()

    def disarm(self) -> None:
        """Forget callbacks, webhooks, retries, repeats, dependencies and limits; set our queue and times to live."""
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        self.retries_left = 0
        self.repeats_left = self.group_id = self.rate_limit_key = None
        self._dependency_ids = []
        self.origin = handoff.QUEUE
        self.result_ttl = handoff.RESULT_TTL_S
        self.failure_ttl = handoff.FAILURE_TTL_S


@dataclass(frozen=True, slots=True)
class Cleaned:
    """How many entries each registry lost."""

    finished: int
    failed: int
    abandoned: int
    orphaned: int


def our_queue(connection: redis.Redis) -> Queue:
    """Our RQ queue on a connection that does not decode."""
    return Queue(handoff.QUEUE, connection=connection, job_class=InertJob, serializer=JSONSerializer)


def clean_registries(connection: redis.Redis) -> Cleaned:
    """Remove what is past its time from RQ's registries; safe to run anywhere, any number of times.

    Args:
        connection: an RQ connection, that is one that does not decode.
    """
    seconds, microseconds = connection.time()
    now_s = seconds + microseconds / 1_000_000
    queue = our_queue(connection)
    registries = [
        registry(queue=queue, job_class=InertJob)
        for registry in (FinishedJobRegistry, FailedJobRegistry, StartedJobRegistry)
    ]
    lost = []
    for registry in registries:
        before = connection.zcard(registry.key)
        registry.cleanup(now_s)
        lost.append(max(0, before - connection.zcard(registry.key)))
    clean_worker_registry(queue)
    finished, failed, abandoned = lost
    return Cleaned(finished, failed, abandoned, _drop_orphans(queue))


def _drop_orphans(queue: Queue) -> int:
    """Forget ids that a dead worker took and never admitted: `reap` has long given their jobs a newer delivery."""
    intermediate = IntermediateQueue(queue.key, queue.connection)
    dropped = 0
    for raw_id in queue.connection.lrange(intermediate.key, 0, -1):
        delivery_id = raw_id.decode(errors="replace") if isinstance(raw_id, bytes) else raw_id
        if intermediate.set_first_seen(delivery_id) or not intermediate.should_be_cleaned_up(delivery_id):
            continue
        queue.connection.expire(InertJob.key_for(delivery_id), handoff.FAILURE_TTL_S, nx=True)
        dropped += queue.connection.lrem(intermediate.key, 1, raw_id)  # type: ignore[arg-type]  # bytes too
    return dropped
