"""The caller's own entry, beside the contract: clients of the hosted service test their token by it.

It also keeps the address to which jobs are reported that name none.

Source: docs/http-api.md, "Your own entry"; contract §8.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field
from starlette.requests import Request

from dispatcher.errors import RequestInvalid
from dispatcher.http.backend import Backend, TheBackend, TheUser
from dispatcher.http.body import read_json_object
from dispatcher.http.document import guarded, json_body, refusals
from dispatcher.profiles import Profile
from dispatcher.reply_url import CHARACTERS_MAX, check_reply_url
from dispatcher.wire import instant

NAME_CHARACTERS = 255


class ProfileToPost(BaseModel):
    """What may be said; a field that is absent or null stays as it is, an empty one is taken back."""

    name: Annotated[str | None, Field(max_length=NAME_CHARACTERS, description="What to call you")] = None
    replyUrl: Annotated[  # noqa: N815 (the contract's name)
        str | None,
        Field(
            max_length=CHARACTERS_MAX,
            pattern=r"^(https?://[A-Za-z0-9.-]+(:[1-9][0-9]{0,3})?([/?#][!-~]*)?)?$",
            description="Where the ends of jobs are reported that name no `replyUrl` of their own",
            examples=["https://example.com/hook"],
        ),
    ] = None


class ProfileShown(BaseModel):
    """The caller. Nobody signs up here: `email` is empty, `verified` true, `sub` the user of the token."""

    email: str
    created: str
    name: str
    verified: bool
    sub: str
    replyUrl: str  # noqa: N815 (the contract's name)


router = guarded(prefix="", tag="you")


@router.get("/v1/account", name="read_profile_v1", summary="Who you are", responses=refusals())
@router.get("/v2/account", summary="Who you are", responses=refusals())
async def read_profile(backend: TheBackend, user: TheUser) -> ProfileShown:
    """Show the user of the token; a client may test its token by this call."""
    return await _shown(backend, user)


@router.post(
    "/v2/account",
    summary="Set your name and default replyUrl",
    responses=refusals(400, 413, 415),
    openapi_extra=json_body(ProfileToPost),
)
async def put_profile(request: Request, backend: TheBackend, user: TheUser) -> ProfileShown:
    """Keep what is said and show all of it. What is absent or null stays as it is; empty text takes it back."""
    said = _said(await read_json_object(request, must_be_one=True))
    await backend.do(backend.profiles.put(user, said))
    return await _shown(backend, user)


async def _shown(backend: Backend, user: int) -> ProfileShown:
    registered = await backend.do(backend.access.user(user))
    profile = await backend.do(backend.profiles.get(user))
    return ProfileShown(
        email="",
        created=instant(registered.created),
        name=profile.name or registered.name,
        verified=True,
        sub=f"user:{user}",
        replyUrl=profile.reply_url,
    )


def _said(given: dict[str, Any]) -> Profile:
    """Read the fields that have a value.

    Raises:
        RequestInvalid: one is no text, too long, or no web address.
    """
    said = {}
    for name, field, characters_max in (
        ("name", "name", NAME_CHARACTERS),
        ("replyUrl", "reply_url", CHARACTERS_MAX),
    ):
        value = given.get(name)
        if value is None:
            continue
        if not isinstance(value, str):
            raise RequestInvalid(name, f"Param {name} is not text")
        if len(value) > characters_max:
            raise RequestInvalid(name, f"{name} is too long")
        said[field] = value
    if said.get("reply_url"):
        check_reply_url(said["reply_url"])
    return Profile(**said)
