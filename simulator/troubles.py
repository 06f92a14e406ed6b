"""Refusals by name: what a submission's directive, or ``POST /sim/answers`` for any request, makes Discord answer.

One table; each name is Discord's numeric code, the HTTP status where there is no code, or what the thing is called.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from simulator import errors

if TYPE_CHECKING:
    from collections.abc import Callable

Scope = Literal["user", "shared", "global"]
Buckets = Literal["none", "spent", "hidden"]

_DEFAULT_WAIT_S = 1.0
_BAN_PAGE = "<!DOCTYPE html><html><head><title>Access denied</title></head><body>error code: 1015</body></html>"
_BLOCK_PAGE = "<!DOCTYPE html><html><head><title>Attention Required!</title></head><body>Sorry</body></html>"
_GATEWAY_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
_SERVER_TROUBLES = (502, 503, 504, 520, 521, 522, 523, 524)
_LIMITS = (20016, 20028, 20029, 40062)


@dataclass(frozen=True, slots=True)
class Terms:
    """What an answer says of time and limits: seconds to wait (None: not written), whose limit, and its headers."""

    retry_after_s: float | None = None
    scope: Scope = "user"
    buckets: Buckets = "none"

    @property
    def wait_s(self) -> float:
        """The seconds of an answer that must name some."""
        return _DEFAULT_WAIT_S if self.retry_after_s is None else self.retry_after_s


def _plain(status: int, code: int, message: str, _terms: Terms) -> errors.DiscordError:
    return errors.plain(status, code, message)


def _limited(terms: Terms, code: int = 0) -> errors.DiscordError:
    kind = str(code) if code else "429"
    return errors.rate_limited(terms.wait_s, scope=terms.scope, buckets=terms.buckets, code=code, kind=kind)


def _page(status: int, text: str, kind: str, terms: Terms) -> errors.DiscordError:
    """Build a page: no ``Via`` header, and a time only where one is written."""
    wait_s = terms.retry_after_s
    headers = None if wait_s is None else {"Retry-After": str(math.ceil(wait_s))}
    return errors.page(status, text, kind=kind, headers=headers)


def _bad_form(_terms: Terms) -> errors.DiscordError:
    return errors.invalid_form("data.options.0.value", "BASE_TYPE_CHOICES", "Value must be one of {…}.")


def _prepared(terms: Terms) -> errors.DiscordError:
    body = {"message": "Index not yet available. Try again later", "code": 110000, "retry_after": terms.wait_s}
    return errors.DiscordError(202, body, kind="202")


ANSWERS: dict[str, Callable[[Terms], errors.DiscordError]] = {
    "429": _limited,
    **{str(code): partial(_limited, code=code) for code in _LIMITS},
    "401": lambda _: errors.unauthorized(),
    "403": lambda _: errors.missing_access(),
    "captcha": lambda _: errors.captcha(),
    "invalid-version": lambda _: errors.invalid_version(),
    "50035": _bad_form,
    "40001": partial(_plain, 401, 40001, "Unauthorized. Provide a valid token and try again"),
    "40001-403": partial(_plain, 403, 40001, "Unauthorized. Provide a valid token and try again"),
    "40002": partial(_plain, 403, 40002, "You need to verify your account in order to perform this action"),
    "40002-401": partial(_plain, 401, 40002, "You need to verify your account in order to perform this action"),
    "50009": partial(_plain, 403, 50009, "Channel verification level is too high for you to gain access"),
    "50013": partial(_plain, 403, 50013, "Missing Permissions"),
    "10008-403": partial(_plain, 403, 10008, "Unknown Message"),
    "40333": partial(_plain, 403, 40333, "internal network error"),
    "10003": lambda _: errors.unknown_channel(),
    "10004": partial(_plain, 404, 10004, "Unknown Guild"),
    "10008": lambda _: errors.unknown_message(),
    "10063": lambda _: errors.unknown_command(),
    "50083": lambda _: errors.archived(),
    "50083-403": lambda _: errors.archived(403),
    "200000": partial(_plain, 400, 200000, "Message was blocked by automatic moderation"),
    "240000": partial(_plain, 400, 240000, "Message blocked by harmful links filter"),
    "1015": partial(_page, 429, "error code: 1015", "1015"),
    "1015-page": partial(_page, 429, _BAN_PAGE, "1015"),
    "400-page": partial(_page, 400, _GATEWAY_PAGE.format("400"), "400-page"),
    "403-page": partial(_page, 403, _BLOCK_PAGE, "403-page"),
    "500-before-accept": lambda _: errors.server_error(),
    "500": lambda _: errors.server_error(),
    "500-empty": partial(_page, 500, "", "500"),
    "130000": partial(_plain, 503, 130000, "API resource is currently overloaded. Try again a little later"),
    **{str(status): partial(_page, status, _GATEWAY_PAGE.format(status), str(status)) for status in _SERVER_TROUBLES},
    "202": _prepared,
    "no-json": partial(_page, 200, _GATEWAY_PAGE.format("200"), "no-json"),
}
"""What each name answers."""

REFUSALS = tuple(name for name in ANSWERS if name not in {"202", "no-json"})
"""Those that refuse a submission, of which nothing runs; the other two are no refusals and strike readings only."""


@dataclass(slots=True)
class _Waiting:
    kind: str
    answer: Callable[[], errors.DiscordError]
    count: int | None
    every: int
    channel_id: str | None
    met: int = 0

    def strikes(self) -> bool:
        """Say whether it is the turn of the request that meets it."""
        self.met += 1
        return self.met % self.every == 0

    @property
    def is_over(self) -> bool:
        """Whether it has struck as often as it was to."""
        return self.count is not None and self.met >= self.count * self.every


class Troubles:
    """Answers that wait for requests of their kind, and how late all answers of a kind come."""

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._latency_s: dict[str, float] = {}

    def add(
        self, kind: str, name: str, terms: Terms, *, count: int | None, every: int = 1, channel_id: str | None
    ) -> None:
        """Answer requests of a kind, of one channel or (None) of any, as the table says.

        Args:
            kind: of the requests.
            name: of the answer.
            terms: what it says of time and limits.
            count: how many are answered so; None: as many as come, until a reset.
            every: 20: each twentieth request of them.
            channel_id: whose; None: any channel's.
        """
        self._waiting.append(_Waiting(kind, partial(ANSWERS[name], terms), count, every, channel_id))

    def delay(self, kind: str, latency_s: float) -> None:
        """Let each answer of a kind come this much later from now on."""
        self._latency_s[kind] = latency_s

    def clear(self) -> None:
        """Forget what waits, and answer at once."""
        self._waiting.clear()
        self._latency_s.clear()

    async def meet(self, kind: str, channel_id: str | None) -> None:
        """Let a request meet what waits for it.

        Raises:
            DiscordError: it is answered so.
        """
        if self._latency_s:
            await asyncio.sleep(self._latency_s.get(kind, 0))
        for waiting in self._waiting:
            if waiting.kind == kind and waiting.channel_id in {None, channel_id}:
                if not waiting.strikes():
                    continue
                if waiting.is_over:
                    self._waiting.remove(waiting)
                raise waiting.answer()
