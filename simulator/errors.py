"""Discord's refusals, as bodies and headers: one exception, one constructor for each refusal it is used for.

Source: upstream notes on Discord errors; bodies are checked against the official OpenAPI file by
``tests/integration/simulator/test_openapi.py``.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

INVALID_VERSION_CODE = "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION"
_INVALID_FORM = 50035


class DiscordError(Exception):
    """A request that Discord refuses.

    Attributes:
        status: the HTTP status.
        body: the JSON body; or the text of a page, which somebody between us and Discord answers with.
        kind: the name under which the oracle counts the refusal: a ``submit`` directive's value, or Discord's code.
        headers: further response headers.
    """

    def __init__(
        self, status: int, body: dict[str, Any] | str, *, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(f"{status} {kind}")
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers or {}

    @property
    def media_type(self) -> str:
        """The type of the content."""
        return "text/html" if isinstance(self.body, str) else "application/json"

    def content(self) -> bytes:
        """Return the body as JSON, or a page as it is."""
        if isinstance(self.body, str):
            return self.body.encode()
        return json.dumps(self.body, separators=(",", ":"), ensure_ascii=False).encode()


def plain(status: int, code: int, message: str) -> DiscordError:
    """Refuse with a message and one of Discord's numeric codes."""
    return DiscordError(status, {"message": message, "code": code}, kind=str(code or status))


def unauthorized() -> DiscordError:
    """Refuse a missing or unknown token."""
    return plain(401, 0, "401: Unauthorized")


def missing_access() -> DiscordError:
    """Refuse an account that may not use the channel."""
    return DiscordError(403, {"message": "Missing Access", "code": 50001}, kind="403")


def unknown_channel() -> DiscordError:
    """Refuse a channel that does not exist."""
    return plain(404, 10003, "Unknown Channel")


def unknown_message() -> DiscordError:
    """Refuse a message that does not exist."""
    return plain(404, 10008, "Unknown Message")


def unknown_command() -> DiscordError:
    """Refuse an application command that does not exist."""
    return plain(404, 10063, "Unknown application command")


def server_error() -> DiscordError:
    """Fail as Discord's servers do in trouble."""
    return plain(500, 0, "500: Internal Server Error")


def archived(status: int = 400) -> DiscordError:
    """Refuse to write into an archived thread."""
    return plain(status, 50083, "Thread is archived")


def page(status: int, text: str, *, kind: str, headers: dict[str, str] | None = None) -> DiscordError:
    """Answer with what is no JSON, as Cloudflare and gateways do."""
    return DiscordError(status, text, kind=kind, headers=headers)


def rate_limited(
    retry_after_s: float, *, scope: str = "user", buckets: str = "none", code: int = 0, kind: str = "429"
) -> DiscordError:
    """Refuse for ``retry_after_s``, with whole seconds in the header.

    Args:
        retry_after_s: how long, in seconds.
        scope: whose limit it is: ``user``, ``shared`` (with others, on this resource) or ``global``.
        buckets: ``none``, as user tokens see it; ``spent``: with the bucket's headers; ``hidden``: these say that
            something is left, so that another limit was met.
        code: Discord's number for the limit.
        kind: the oracle's name for it.
    """
    is_global = scope == "global"
    message = "The resource is being rate limited." if scope == "shared" else "You are being rate limited."
    body = {"message": message, "retry_after": retry_after_s, "global": is_global, "code": code}
    headers = {"Retry-After": str(math.ceil(retry_after_s)), "X-RateLimit-Scope": scope, "Via": "1.1 google"}
    if is_global:
        headers["X-RateLimit-Global"] = "true"
    if buckets != "none":
        headers |= bucket_headers(retry_after_s, remaining=3 if buckets == "hidden" else 0)
    return DiscordError(429, body, kind=kind, headers=headers)


def bucket_headers(reset_after_s: float, *, remaining: int) -> dict[str, str]:
    """Describe a bucket of five requests, as bots see theirs on every answer."""
    return {
        "X-RateLimit-Limit": "5",
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": f"{time.time() + reset_after_s:.3f}",
        "X-RateLimit-Reset-After": f"{reset_after_s:.3f}",
        "X-RateLimit-Bucket": "5a5c9f2b7c2d4b0fb6b6d2d6b2f2a1c0",
    }


def captcha() -> DiscordError:
    """Ask for a captcha, which nobody may solve."""
    body = {
        "captcha_key": ["captcha-required"],
        "captcha_service": "hcaptcha",
        "captcha_sitekey": "a9b5fb07-92ff-493f-86fe-352a2803b3df",
        "captcha_session_id": "simulated",
    }
    return DiscordError(400, body, kind="captcha")


def invalid_form(path: str, code: str, message: str, *, kind: str = str(_INVALID_FORM)) -> DiscordError:
    """Refuse one field of a form.

    Args:
        path: where the field is, dotted: ``data.options.0.value``.
        code: Discord's name for the fault: ``BASE_TYPE_REQUIRED``.
        message: the fault for people.
        kind: the oracle's name for it.
    """
    errors: dict[str, Any] = {"_errors": [{"code": code, "message": message}]}
    for name in reversed(path.split(".")):
        errors = {name: errors}
    return DiscordError(400, {"message": "Invalid Form Body", "code": _INVALID_FORM, "errors": errors}, kind=kind)


def required(path: str) -> DiscordError:
    """Refuse a form in which a field is missing."""
    return invalid_form(path, "BASE_TYPE_REQUIRED", "This field is required")


def invalid_version(message: str = "This command is outdated, please try again in a few minutes") -> DiscordError:
    """Refuse a command that was built from an outdated command index; its text is in the user's language."""
    return invalid_form("data", INVALID_VERSION_CODE, message, kind="invalid-version")
