"""Fresh links to one job's files, from its upstream. RQ knows it as ``workers.links.refresh_links``."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from dispatcher.accounts import read_living_account
from dispatcher.checks import Checks
from dispatcher.connection import AsyncStore, command
from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    LinksUnavailable,
    RateLimited,
    RecordUnreadable,
    SecretError,
    UpstreamError,
)
from dispatcher.links import Links, job_of
from dispatcher.log import get_logger
from dispatcher.models import Account, Job
from dispatcher.replies import hash_of
from workers import context as worker
from workers.context import WorkerContext
from workers.upstream import Refreshes

LIMIT_S = 15.0
"""No refresh lasts longer: somebody waits for it, and so does a worker that stops."""

log = get_logger(__name__)


async def refresh_links(refresh_id: str) -> None:
    """Fetch fresh links to the files of the job that the id names, with its account's current secret.

    Whatever stands in the way is the answer. The job stays as it is, and so does its account, unless the upstream
    refuses the secret: the account stops then. A refresh that nobody waits for any more asks the upstream nothing.
    """
    context = worker.current()
    links, job_id = Links(context.settings), job_of(refresh_id)
    if not await context.store.insist(links.is_wanted(refresh_id)):
        return
    try:
        urls = await _fresh(context, job_id)
    except LinksUnavailable as error:
        await context.store.insist(links.refuse(refresh_id, error.reason))
        log.info("links not refreshed", job_id=job_id, reason=error.reason)
    except Exception:
        await context.store.insist(links.refuse(refresh_id, "the worker that was asked failed; its log says why"))
        raise
    else:
        await context.store.insist(links.tell(refresh_id, urls))
        log.info("links refreshed", job_id=job_id, links=len(urls))


async def _fresh(context: WorkerContext, job_id: str) -> dict[str, str]:
    """Return fresh links by attachment.

    Raises:
        LinksUnavailable: there are none, and why.
    """
    pool, job = await _job(context.store, job_id)
    upstream = context.upstreams.get(pool.partition(":")[2])
    if upstream is None:
        raise LinksUnavailable(job_id, "the worker that was asked does not know its upstream")
    if not isinstance(upstream, Refreshes):
        raise LinksUnavailable(job_id, f"{upstream.name} gives no fresh links")
    account = await _account(context.store, pool, job)
    try:
        async with asyncio.timeout(LIMIT_S):
            fresh = await upstream.refresh(account, [attachment.url for attachment in job.attachments])
    except TimeoutError:
        raise LinksUnavailable(job_id, f"{upstream.name} did not answer within {LIMIT_S:g} s") from None
    except AccountRejected as error:
        await _stop(context, pool, account, error)
        raise LinksUnavailable(job_id, str(error)) from error
    except (RateLimited, CallHeld) as error:
        wait_s = error.wait_s if isinstance(error, CallHeld) else error.retry_after_s
        raise LinksUnavailable(job_id, f"not now; ask again in {math.ceil(wait_s)} s. {error}") from error
    except (UpstreamError, SecretError) as error:
        raise LinksUnavailable(job_id, str(error)) from error
    urls = {attachment.id: fresh[attachment.url] for attachment in job.attachments if attachment.url in fresh}
    if not urls:
        raise LinksUnavailable(job_id, f"{upstream.name} gives no fresh link to any of its files")
    return urls


async def _stop(context: WorkerContext, pool: str, account: Account, refusal: AccountRejected) -> None:
    """Stop the account whose secret was refused; asked with it again and again, the upstream closes our address."""
    call = Checks(context.settings).reject(
        refusal, pool=pool, channel=account.channel, secret_version=account.secret_version
    )
    state = await context.store.insist(call)
    log.warning("account refused links", channel_id=account.channel, state=state, reason=refusal.reason)


async def _job(store: AsyncStore, job_id: str) -> tuple[str, Job]:
    """Read the job and its pool.

    Raises:
        LinksUnavailable: its record is gone, or cannot be read.
    """

    def read(reply: Any) -> tuple[str, Job]:
        record = hash_of(reply)
        if not record:
            raise LinksUnavailable(job_id, "its record has expired")
        try:
            job = Job.from_record(record)
        except RecordUnreadable as error:
            raise LinksUnavailable(job_id, str(error)) from error
        return record["pool"], job

    return await store.insist(command("HGETALL", store.keys.job(job_id), read=read))


async def _account(store: AsyncStore, pool: str, job: Job) -> Account:
    """Read the account of the job's channel, as it stands now: of its own pool alone, whoever has the channel by now.

    A guest's own token is not kept, so its links, too, are renewed by the account that is registered there.

    Raises:
        LinksUnavailable: it is gone, or stopped for what its upstream said of it: it is not called then.
    """
    channel = job.channel or ""
    account = await store.insist(command("HGETALL", store.keys.account(pool, channel), read=read_living_account))
    if account is None and await store.insist(command("HEXISTS", store.keys.job(job.id), "own_masked", read=bool)):
        why = f"it ran with a token of its own, which is not kept; register an account for channel {channel}"
        raise LinksUnavailable(job.id, why)
    if account is None:
        raise LinksUnavailable(job.id, f"the account of channel {channel} was deleted; register it again")
    if account.state == "disabled":
        raise LinksUnavailable(job.id, f"the account of channel {channel} is disabled: {account.reason}")
    return account
