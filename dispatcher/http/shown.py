"""A job's JSON as the OpenAPI document describes it; what makes it is ``dispatcher/wire.py``.

Source: docs/http-api.md, "The job object"; contract §4.3.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic reads no other TypedDict before Python 3.12

from dispatcher.models import FileShown, Status

Instant = Annotated[
    str,
    Field(description="UTC, to the millisecond: `2024-06-10T12:34:56.789Z`", json_schema_extra={"format": "date-time"}),
]
JobId = Annotated[
    str,
    Field(
        description="The job's id, the same for ever",
        examples=["job:20240610123456789ABC234-user:1-channel:0-bot:pixverse"],
    ),
]


@with_config(ConfigDict(extra="forbid"))
class AttachmentShown(TypedDict):
    """One result file; `size` in bytes, `width` and `height` in pixels."""

    id: str
    filename: str
    url: str
    proxy_url: NotRequired[str]
    content_type: NotRequired[str]
    size: NotRequired[int]
    width: NotRequired[int]
    height: NotRequired[int]


@with_config(ConfigDict(extra="forbid"))
class JobShown(TypedDict):
    """A job, in answers and in callbacks; what it has not is left out."""

    jobid: JobId
    verb: Annotated[str, Field(examples=["pixverse-create_single"])]
    status: Status
    created: Instant
    updated: Instant
    content: Annotated[str, Field(description="The bot's message; empty before there is one")]
    buttons: Annotated[list[str], Field(description="What `button` takes, once the job is completed")]
    attachments: Annotated[list[AttachmentShown], Field(description="The videos, once the job is completed")]
    code: Literal[200]
    prompt: NotRequired[str]
    button: NotRequired[str]
    parentJobId: NotRequired[str]
    discord: NotRequired[Annotated[str, Field(description="The account's token, masked")]]
    server: NotRequired[str]
    channel: NotRequired[str]
    maxJobs: NotRequired[int]
    replyUrl: NotRequired[str]
    replyRef: NotRequired[str]
    messageId: NotRequired[str]
    timestamp: NotRequired[Annotated[str, Field(description="When the bot wrote, as Discord writes it")]]
    embeds: NotRequired[list[dict[str, Any]]]
    error: NotRequired[Annotated[str, Field(description="Why the job did not complete")]]
    errorDetails: NotRequired[str]
    style: NotRequired[str]
    negative_prompt: NotRequired[str]
    aspect_ratio: NotRequired[str]
    character: NotRequired[str]
    seed_value: NotRequired[int]
    motion: NotRequired[int]
    hd_quality: NotRequired[str]
    image: NotRequired[FileShown]
    face: NotRequired[FileShown]


@with_config(ConfigDict(extra="forbid"))
class Cancelled(TypedDict):
    """What a cancel answers: the job's status, which is another where it had ended before."""

    jobid: JobId
    status: Status
    code: Literal[200]
