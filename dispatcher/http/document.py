"""What routes declare for the OpenAPI document beside their own types: the token, refusals, bodies read by hand.

The gate has checked the token before any route is looked for, and no route lets the framework read its body: what
stands here is for the reader, and held against the service by `make schema`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from dispatcher.http.errors import ErrorBody

BEARER = HTTPBearer(auto_error=False, description="An API token, `user:<number>-<string>`")
MEANINGS = {
    400: "The first rule that the request breaks",
    401: "No valid bearer token",
    404: "There is no such thing of yours",
    409: "The Idempotency-Key was used with another body",
    413: "The body is too large",
    415: "The body is not declared as what the call takes, in UTF-8",
    503: "The store does not answer, or is learning; `Retry-After` says when to come back",
}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 0}}}


def guarded(*, prefix: str, tag: str) -> APIRouter:
    """Make a router whose calls need a token."""
    return APIRouter(
        prefix=prefix,
        tags=[tag],
        dependencies=[Security(BEARER)],
        responses={"default": {"model": ErrorBody}},  # keeps the framework from declaring a 422 of its own
    )


def without_defaults(document: dict[str, Any]) -> dict[str, Any]:
    """Take the answers for any status out of a document: one that declares all statuses declares none."""
    for item in document.get("paths", {}).values():
        for operation in item.values():
            operation["responses"].pop("default", None)
    return document


def refusals(*statuses: int, **meanings: str) -> dict[int | str, dict[str, Any]]:
    """Declare the statuses that come with an error's body, beside those that every guarded call may get.

    Args:
        statuses: those of this route.
        meanings: another sentence than the usual one, as ``for_404="…"``.
    """
    told = {status: meanings.get(f"for_{status}", MEANINGS[status]) for status in sorted({401, 503, *statuses})}
    declared: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorBody, "description": meaning} for status, meaning in told.items()
    }
    declared[503]["headers"] = RETRY_AFTER
    return declared


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """Declare a JSON body, for ``openapi_extra``."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def query(name: str, description: str, *, required: bool, example: str) -> dict[str, Any]:
    """Declare a query parameter of text that the route reads itself, for ``openapi_extra``."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": {"type": "string", "minLength": 1},
        "example": example,
    }
