"""The worker program: `dispatcher work`, or ``python -m workers``."""

from __future__ import annotations

import asyncio

from dispatcher import handoff, rq_prefix
from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, check_server, open_async_store, open_store
from dispatcher.errors import LeaseLost
from dispatcher.extras import require_extras
from dispatcher.handoff import DeliveryId
from dispatcher.jobs import Jobs
from dispatcher.learning import Learning
from dispatcher.leases import LEASES_A_CALL, Holding
from dispatcher.log import configure_log, get_logger
from dispatcher.plan import pieces
from dispatcher.secrets import keys_for
from dispatcher.settings import Settings, load_settings
from dispatcher.slots import Slots
from workers import context
from workers.context import WorkerContext
from workers.ledger import Gates
from workers.renewal import Renewal

SUBMISSION_ENDS_S = 22.0
"""A submission in flight at SIGTERM has ended by then: it starts within 2 s of its permit and lasts at most 20 s."""
_LOOK_AGAIN_S = 0.2

log = get_logger(__name__)


def main(settings: Settings) -> None:
    """Run one worker until SIGTERM.

    Raises:
        StoreUnavailable: the store is away, too old, or may evict our keys.
        SettingsError: a setting, a key or RQ's prefix is not acceptable, or an extra is missing.
    """
    require_extras(settings)
    configure_log()
    rq_prefix.take(settings.namespace)
    store = open_store(str(settings.redis_url), settings.namespace)
    check_server(store)
    store.do(Learning(settings).declare())
    store.close()
    asyncio.run(work(settings))


async def work(settings: Settings) -> None:
    """Run one worker on this loop; its equipment lives as long as it does."""
    from workers.check import check_account  # noqa: PLC0415 (as below)
    from workers.links import refresh_links  # noqa: PLC0415 (as below)
    from workers.run import run_job  # noqa: PLC0415 (after RQ's prefix is in the environment)
    from workers.session import SessionWorker  # noqa: PLC0415 (as above)
    from workers.upstream.installed import installed  # noqa: PLC0415 (only a worker speaks to upstreams)

    store = open_async_store(str(settings.redis_url), settings.namespace)
    slots = Slots(settings)
    renewal = Renewal(settings)
    accounts = Accounts(settings, keys_for(settings))
    upstreams = installed(settings, accounts.open_secret, store)
    equipment = WorkerContext(settings, store, slots, renewal, Gates(), upstreams)
    uninstall = context.install(equipment)

    async def stop() -> None:
        equipment.stopping.set()
        await hand_over(store, slots, renewal)

    renewal.start()
    try:
        worker = SessionWorker(
            redis_url=str(settings.redis_url),
            settings=settings,
            callables={
                handoff.RUN_JOB: run_job,
                handoff.CHECK_ACCOUNT: check_account,
                handoff.REFRESH_LINKS: refresh_links,
            },
            on_stop=stop,
            on_cancel=lambda delivery_id: _cancel(store, settings, delivery_id),
        )
        await worker.serve()
    finally:
        renewal.stop()
        for upstream in upstreams.values():
            await upstream.close()
        await store.close()
        uninstall()


async def hand_over(store: AsyncStore, slots: Slots, renewal: Renewal) -> None:
    """Yield every delivery to other workers; one whose submission is in flight first gets its answer.

    A store that lost writes is told first what is held. While it is learning it takes nothing back: the leases are left
    to run out, and are redelivered when it has learnt.

    Raises:
        TimeoutError: the store is away, or a submission's answer did not come: the leases run out by themselves.
    """
    handed = 0
    async with asyncio.timeout(SUBMISSION_ENDS_S):
        while holdings := renewal.holdings():
            for chunk in pieces(holdings, LEASES_A_CALL):
                verdicts = await store.insist(slots.yield_([held.lease for held in chunk]))
                for held, verdict in zip(chunk, verdicts, strict=True):
                    if verdict == "rolled_back":
                        await _reassert(store, slots, renewal, held)
                    elif verdict != "later":
                        renewal.give_up(held.lease.delivery)
                        handed += verdict == "ok"
            await asyncio.sleep(_LOOK_AGAIN_S)
    log.info("deliveries handed over", handed_over=handed)


async def _reassert(store: AsyncStore, slots: Slots, renewal: Renewal, held: Holding) -> None:
    try:
        await store.insist(slots.reassert(held))
    except LeaseLost:
        renewal.give_up(held.lease.delivery)


async def _cancel(store: AsyncStore, settings: Settings, delivery_id: str) -> None:
    """RQ's stop-job is our cancel."""
    await store.insist(Jobs(settings).cancel(DeliveryId.parse(delivery_id).job_id))


if __name__ == "__main__":
    main(load_settings())
