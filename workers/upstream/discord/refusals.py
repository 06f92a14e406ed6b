"""What each answer of Discord means to us: one table, first match wins. The five classes are docs/upstream.md's.

Texts are never tested: Discord translates them, and says "Unknown Message" to mean "blocked".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import httpx
from pydantic_core import from_json

from dispatcher.errors import (
    AccountRejected,
    Moderated,
    RateLimited,
    RequestRejected,
    UpstreamBlocked,
    UpstreamError,
    UpstreamUnavailable,
)
from workers.upstream.wire import bounded_s, retry_after_s

NAME = "discord"

Fault = Literal[
    "job", "moderated", "account", "operator", "capacity", "fleet", "doubtful", "address", "unknown", "outdated"
]
"""Whose fault; ``operator``: the account's, and only its operator can tell when it is well again; ``address``: the
fleet's, and nothing may be called from this address for a while; ``doubtful``: the fleet's, unless what the job sends
provokes it."""
Symbol = int | Literal["captcha", "outdated", "page"] | None
"""Discord's numeric code; or what stands for one: a captcha's fields, a field error's name, no JSON at all."""

INVALID_FORM = 50035
UNKNOWN_MESSAGE = 10008
OUTDATED = "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION"
_DEFAULT_RETRY_S = 5.0


@dataclass(frozen=True, slots=True)
class Rule:
    """Answers of this status (None: any) with this symbol (None: any) are somebody's fault; what the operator does."""

    status: int | None
    symbol: Symbol
    fault: Fault
    advice: str = ""


_BETWEEN_US = "this is no answer of Discord's; is something between us?"

RULES: tuple[Rule, ...] = (
    Rule(None, "captcha", "operator", "it wants a captcha, which is never solved here; sign in by hand"),
    Rule(None, "outdated", "outdated"),
    Rule(None, 40333, "address", "Cloudflare blocks this address or program"),
    Rule(None, 50083, "account", "the thread is archived; open it again"),
    Rule(None, 200000, "moderated"),
    Rule(None, 240000, "moderated"),
    Rule(401, "page", "address", _BETWEEN_US),
    Rule(403, "page", "address", _BETWEEN_US),
    Rule(400, "page", "doubtful", _BETWEEN_US),
    Rule(404, "page", "fleet", "this is no answer of Discord's; is discord_api_url right?"),
    Rule(429, "page", "address", "Cloudflare bans this address"),
    Rule(404, 0, "fleet", "no such route; is discord_api_url right?"),
    Rule(405, None, "fleet", "no such route; is discord_api_url right?"),
    Rule(407, None, "fleet", "the proxy wants a login"),
    Rule(400, INVALID_FORM, "job"),
    Rule(None, 40002, "operator", "the account must be verified; sign in by hand"),
    Rule(401, 40001, "account", "the token is not valid (any more); register the account again"),
    Rule(401, None, "account", "the token is not valid (any more); register the account again"),
    Rule(403, UNKNOWN_MESSAGE, "operator", "Discord's anti-abuse blocks the account; sign in by hand"),
    Rule(403, 40001, "account", "the account may not do this; check membership and permissions"),
    Rule(403, 50001, "account", "the account does not see its channel; check membership and permissions"),
    Rule(403, 50009, "operator", "the server wants a higher verification level"),
    Rule(403, 50013, "account", "the account may not use commands in its channel; check permissions"),
    Rule(403, None, "account", "the account may not do this in its channel; check membership and permissions"),
    Rule(404, 10003, "account", "the channel does not exist, or is hidden from the account"),
    Rule(404, 10004, "account", "the server does not exist, or is hidden from the account"),
    Rule(404, UNKNOWN_MESSAGE, "account", "the message does not exist, or is hidden from the account"),
    Rule(404, 10063, "outdated"),
    Rule(404, None, "account", "the channel or server does not exist, or is hidden from the account"),
    Rule(408, None, "unknown"),
    Rule(429, None, "capacity"),
    Rule(400, None, "job"),
    *(Rule(status, None, "unknown") for status in (500, 502, 503, 504, 520, 521, 522, 523, 524)),
)


class CommandOutdated(RequestRejected):
    """The command was built from an old index: read it again, send it again once."""


_MEANING: dict[Fault, Callable[[str, str], UpstreamError]] = {
    "job": RequestRejected,
    "moderated": Moderated,
    "account": AccountRejected,
    "outdated": CommandOutdated,
    "unknown": UpstreamUnavailable,
}


def error_of(response: httpx.Response) -> UpstreamError:
    """Turn an answer that is no success into the error it means; on a submission a server error means *unknown*."""
    body = body_of(response)
    rule = _rule(response.status_code, _symbol(body))
    said = _said(response, body)
    told = f"{said}: {rule.advice}" if rule.advice else said
    if rule.fault == "capacity":
        return RateLimited(NAME, told, retry_after_s=_wait_s(response, body) or _DEFAULT_RETRY_S)
    if rule.fault in ("fleet", "doubtful", "address"):
        is_address, is_doubtful = rule.fault == "address", rule.fault == "doubtful"
        asked_s = _wait_s(response, body)
        return UpstreamBlocked(NAME, told, retry_after_s=asked_s, is_address=is_address, is_doubtful=is_doubtful)
    if rule.fault == "operator":
        return AccountRejected(NAME, told, needs_operator=True)
    return _MEANING[rule.fault](NAME, told)


def error_of_press(response: httpx.Response) -> UpstreamError:
    """Read an answer to a press as ``error_of``, but for a pressed message that is gone: that is the job's own."""
    if response.status_code == httpx.codes.NOT_FOUND and _symbol(body_of(response)) == UNKNOWN_MESSAGE:
        return RequestRejected(NAME, "the message whose button is pressed is not there any more")
    return error_of(response)


def error_of_refresh(response: httpx.Response) -> UpstreamError:
    """Read an answer to a refresh of links as ``error_of``, but for what the account may not see: that stops nobody."""
    error = error_of(response)
    is_token = response.status_code == httpx.codes.UNAUTHORIZED
    if isinstance(error, AccountRejected) and not (is_token or error.needs_operator):
        return RequestRejected(NAME, error.reason)
    return error


def still_prepared(response: httpx.Response) -> RateLimited:
    """Turn a 202, Discord's "the index is not ready", into a wait."""
    return RateLimited(NAME, "the answer is still prepared", retry_after_s=wait_s(response) or _DEFAULT_RETRY_S)


def _rule(status: int, symbol: Symbol) -> Rule:
    for rule in RULES:
        if rule.status in (None, status) and rule.symbol in (None, symbol):
            return rule
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Rule(status, None, "unknown")
    if httpx.codes.is_client_error(status):
        return Rule(status, "page", "doubtful", _BETWEEN_US) if symbol == "page" else Rule(status, None, "job")
    return Rule(status, None, "fleet", "this is no answer of Discord's; is discord_api_url right?")


def body_of(response: httpx.Response) -> dict[str, Any] | None:
    """Return the answer's body, None if it is no JSON object: then it is hardly Discord's."""
    try:
        body = from_json(response.content)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _symbol(body: dict[str, Any] | None) -> Symbol:
    if body is None:
        return "page"
    if "captcha_key" in body:
        return "captcha"
    if any(code == OUTDATED for _, code, _ in _field_errors(body.get("errors"))):
        return "outdated"
    code = body.get("code")
    return code if isinstance(code, int) else None


def _field_errors(errors: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Walk ``errors`` of an Invalid Form Body: (path, code, message) of each field error."""
    if not isinstance(errors, dict):
        return
    for name, below in errors.items():
        if name == "_errors" and isinstance(below, list):
            yield from ((path, str(e.get("code")), str(e.get("message"))) for e in below if isinstance(e, dict))
        else:
            yield from _field_errors(below, f"{path}.{name}" if path else str(name))


def _said(response: httpx.Response, body: dict[str, Any] | None) -> str:
    """Repeat what Discord said, in one line, for the operator."""
    if body is None:
        return f"HTTP {response.status_code}"
    details = "; ".join(f"{path}: {message}" for path, _, message in _field_errors(body.get("errors")))
    message = f"{body.get('message', '')}{f' ({details})' if details else ''}"
    return f"HTTP {response.status_code}, code {body.get('code')}: {message:.300}".strip()


def wait_s(response: httpx.Response) -> float | None:
    """Return for how many seconds an answer asks to wait, whatever it means; None where it does not say."""
    return _wait_s(response, body_of(response))


def _wait_s(response: httpx.Response, body: dict[str, Any] | None) -> float | None:
    """Take the later of the header (whole seconds) and the body, whose grain is finer."""
    waits = [retry_after_s(response), bounded_s((body or {}).get("retry_after"))]
    return max((wait for wait in waits if wait is not None), default=None)
