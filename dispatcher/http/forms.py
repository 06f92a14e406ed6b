"""A submission's fields, as JSON or as a form: bounded while it arrives, files kept out of memory.

Clients send every field, empty where it has no value, and numbers as text; both come out alike.

Source: contract §3, "Common optional fields"; §9.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.types import Message, Receive

from dispatcher.http.body import JSON, media_type_of, read_json_object, too_large

FIELDS_BYTES = 64 * 1024
"""All that is no file; the largest prompts, with four bytes a character, take 4 KiB."""
FIELDS_MAX = 64
FORM = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Form:
    """What a client sent: ``texts`` by name, without those that are empty, and ``files``, which end with the call."""

    texts: Mapping[str, Any]
    files: Mapping[str, BinaryIO] = field(default_factory=dict)


@asynccontextmanager
async def read_form(request: Request, *, file_max_bytes: int) -> AsyncIterator[Form]:
    """Read the body; ``file_max_bytes`` is what one file may have, 0 where none is expected.

    Raises:
        HTTPException: 413 too large, 415 neither JSON nor a form by its headers, 400 not what these say.
    """
    if media_type_of(request, JSON, FORM) != FORM:
        given = await read_json_object(request, limit_bytes=FIELDS_BYTES)
        yield Form({name: value for name, value in given.items() if not _is_empty(value)})
        return
    bounded = _Bounded(request.receive, FIELDS_BYTES + file_max_bytes)
    whole = Request(request.scope, bounded.receive)
    async with whole.form(max_files=FIELDS_MAX, max_fields=FIELDS_MAX, max_part_size=FIELDS_BYTES) as parts:
        texts = {name: value for name, value in parts.items() if isinstance(value, str) and value}
        files = {name: value.file for name, value in parts.items() if isinstance(value, UploadFile)}
        yield Form(texts, files)


def _is_empty(value: Any) -> bool:
    return value is None or value == ""


class _Bounded:
    """A body that ends with a refusal where it grows too large."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > self._limit_bytes:
            too_large(self._limit_bytes)
        return message
