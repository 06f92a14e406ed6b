"""The contract: accounts under ``/v1/pixverse``, in the statuses, bodies and sentences of PixVerse API v1.

Source: docs/http-api.md; contract §2.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from dispatcher.errors import AccountNotFound
from dispatcher.http.backend import TheBackend, TheUser
from dispatcher.http.body import read_json_object
from dispatcher.http.document import guarded, json_body, refusals
from dispatcher.models import Account
from dispatcher.registration import is_channel_id, read_registration
from dispatcher.requests import MAX_JOBS

SERVER, CHANNEL = "1180000000000000000", "1197013797467074673"
"""Examples."""
MaxJobs = Annotated[int, Field(ge=1, le=MAX_JOBS)] | Annotated[str, Field(pattern=r"^([1-9]|10)(\.0*)?$")]
"""As a number or as text; `read_registration` takes more spellings."""


class AccountToPost(BaseModel):
    """What registers an account."""

    discord: str = Field(
        description="The Discord token", pattern=r"^[\x21-\x7e]+$", examples=["MTE5NzAx.GxYz12.s3cr3t"]
    )
    server: str = Field(description="Id of the server that holds the channel", pattern=r"\S", examples=[SERVER])
    channel: str = Field(description="The same id as in the path", pattern="^[0-9]{17,20}$", examples=[CHANNEL])
    maxJobs: MaxJobs = Field(description="How many jobs may run on it at once, 1 to 10", examples=[3])  # noqa: N815


class AccountShown(BaseModel):
    """An account as reads show it; ``discord`` is masked."""

    server: str
    channel: str
    discord: str
    maxJobs: int  # noqa: N815  # the contract's name

    @classmethod
    def of(cls, account: Account) -> AccountShown:
        """Show what the contract shows."""
        return cls(server=account.server, channel=account.channel, discord=account.masked, maxJobs=account.max_jobs)


router = guarded(prefix="/v1/pixverse", tag="accounts")
NO_ACCOUNT = "Configuration not found"
Channel = Annotated[
    str,
    # Declared, not asked for: what is no channel id is answered in the contract's words.
    Path(description="Id of the Discord channel, 17 to 20 digits", json_schema_extra={"pattern": "^[0-9]{17,20}$"}),
]


@router.get("/account", summary="All accounts of the caller, by channel", responses=refusals(404, for_404=NO_ACCOUNT))
async def list_accounts(backend: TheBackend, user: TheUser) -> dict[str, AccountShown]:
    """Answer 404 where there is none, as the contract does."""
    accounts = await backend.carry_out(backend.accounts.list(user=user))
    if not accounts:
        raise AccountNotFound("")
    return {account.channel: AccountShown.of(account) for account in accounts}


@router.get("/account/{channel}", summary="One account of the caller", responses=refusals(404, for_404=NO_ACCOUNT))
async def get_account(channel: Channel, backend: TheBackend, user: TheUser) -> AccountShown:
    """Show the account of one channel; another user's is not found."""
    _check_channel(channel)
    return AccountShown.of(await backend.do(backend.accounts.get(user=user, channel=channel)))


@router.post(
    "/account/{channel}",
    summary="Create or update an account",
    status_code=204,
    responses=refusals(400, 413, 415),
    openapi_extra=json_body(AccountToPost),
)
async def put_account(channel: Channel, request: Request, backend: TheBackend, user: TheUser) -> Response:
    """Apply at once: more ``maxJobs`` start waiting jobs, fewer let running ones end; a new token is used next."""
    given = read_registration(await read_json_object(request), channel=channel)
    put = backend.accounts.put(
        user=user, channel=given.channel, server=given.server, secret=given.secret, max_jobs=given.max_jobs
    )
    async with backend.storing(backend.store, backend.accounts, user, given):
        await backend.do(put)
    return Response(status_code=204)


@router.delete(
    "/account/{channel}", summary="Remove an account", status_code=204, responses=refusals(404, for_404=NO_ACCOUNT)
)
async def remove_account(channel: Channel, backend: TheBackend, user: TheUser) -> Response:
    """Unseen at once; its running jobs end by themselves, unseen too."""
    _check_channel(channel)
    await backend.carry_out(backend.accounts.remove(user=user, channel=channel))
    return Response(status_code=204)


def _check_channel(channel: str) -> None:
    """Nothing is stored under what is no channel id: spare Redis the question."""
    if not is_channel_id(channel):
        raise AccountNotFound(channel)
