"""One job's straight line: claim, run upstream, settle. RQ knows it as ``workers.run.run_job``."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from dispatcher.errors import LeaseLost
from dispatcher.handoff import DeliveryId
from dispatcher.leases import Unreadable
from dispatcher.log import get_logger
from workers import context as worker
from workers.claiming import claim
from workers.context import JobFailed, WorkerContext
from workers.ledger import DeliveryLedger
from workers.upstream import Ended, JobReturned, PassedOn, Upstream

PASS_ON_PAUSE_S = 1.0

log = get_logger(__name__)


async def run_job(delivery_id: str) -> None:
    """Run one delivery to the end of what it can do.

    Returns when the job is settled, handed back, or not this delivery's any more. Everything that happens to the job
    itself is on its record before this returns.

    Raises:
        JobFailed: the job ended ``failed``, so that RQ's tools show it; it is settled. So does one whose record or
            account cannot be read.
    """
    context = worker.current()
    delivery = DeliveryId.parse(delivery_id)
    assignment = await claim(context, delivery)
    if assignment is None:
        log.info("delivery stale", job_id=delivery.job_id, fencing_token=delivery.token)
        return
    if isinstance(assignment, Unreadable):
        await _fail(context, assignment)
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
    async with context.renewal.keep(ledger.holding):
        try:
            outcome = await _upstream_of(context, ledger).run(ledger)
        except PassedOn as reason:
            await _pass_on(ledger, str(reason))
    # Outside: a renewal that meets a job just settled finds no lease, and must not call the settled job lost.
    conclusion = ledger.conclusion(outcome)
    status = await ledger.conclude(conclusion)
    if status == "refused":  # should the store lose that, the job must not wait again: its caller was told no
        conclusion = ledger.conclusion(Ended(status="failed", error="No other account could take it"))
    context.renewal.recent.remember(ledger.holding(), conclusion)
    return status


def _upstream_of(context: WorkerContext, ledger: DeliveryLedger) -> Upstream:
    name = ledger.lease.pool.partition(":")[2]
    if name not in context.upstreams:
        raise PassedOn(f"this worker has no upstream {name}")
    return context.upstreams[name]


async def _pass_on(ledger: DeliveryLedger, reason: str) -> NoReturn:
    """Give the delivery to the next worker, uncounted; the pause keeps two that lack the same from playing ball."""
    delivery = ledger.lease.delivery
    log.error("delivery passed on", job_id=delivery.job_id, fencing_token=delivery.token, reason=reason)
    await asyncio.sleep(PASS_ON_PAUSE_S)
    await ledger.pass_on()
    raise LeaseLost(delivery.job_id, "passed on")


async def _fail(context: WorkerContext, unreadable: Unreadable) -> None:
    """End a job that no worker of this version can carry out, instead of delivering it again and again.

    If it may run upstream its slot stays held, until the hold is over: nobody can watch for its end.
    """
    lease, why = unreadable.lease, unreadable.why
    log.error("delivery unreadable", job_id=lease.delivery.job_id, channel_id=lease.channel, reason=why)
    call = context.slots.settle(
        lease, "failed", error=f"Its record is unreadable: {why}", still_running=unreadable.may_run
    )
    try:
        status = await context.store.insist(call)
    except LeaseLost as lost:
        log.info("lease lost", job_id=lease.delivery.job_id, fencing_token=lease.delivery.token, reason=lost.reason)
        return
    if status == "failed":
        raise JobFailed(f"Job {lease.delivery.job_id} failed: {why}.")
