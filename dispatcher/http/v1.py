"""The contract: accounts under ``/v1/pixverse``, in the statuses, bodies and sentences of PixVerse API v1.

Source: docs/http-api.md; contract §2.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from dispatcher.errors import AccountNotFound
from dispatcher.http.backend import TheBackend, TheUser
from dispatcher.http.body import read_json_object
from dispatcher.http.errors import ErrorBody
from dispatcher.models import Account
from dispatcher.registration import is_channel_id, read_registration
from dispatcher.requests import MAX_JOBS


class AccountToPost(BaseModel):
    """What registers an account."""

    discord: str = Field(min_length=1, description="The Discord token")
    server: str = Field(min_length=1, description="The id of the server that holds the channel")
    channel: str = Field(pattern="^[0-9]{17,20}$", description="The same id as in the path")
    maxJobs: int = Field(ge=1, le=MAX_JOBS, description="How many jobs may run on the account at once")  # noqa: N815


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


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Declare the statuses that come with an error's body, beside those that every call may get."""
    meanings = {
        400: "The first rule that the request breaks",
        401: "No valid bearer token",
        404: "Configuration not found",
        413: "The body is too large",
        415: "The body is not declared as JSON in UTF-8",
        503: "The store does not answer; `Retry-After` says when to come back",
    }
    return {status: {"model": ErrorBody, "description": meanings[status]} for status in sorted({401, 503, *statuses})}


# Declared for the OpenAPI document; the gate has checked the token before any route is looked for.
_bearer = HTTPBearer(auto_error=False, description="An API token, `user:<number>-<string>`")

router = APIRouter(
    prefix="/v1/pixverse",
    tags=["accounts"],
    dependencies=[Security(_bearer)],
    responses={"default": {"model": ErrorBody, "description": "Any other refusal"}},
)


@router.get("/account", summary="All accounts of the caller, by channel", responses=_refusals(404))
async def list_accounts(backend: TheBackend, user: TheUser) -> dict[str, AccountShown]:
    """Answer 404 where there is none, as the contract does."""
    accounts = await backend.carry_out(backend.accounts.list(user=user))
    if not accounts:
        raise AccountNotFound("")
    return {account.channel: AccountShown.of(account) for account in accounts}


@router.get("/account/{channel}", summary="One account of the caller", responses=_refusals(404))
async def get_account(channel: str, backend: TheBackend, user: TheUser) -> AccountShown:
    """Show the account of one channel; another user's is not found."""
    _check_channel(channel)
    return AccountShown.of(await backend.do(backend.accounts.get(user=user, channel=channel)))


@router.post(
    "/account/{channel}",
    summary="Create or update an account",
    status_code=204,
    responses=_refusals(400, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": AccountToPost.model_json_schema()}},
        }
    },
)
async def put_account(channel: str, request: Request, backend: TheBackend, user: TheUser) -> Response:
    """Apply at once: more ``maxJobs`` start waiting jobs, fewer let running ones end; a new token is used next."""
    given = read_registration(await read_json_object(request), channel=channel)
    put = backend.accounts.put(
        user=user, channel=given.channel, server=given.server, secret=given.secret, max_jobs=given.max_jobs
    )
    async with backend.storing(backend.store, backend.accounts, user, given):
        await backend.do(put)
    return Response(status_code=204)


@router.delete("/account/{channel}", summary="Remove an account", status_code=204, responses=_refusals(404))
async def remove_account(channel: str, backend: TheBackend, user: TheUser) -> Response:
    """Unseen at once; its running jobs end by themselves, unseen too."""
    _check_channel(channel)
    await backend.carry_out(backend.accounts.remove(user=user, channel=channel))
    return Response(status_code=204)


def _check_channel(channel: str) -> None:
    """Nothing is stored under what is no channel id: spare Redis the question."""
    if not is_channel_id(channel):
        raise AccountNotFound(channel)
