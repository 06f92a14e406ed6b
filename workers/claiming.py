"""Taking a delivery up, however long the store is away or learning."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from dispatcher.errors import LeaseLost
from dispatcher.handoff import DeliveryId
from dispatcher.leases import Assignment, NotYet, Unreadable
from workers.context import WorkerContext
from workers.execution import current_execution

NAP_MAX_S = 5.0
"""Thousands may wait here, and the store told them how long."""


async def claim(context: WorkerContext, delivery: DeliveryId) -> Assignment | Unreadable | None:
    """Claim the delivery for the current execution; None if it is stale or its job is done.

    While the store is learning the delivery is kept and asked for again: somebody else may hold it, and has not told
    yet.

    Raises:
        LeaseLost: this worker stops; the delivery was not claimed, and ``reap`` hands it to another.
    """
    execution = current_execution.get()
    while True:
        asked_s = time.monotonic()
        call = context.slots.claim(delivery, execution=execution.id, owner=execution.owner)
        answer = await context.store.insist(call)
        if isinstance(answer, Assignment):
            return replace(answer, asked_s=asked_s)
        if not isinstance(answer, NotYet):
            return answer
        with suppress(TimeoutError):
            await asyncio.wait_for(context.stopping.wait(), min(answer.wait_ms / 1000, NAP_MAX_S))
        if context.stopping.is_set():
            raise LeaseLost(delivery.job_id, "this worker stops")
