"""A submission that is refused because no account can take it, or because of what it asks for.

Two kinds of 429 are told apart by ``executingJobs``: with it the caller's own accounts are full, and one of those jobs
must end; without it the upstream throttles, or the store cannot tell, and a little later it may go.

Source: docs/http-api.md, "When no account is free"; contract §5.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from starlette.responses import JSONResponse

from dispatcher.errors import DispatcherError, LeasingClosed, NoFreeSlot, RequestInvalid
from dispatcher.http.backend import Backend
from dispatcher.http.errors import RETRY_AFTER_S
from dispatcher.models import Account, Job

NO_DISCORD = "Required param discord is missing or empty"
"""Who has no account, and names none by its token: the first of the missing values is told."""
FULL_RETRY_AFTER_S = 10
"""The contract asks its clients to wait "at least 10..30 seconds"."""
REASON_CHARACTERS = 80


async def full(backend: Backend, kind: str, refusal: DispatcherError, *, user: int) -> JSONResponse:
    """Say why not, and when to come back.

    Raises:
        RequestInvalid: the user has no account at all, and named none.
    """
    if isinstance(refusal, NoFreeSlot) and refusal.why == "unusable":
        accounts = await backend.carry_out(backend.accounts.list(user=user))
        if not accounts:
            raise RequestInvalid("discord", NO_DISCORD)
        error = f"No account can take jobs: {_states(accounts)}"
        return _refused(503, {"error": error}, FULL_RETRY_AFTER_S)
    body: dict[str, Any] = {"error": f"API query is full and can not accept new pixverse/{kind} requests"}
    running = refusal.running if isinstance(refusal, NoFreeSlot) else ()
    if told := await backend.carry_out(backend.jobs.wire_ids(running)) if running else []:
        body["executingJobs"] = told
    return _refused(429, body, _retry_after_s(refusal))


def moderated(job: Job) -> JSONResponse:
    """Say that the upstream refused what was asked for; the job can be read."""
    error = job.error or job.content or "The upstream's moderation refused it"
    return JSONResponse({"error": error, "jobid": job.jobid, "status": job.status, "code": 422}, 422)


def _refused(status: int, body: dict[str, Any], retry_after_s: int) -> JSONResponse:
    return JSONResponse({**body, "code": status}, status, {"Retry-After": str(retry_after_s)})


def _retry_after_s(refusal: DispatcherError) -> int:
    if isinstance(refusal, LeasingClosed | NoFreeSlot):
        return max(1, math.ceil(refusal.wait_ms / 1000)) if refusal.wait_ms else FULL_RETRY_AFTER_S
    return RETRY_AFTER_S


def _states(accounts: Sequence[Account]) -> str:
    """Such as ``2 disabled (401: Unauthorized), 1 paused``."""
    told = Counter((account.state, account.reason[:REASON_CHARACTERS]) for account in accounts)
    return ", ".join(f"{n} {state}" + (f" ({reason})" if reason else "") for (state, reason), n in told.most_common())
