"""What an error means over HTTP: one table, one shape: ``{"error": <sentence>, "code": <status>}``.

No answer shows a secret: messages are built from fields that hold none, and what has the form of an API token is masked
where a message quotes what the caller sent.

Source: contract §1, "Error envelope".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dispatcher import errors
from dispatcher.registration import without_api_tokens

RETRY_AFTER_S = 5
CONFIGURATION_NOT_FOUND = "Configuration not found. To create configuration use pixverse/account/<channel>."
STORE_AWAY = "The store does not answer; try again."
STORAGE_AWAY = "The storage of files does not answer; try again."
INTERNAL = "Internal error; the log of the server says more."

STATUSES: tuple[tuple[type[errors.DispatcherError], int, str | None], ...] = (
    (errors.Unauthorized, 401, None),
    (errors.Forbidden, 403, None),
    (errors.RequestInvalid, 400, None),
    (errors.JobStateError, 400, None),
    (errors.JobNotFound, 404, None),
    (errors.DuplicateJob, 409, None),
    (errors.WaitTimeout, 504, None),
    (errors.AccountConflict, 400, None),
    (errors.AccountNotFound, 404, CONFIGURATION_NOT_FOUND),
    (errors.AccountUnavailable, 503, None),
    (errors.NoFreeSlot, 429, None),
    (errors.LeasingClosed, 503, None),
    (errors.StoreUnavailable, 503, STORE_AWAY),
    (errors.StorageUnavailable, 503, STORAGE_AWAY),
    (errors.UpstreamError, 502, None),
    (errors.DispatcherError, 500, INTERNAL),
)
"""Error, status, and the sentence shown where it is not the error's own (which would tell of our insides).

The first row that fits counts, so that the last stands for whatever has no row.
"""


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: str
    code: int


class Answer(Response):
    """An error in the contract's shape."""

    media_type = "application/json"

    def __init__(self, status: int, error: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__({"error": error, "code": status}, status, headers)

    def render(self, content: Any) -> bytes:
        """Encode the body; a lone surrogate that a message may quote must not break the answer."""
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def answer_for(error: Exception) -> Answer:
    """Turn whatever was raised into an answer."""
    if isinstance(error, HTTPException):
        return Answer(error.status_code, without_api_tokens(str(error.detail)), error.headers)
    for kind, status, sentence in STATUSES:
        if isinstance(error, kind):
            return Answer(status, without_api_tokens(sentence or str(error)), _headers(status, error))
    return Answer(500, INTERNAL)


def _headers(status: int, error: Exception) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": "Bearer"}
        case 503 if isinstance(error, errors.LeasingClosed):
            return {"Retry-After": str(math.ceil(error.wait_ms / 1000))}
        case 503:
            return {"Retry-After": str(RETRY_AFTER_S)}
        case _:
            return {}
