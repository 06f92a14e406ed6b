"""One job's straight line: claim, run upstream, settle. RQ knows it as ``workers.run.run_job``."""

from __future__ import annotations

from dispatcher.errors import LeaseLost
from dispatcher.handoff import DeliveryId
from dispatcher.log import get_logger
from workers import context as worker
from workers.context import JobFailed, WorkerContext
from workers.execution import current_execution
from workers.ledger import DeliveryLedger
from workers.upstream import JobReturned

log = get_logger(__name__)


async def run_job(delivery_id: str) -> None:
    """Run one delivery to the end of what it can do.

    Returns when the job is settled, handed back, or not this delivery's any more. Everything that happens to the job
    itself is on its record before this returns.

    Raises:
        JobFailed: the job ended ``failed``, so that RQ's tools show it; it is settled.
    """
    context = worker.current()
    delivery = DeliveryId.parse(delivery_id)
    execution = current_execution.get()
    assignment = await context.store.insist(
        context.slots.claim(delivery, execution=execution.id, owner=execution.owner)
    )
    if assignment is None:
        log.info("delivery stale", job_id=delivery.job_id, fencing_token=delivery.token)
        return
    ledger = DeliveryLedger(context.store, context.slots, context.gates, assignment)
    try:
        status = await _carry_out(context, ledger)
    except JobReturned as returned:
        log.info("job returned", job_id=delivery.job_id, reason=str(returned))
    except LeaseLost as lost:
        log.info("lease lost", job_id=delivery.job_id, fencing_token=delivery.token, reason=lost.reason)
    else:
        log.info("job settled", job_id=delivery.job_id, channel_id=ledger.lease.channel, status=status)
        if status == "failed":
            raise JobFailed(f"Job {delivery.job_id} failed; its record says why.")
    finally:
        ledger.close()


async def _carry_out(context: WorkerContext, ledger: DeliveryLedger) -> str:
    async with context.renewal.keep(ledger.lease.delivery):
        upstream = context.upstreams[ledger.lease.pool.partition(":")[2]]
        outcome = await upstream.run(ledger)
        return await ledger.conclude(outcome)
