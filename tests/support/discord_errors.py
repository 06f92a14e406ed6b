"""The error page as rows: what is answered to which request; and the Markdown that says what it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import httpx

from simulator.troubles import ANSWERS, Scope, Terms
from workers.upstream.discord.refusals import Fault, Symbol, _rule, _symbol, body_of

Request = Literal["submission", "list", "index", "user"]
KINDS: dict[Request, str] = {"list": "messages", "index": "index", "user": "users"}
"""What the simulator calls the readings."""


@dataclass(frozen=True, slots=True)
class Row:
    """An answer, by its name in the simulator's table, and the request that it is given to.

    Args:
        answer: the name.
        on: the request.
        times: so many of the job's requests of that kind in a row are answered so.
        retry_after_s: named by the answer; None: it names no time, unless it always does.
        scope: whose limit a 429 is.
    """

    answer: str
    on: Request = "submission"
    times: int = 1
    retry_after_s: float | None = None
    scope: Scope = "user"

    @property
    def response(self) -> httpx.Response:
        """The answer as the simulator gives it."""
        told = ANSWERS[self.answer.removesuffix("-after-accept")](Terms(self.retry_after_s, self.scope))
        return httpx.Response(told.status, content=told.content(), headers=told.headers)

    @property
    def symbol(self) -> Symbol:
        """What the rules go by, beside the status."""
        return _symbol(body_of(self.response))

    @property
    def fault(self) -> Fault | Literal["nobody"]:
        """Whose fault the rules say that it is."""
        if self.response.is_success:
            return "nobody"
        return _rule(self.response.status_code, self.symbol).fault

    @property
    def code(self) -> str:
        """Discord's code, or what stands for one."""
        body = body_of(self.response)
        if body is None:
            return "no JSON" if self.response.content else "no body"
        if self.answer == "invalid-version":
            return "50035, INVALID_VERSION"
        return str(body.get("code", "captcha_key"))

    @property
    def about(self) -> str:
        """The request, how often, and what the answer says of time."""
        after = ", after it was taken" if self.answer.endswith("-after-accept") else ""
        times = "" if self.times == 1 else f", {self.times} times"
        scope = "" if self.scope == "user" else f", {self.scope}"
        wait = "" if self.retry_after_s is None else f", Retry-After {self.retry_after_s:g}"
        return f"{self.on}{after}{times}{scope}{wait}"


def _asked(*names: str) -> tuple[Row, ...]:
    return tuple(Row(name) for name in names)


ROWS: tuple[Row, ...] = (
    *_asked("50035", "invalid-version"),
    Row("invalid-version", times=2),
    *_asked("captcha", "401", "40001", "40001-403", "40002", "40002-401"),
    *_asked("403", "50013", "50009", "10008-403", "40333"),
    *_asked("10003", "10004", "10008", "10063"),
    Row("10063", times=2),
    *_asked("50083", "50083-403", "200000", "240000"),
    *(Row("429", retry_after_s=1.5, scope=scope) for scope in ("user", "shared", "global")),
    *(Row(name, retry_after_s=1.5) for name in ("20016", "20028", "20029", "40062")),
    *_asked("1015", "403-page", "400-page"),
    Row("1015-page", retry_after_s=2),
    *_asked("500-after-accept", "500", "500-empty", "502", "130000", "503", "504", "520", "521", "522", "523", "524"),
    Row("captcha", on="user"),
    Row("401", on="user"),
    *(Row(name, on="user", times=2) for name in ("130000", "502")),
    Row("202", on="index", retry_after_s=1),
    *(Row(name, on="index") for name in ("403", "10004")),
    *(Row(name, on="list") for name in ("401", "403", "10003")),
    Row("1015", on="list", retry_after_s=1),
    Row("429", on="list", retry_after_s=1.5),
    *(Row(name, on="list", times=2) for name in ("500", "502", "503", "504", "520", "no-json")),
)
"""Every row of the page, in its order; then the same answers to readings, as far as they are treated otherwise."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a job and its account did, in the words of the table; ``sent``: submissions that reached Discord."""

    job: str
    account: str
    sent: int


def line_of(row: Row, effect: Effect) -> str:
    """A row of the table."""
    cells = (str(row.response.status_code), row.code, row.about, row.fault, effect.job, effect.account)
    return "| " + " | ".join((*cells, str(effect.sent))) + " |"
