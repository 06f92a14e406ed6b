"""Discord's refusals, as bodies and headers: one exception, one constructor for each refusal it is used for.

Source: upstream notes on Discord errors; bodies are checked against the official OpenAPI file by
``tests/integration/simulator/test_openapi.py``.
"""

from __future__ import annotations

import json
import math
from typing import Any

INVALID_VERSION_CODE = "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION"
_INVALID_FORM = 50035


class DiscordError(Exception):
    """A request that Discord refuses.

    Attributes:
        status: the HTTP status.
        body: the JSON body.
        kind: the name under which the oracle counts the refusal: a ``submit`` directive's value, or Discord's code.
        headers: further response headers.
    """

    def __init__(self, status: int, body: dict[str, Any], *, kind: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {body.get('message', kind)}")
        self.status = status
        self.body = body
        self.kind = kind
        self.headers = headers or {}

    def content(self) -> bytes:
        """Return the body as JSON."""
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


def rate_limited(retry_after_s: float) -> DiscordError:
    """Refuse for ``retry_after_s``: as user tokens see it, without buckets, and with whole seconds in the header."""
    body = {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": False, "code": 0}
    headers = {"Retry-After": str(math.ceil(retry_after_s)), "X-RateLimit-Scope": "user", "Via": "1.1 google"}
    return DiscordError(429, body, kind="429", headers=headers)


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


def invalid_version() -> DiscordError:
    """Refuse a command that was built from an outdated command index."""
    message = "This command is outdated, please try again in a few minutes"
    return invalid_form("data", INVALID_VERSION_CODE, message, kind="invalid-version")
