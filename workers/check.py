"""A check of one account: ask its upstream whether it could work. RQ knows it as ``workers.check.check_account``."""

from __future__ import annotations

import asyncio

from dispatcher.accounts import read_living_account
from dispatcher.checks import Checks, channel_of
from dispatcher.connection import AsyncStore, command
from dispatcher.log import get_logger
from dispatcher.models import Account
from workers import context as worker
from workers.context import WorkerContext
from workers.upstream import Verdict

LIMIT_S = 15.0
"""No check lasts longer: a worker that stops waits for it."""

log = get_logger(__name__)


async def check_account(check_id: str) -> None:
    """Check the account that the id names, and record what was found; nothing is submitted.

    Returns also where the account was removed meanwhile. What goes wrong on the way says nothing about the account.
    """
    context = worker.current()
    checks = Checks(context.settings)
    channel = channel_of(check_id)
    pool = await context.store.insist(checks.pool(channel))
    account = await _account(context.store, pool, channel) if pool else None
    if pool is None or account is None:
        log.info("account to check is gone", channel_id=channel)
        return
    verdict = await _verdict(context, pool, account)
    call = checks.tell(
        check_id,
        verdict.finding,
        verdict.reason,
        pool=pool,
        secret_version=account.secret_version,
        revive="operator" if verdict.needs_operator else "check",
    )
    state = await context.store.insist(call)
    log.info("account checked", channel_id=channel, finding=verdict.finding, reason=verdict.reason, state=state)


async def _account(store: AsyncStore, pool: str, channel: str) -> Account | None:
    return await store.insist(command("HGETALL", store.keys.account(pool, channel), read=read_living_account))


async def _verdict(context: WorkerContext, pool: str, account: Account) -> Verdict:
    upstream = context.upstreams.get(pool.partition(":")[2])
    if upstream is None:
        return Verdict("unclear", "this worker does not know its upstream")
    try:
        async with asyncio.timeout(LIMIT_S):
            return await upstream.check(account)
    except TimeoutError:
        return Verdict("unclear", f"the upstream did not answer within {LIMIT_S:g} s")
