"""From RQ's queue to a running delivery: ids are read alone, admitted together, and refused one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from redis.exceptions import ResponseError
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import Execution as RQExecution
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from dispatcher.log import get_logger
from dispatcher.registries import InertJob
from workers.deliveries import Delivery, DeliveryRefused, Order, read_order
from workers.rq_worker import BookKeeper

EXECUTION_TTL_S = 3600
"""RQ's sweeper takes an execution for abandoned after this long without a heartbeat. It goes by clients' clocks, so it
is kept out of the way: our lease, on Redis's clock, is the failure detector."""

EXECUTIONS_PREFIX = f"{RQ_KEY_PREFIX}:executions:".encode()

log = get_logger(__name__)


class Intake:
    """Admits what was taken from the queue. Its methods block: they are called on one thread, in order."""

    def __init__(self, worker: BookKeeper, allowed: Collection[str]) -> None:
        self._worker = worker
        self._allowed = allowed
        self._connection = worker.connection
        self._queue = worker.queues[0]
        self._uncertain: list[Delivery] = []

    def admit(self, raw_ids: Sequence[bytes]) -> list[Delivery]:
        """Record the deliveries as running in RQ, and fail those that must not run.

        Raises:
            RedisError, OSError: the store is away; call again with the same ids (the intermediate list holds them).
        """
        orders: list[Order] = []
        for raw_id, raw_hash in zip(raw_ids, self._hashes(raw_ids), strict=True):
            try:
                orders.append(read_order(raw_id, raw_hash, allowed=self._allowed, connection=self._connection))
            except DeliveryRefused as refused:
                self._refuse(raw_id, raw_hash, str(refused))
        return self._start(orders)

    def _hashes(self, raw_ids: Sequence[bytes]) -> list[object]:
        """Read the hashes, each alone; an error stands in the place of what cannot be read, or not be written to."""
        with self._connection.pipeline(transaction=False) as pipeline:
            for raw_id in raw_ids:
                pipeline.hgetall(InertJob.redis_job_namespace_prefix.encode() + raw_id)
                pipeline.zcard(EXECUTIONS_PREFIX + raw_id)
            replies: list[object] = pipeline.execute(raise_on_error=False)
        # A key of the wrong type would spoil the transaction of the whole batch.
        spoilt = [reply if isinstance(reply, ResponseError) else None for reply in replies[1::2]]
        return [error or raw_hash for raw_hash, error in zip(replies[::2], spoilt, strict=True)]

    def _start(self, orders: Sequence[Order]) -> list[Delivery]:
        """Do for all at once what RQ's worker does for one before it runs."""
        if not orders:
            return []
        worker, admitted = self._worker, []
        with self._connection.pipeline() as pipeline:
            for doubtful in self._uncertain:  # an earlier attempt whose answer was lost may have written these
                doubtful.execution.delete(doubtful.order.job, pipeline)
            for order in orders:
                job = order.job
                execution = RQExecution.create(job, EXECUTION_TTL_S, pipeline, worker_name=worker.name)
                job.prepare_for_execution(worker.name, pipeline=pipeline)
                pipeline.persist(job.key)
                pipeline.lrem(self._queue.intermediate_queue_key, 1, job.id)
                admitted.append(Delivery(order, execution))
            worker.set_state(WorkerStatus.BUSY, pipeline=pipeline)
            self._uncertain += admitted
            pipeline.execute()
        self._uncertain.clear()
        worker.executions.update({delivery.execution.id: delivery.execution for delivery in admitted})
        return admitted

    def _refuse(self, raw_id: bytes, raw_hash: object, reason: str) -> None:
        """Fail a delivery in RQ where RQ's tools can show it, and take it off the intermediate list."""
        log.error("delivery refused", delivery_id=raw_id.decode(errors="replace")[:80], reason=reason)
        if isinstance(raw_hash, dict) and raw_hash:
            try:
                self._fail(raw_id, raw_hash, reason)
            except (ValueError, ResponseError) as error:
                log.warning("refused delivery not shown in RQ", reason=str(error))
        self._connection.lrem(self._queue.intermediate_queue_key, 1, raw_id)  # type: ignore[arg-type]

    def _fail(self, raw_id: bytes, raw_hash: dict[bytes, bytes], reason: str) -> None:
        job = InertJob(raw_id.decode(), connection=self._connection, serializer=JSONSerializer)
        job.data = raw_hash.get(b"data", b"")
        job.description = "refused"
        job.disarm()
        self._connection.delete(job.key)  # a field that nobody can parse would break RQ's tools too
        self._worker.handle_job_failure(job, self._queue, exc_string=f"Refused: {reason}.")
