"""One worker's equipment in a test's process: real scripts and renewals, an upstream that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from dispatcher.connection import AsyncStore, Store
from dispatcher.handoff import QUEUE
from dispatcher.models import Account
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from workers import context
from workers.context import WorkerContext
from workers.execution import Execution, current_execution
from workers.ledger import Gates
from workers.renewal import Renewal
from workers.upstream import Upstream, Verdict


class Unchecked:
    """What a played upstream need not play."""

    name: str = "discord"

    async def check(self, account: Account) -> Verdict:
        raise AssertionError(f"nobody checks {account.channel}")

    async def close(self) -> None:
        pass


@contextmanager
def equipped(settings: Settings, store: AsyncStore, upstream: Upstream) -> Iterator[WorkerContext]:
    """Make this process a worker with that upstream, in an execution of RQ's."""
    equipment = WorkerContext(settings, store, Slots(settings), Renewal(settings), Gates(), {"discord": upstream})
    uninstall = context.install(equipment)
    entered = current_execution.set(Execution("execution", "worker"))
    yield equipment
    current_execution.reset(entered)
    uninstall()


def next_delivery(store: Store) -> str:
    """Take the id that RQ's queue would give next."""
    delivery = store.client.lpop(f"{store.keys.namespace}:rq:queue:{QUEUE}")
    assert isinstance(delivery, str)
    return delivery


async def until(condition: Callable[[], object]) -> None:
    """Wait for what comes true in Redis."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (the condition is in Redis)
            await asyncio.sleep(0.01)
