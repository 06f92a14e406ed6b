"""A request's JSON body, read by hand: bounded while it arrives, and refused with a status that says why.

pydantic would answer a wrong field with all its complaints at once; the contract names the first rule that fails.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dispatcher.registration import NumberAsSent

JSON = "application/json"
ACCOUNT_BODY_BYTES = 64 * 1024
"""The largest account is a Discord token of some 100 characters and two ids."""


async def read_json_object(
    request: Request, *, limit_bytes: int = ACCOUNT_BODY_BYTES, must_be_one: bool = False
) -> dict[str, Any]:
    """Read the body as a JSON object, numbers as :class:`NumberAsSent`.

    An absent body, and JSON that is no object, has none of the fields: ``{}``; with ``must_be_one`` both are refused.

    Raises:
        HTTPException: 413 over ``limit_bytes``, 415 not UTF-8 JSON by its headers, 400 not UTF-8 or not JSON.
    """
    media_type_of(request, JSON)
    text = await _read(request, limit_bytes)
    if text and "content-type" not in request.headers:
        raise HTTPException(415, "Content-Type is missing; send application/json")
    value = _parse(text) if text else None
    if isinstance(value, dict):
        return value
    if must_be_one:
        raise HTTPException(400, "Request body is not a JSON object")
    return {}


def media_type_of(request: Request, *known: str) -> str | None:
    """Return which of these media types the body has by its headers; None if they say nothing.

    Raises:
        HTTPException: 415 for any other, for another encoding than UTF-8, and for a compressed body.
    """
    given = request.headers.get("content-type")
    encoding = request.headers.get("content-encoding", "identity")
    if encoding.strip().lower() != "identity":
        raise HTTPException(415, "Content-Encoding is not supported; send the body as it is")
    if given is None:
        return None
    media_type, *parameters = (part.strip().lower() for part in given.split(";"))
    charsets = {part.partition("=")[2].strip(' "') for part in parameters if part.startswith("charset=")}
    if media_type not in known or charsets - {"utf-8", "utf8"}:
        raise HTTPException(415, f"Content-Type is not supported; send {' or '.join(known)} in UTF-8")
    return media_type


async def _read(request: Request, limit_bytes: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:18]) > limit_bytes:
        too_large(limit_bytes)
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit_bytes:
            too_large(limit_bytes)
    return bytes(received)


def too_large(limit_bytes: int) -> NoReturn:
    """Refuse a body that has more bytes.

    Raises:
        HTTPException: 413.
    """
    raise HTTPException(413, f"Request body is larger than {limit_bytes} bytes")


def _parse(text: bytes) -> Any:
    try:
        value = json.loads(
            text.decode("utf-8"), parse_int=NumberAsSent, parse_float=NumberAsSent, parse_constant=_no_constant
        )
        # An escaped lone surrogate is JSON and no Unicode text: nothing could store or answer it.
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeError:
        raise HTTPException(400, "Request body is not valid UTF-8") from None
    except (ValueError, RecursionError):
        raise HTTPException(400, "Request body is not valid JSON") from None
    return value


def _no_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity, which Python reads and JSON has not."""
    raise ValueError(name)
