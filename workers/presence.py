"""The worker as RQ's tools see it: its birth, its state, its heartbeats and those of what it runs."""

from __future__ import annotations

from rq import worker_registration
from rq.worker import WorkerStatus

from dispatcher.plan import pieces
from workers.intake import EXECUTION_TTL_S
from workers.rq_worker import BookKeeper

CHUNK = 256


class Presence:
    """Keeps the worker's entry in RQ alive. Its methods block, and raise ``RedisError`` while the store is away."""

    def __init__(self, worker: BookKeeper) -> None:
        self._worker = worker
        self._connection = worker.connection

    def register(self) -> None:
        """Enter the worker in RQ's registry."""
        self._worker.ip_address = str(self._connection.client_info()["addr"])
        self._worker.register_birth()  # type: ignore[no-untyped-call]
        self._worker.set_state(WorkerStatus.IDLE)

    def deregister(self) -> None:
        """Leave RQ's registry; the entry is shown as dead for a minute."""
        self._worker.register_death()  # type: ignore[no-untyped-call]

    def show_state(self, *, is_suspended: bool = False) -> None:
        """Show suspended, busy or idle, whichever is true now."""
        busy = WorkerStatus.BUSY if self._worker.executions else WorkerStatus.IDLE
        self._worker.set_state(WorkerStatus.SUSPENDED if is_suspended else busy)

    def beat(self) -> None:
        """Keep the worker's entry alive; make it anew if the store lost it."""
        worker = self._worker
        with self._connection.pipeline() as pipeline:
            pipeline.exists(worker.key)
            worker.heartbeat(pipeline=pipeline)
            if pipeline.execute()[0]:
                return
            pipeline.hset(worker.key, mapping={**worker.serialize(), "state": worker.get_state()})
            worker_registration.register(worker, pipeline)
            pipeline.expire(worker.key, worker.worker_ttl + 60)
            pipeline.execute()

    def beat_executions(self) -> None:
        """Keep what runs out of reach of RQ's sweeper for another hour."""
        for chunk in pieces(list(self._worker.executions.values()), CHUNK):
            with self._connection.pipeline() as pipeline:
                for execution in chunk:
                    execution.heartbeat(self._worker.queues[0].started_job_registry, EXECUTION_TTL_S, pipeline)
                    pipeline.sadd(self._worker.executions_key, execution.composite_key)
                pipeline.execute()
                for execution in chunk:
                    if execution.id not in self._worker.executions:  # it ended meanwhile, and we wrote it again
                        pipeline.delete(execution.key)
                        pipeline.srem(self._worker.executions_key, execution.composite_key)
                pipeline.execute()
