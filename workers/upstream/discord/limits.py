"""What Discord's answers say of limits, as ``workers.upstream.pacing`` takes it: the routes, and how headers are read.

With a user's token Discord mostly sends ``Retry-After`` and the scope alone; the bucket's headers are read where they
come. Source: docs/upstream.md, "Rate limits".
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import httpx

from dispatcher.errors import RateLimited, UpstreamBlocked, UpstreamError
from dispatcher.settings import Settings
from workers.upstream.discord.refusals import NAME, body_of, wait_s
from workers.upstream.pacing import Blocks, Bucket, Heard, Limits, Pace, Route
from workers.upstream.wire import bounded_s

INVALID = frozenset({httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS})
"""Ten thousand answers of these in ten minutes, and Cloudflare blocks the address."""
_BLOCKED_S = 60.0
"""For how long an address stops that was refused without a time."""

ME = Route("me")
INTERACTIONS = Route("interactions")
GATEWAY = Route("gateway")
LINKS = Route("links")
_LINKS_REFUSED_S = 60.0
"""How long a token asks for no links after a refusal; whoever wants a hundred old files must not collect as many."""
UNPACED = Pace()
"""Submissions of an account are paced by the gate (``min_interval_ms``)."""


def index_route(guild: str) -> Route:
    """The route of a server's command index."""
    return Route("index", quote(guild, safe=""))


def messages_route(channel: str) -> Route:
    """The route of a channel's list of messages."""
    return Route("messages", quote(channel, safe=""))


def channel_route(channel: str) -> Route:
    """The route of a channel's description."""
    return Route("channel", quote(channel, safe=""))


def attachments_route(channel: str) -> Route:
    """The route on which files for a channel are announced."""
    return Route("attachments", quote(channel, safe=""))


def limits_of(settings: Settings) -> Limits:
    """What the operator says of Discord's limits."""
    per_s = settings.discord_pace_address_per_s
    return Limits(
        upstream=NAME,
        egress=settings.egress,
        reads=Pace(settings.discord_pace_read_ms, settings.discord_pace_read_burst),
        address=Pace(1000 / per_s, max(1, round(per_s))) if per_s else Pace(),
        invalid_max=settings.discord_invalid_max,
    )


def heard_from(route: Route, response: httpx.Response, error: UpstreamError | None) -> Heard:
    """Read what an answer says of limits.

    Args:
        route: what was called.
        response: any answer of Discord's.
        error: what it means, None for a success.
    """
    is_429 = response.status_code == httpx.codes.TOO_MANY_REQUESTS
    is_shared = is_429 and response.headers.get("x-ratelimit-scope") == "shared"
    blocks, for_s = _blocks(response, error)
    if route == LINKS and response.status_code in INVALID and not blocks:
        blocks, for_s = "route", _LINKS_REFUSED_S
    return Heard(
        blocks=blocks,
        for_s=for_s,
        reason=str(error or "the answer is still prepared") if blocks else "",
        is_invalid=response.status_code in INVALID and not is_shared,
        bucket=None if is_429 and _is_sub_limit(response) else _bucket(response),
    )


def _blocks(response: httpx.Response, error: UpstreamError | None) -> tuple[Blocks, float]:
    if error is None:
        is_prepared = response.status_code == httpx.codes.ACCEPTED
        return ("route", wait_s(response) or 0.0) if is_prepared else ("", 0.0)
    if isinstance(error, UpstreamBlocked) and error.is_address:
        return "address", error.retry_after_s or _BLOCKED_S
    told_s = error.retry_after_s if isinstance(error, RateLimited) else wait_s(response)
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS and told_s:
        return ("token" if _is_global(response) else "route"), told_s
    if httpx.codes.is_server_error(response.status_code) and told_s:
        return "route", told_s
    return "", 0.0


def _is_global(response: httpx.Response) -> bool:
    """Whether all that the token does is limited; what others share with it is no limit of the token's."""
    scope = response.headers.get("x-ratelimit-scope")
    if scope in ("user", "shared"):
        return False
    header = response.headers.get("x-ratelimit-global", "").lower() == "true"
    return scope == "global" or header or (body_of(response) or {}).get("global") is True


def _is_sub_limit(response: httpx.Response) -> bool:
    """A 429 with calls left in its bucket is of a limit that no header describes: its body's time counts alone."""
    remaining = _number(response.headers.get("x-ratelimit-remaining"))
    return remaining is not None and remaining > 0


def _bucket(response: httpx.Response) -> Bucket | None:
    """The bucket that headers describe; None where one of the three is missing, or not as expected."""
    name = response.headers.get("x-ratelimit-bucket", "")
    remaining = _number(response.headers.get("x-ratelimit-remaining"))
    reset_after_s = bounded_s(response.headers.get("x-ratelimit-reset-after"))
    if not re.fullmatch(r"[\w-]{1,64}", name, re.ASCII) or remaining is None or reset_after_s is None:
        return None
    return Bucket(name, remaining, reset_after_s)


def _number(text: Any) -> int | None:
    return int(text) if isinstance(text, str) and re.fullmatch(r"\d{1,6}", text, re.ASCII) else None
