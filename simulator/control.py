"""``/sim``: what tests say to the fake behind Discord's back, and what the oracle says to them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.accounts import Account
from simulator.channels import LAG_MAX_S
from simulator.conditions import Condition
from simulator.directives import DirectiveError, parse_directive
from simulator.oracle import REQUEST_KINDS
from simulator.places import Crowded
from simulator.snowflake import parse_snowflake
from simulator.troubles import ANSWERS, Buckets, Scope, Terms

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.accounts import Accounts
    from simulator.bot import Bot
    from simulator.cdn import Cdn
    from simulator.channels import Channels
    from simulator.commands import CommandIndex
    from simulator.conditions import Conditions
    from simulator.directives import DirectiveQueue
    from simulator.gateway import GatewayTerms
    from simulator.oracle import Oracle
    from simulator.sessions import Sessions
    from simulator.troubles import Troubles


_KINDS = tuple(kind for kind in REQUEST_KINDS if kind not in {"uploads", "cdn"})
"""Requests to the API; the files are on other origins."""
_SECONDS_MAX = 86_400


class ControlError(Exception):
    """A control request that says something wrong; answered 400 with ``{"error": …}``."""


@dataclass(frozen=True, slots=True)
class Control:
    """The endpoints under ``/sim``; bodies and answers are JSON, and unknown fields are refused."""

    accounts: Accounts
    bot: Bot
    cdn: Cdn
    channels: Channels
    conditions: Conditions
    commands: CommandIndex
    oracle: Oracle
    queue: DirectiveQueue
    troubles: Troubles
    sessions: Sessions
    terms: GatewayTerms

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/next", self.direct_next, methods=["POST"]),
            Route("/accounts", self.declare_account, methods=["POST"]),
            Route("/answers", self.answer_next, methods=["POST"]),
            Route("/latency", self.delay, methods=["POST"]),
            Route("/channels", self.put_condition, methods=["POST"]),
            Route("/bot", self.rule_bot, methods=["POST"]),
            Route("/locale", self.translate, methods=["POST"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/oracle", self.ask_oracle),
            Route("/healthz", self.check_health),
            Route("/versions/bump", self.bump_versions, methods=["POST"]),
            Route("/links/expire", self.expire_links, methods=["POST"]),
        ]

    async def direct_next(self, request: Request) -> Response:
        """Direct the next ``count`` submissions (of ``channel``, or of any) that carry no directive of their own."""
        body = await fields(request, "directive", "count", "channel")
        count, channel_id = body.get("count", 1), body.get("channel")
        if not _is_whole(count) or count < 1:
            raise ControlError(f"count must be a whole number of at least 1, not {count!r}")
        if channel_id is not None:
            _check_id("channel", channel_id)
        try:
            directive = parse_directive(str(body.get("directive", "")))
        except DirectiveError as unknown:
            raise ControlError(str(unknown)) from unknown
        self.queue.add(directive, count=count, channel_id=channel_id)
        return JSONResponse({"waiting": len(self.queue)})

    async def declare_account(self, request: Request) -> Response:
        """Declare an account's limit, and for ``--strict`` its token; declaring it again replaces both at once."""
        body = await fields(request, "token", "server", "channel", "max_jobs")
        limit = body.get("max_jobs")
        if limit is not None and (not _is_whole(limit) or limit < 0):
            raise ControlError(f"max_jobs must be a whole number of at least 0, or null, not {limit!r}")
        for name in ("server", "channel"):
            _check_id(name, body.get(name))
        token = body.get("token")
        if not isinstance(token, str) or not token:
            raise ControlError("token must be a string that is not empty")
        self.accounts.declare(Account(token, server_id=body["server"], channel_id=body["channel"]))
        self.oracle.declare(body["channel"], limit)
        return Response(status_code=204)

    async def answer_next(self, request: Request) -> Response:
        """Answer ``count`` requests of a kind (about ``channel``, or about any) as a row of the table says."""
        names = ("kind", "answer", "count", "every", "channel", "retry_after", "scope", "buckets")
        body = await fields(request, *names)
        count, every, channel_id = body.get("count", 1), body.get("every", 1), body.get("channel")
        if count is not None and (not _is_whole(count) or count < 1):
            raise ControlError(f"count must be a whole number of at least 1, or null, not {count!r}")
        if not _is_whole(every) or every < 1:
            raise ControlError(f"every must be a whole number of at least 1, not {every!r}")
        if channel_id is not None:
            _check_id("channel", channel_id)
        answer = _choice(body, "answer", tuple(ANSWERS))
        wait_s = None if body.get("retry_after") is None else _seconds(body, "retry_after")
        terms = Terms(
            wait_s,
            scope=_choice({"scope": "user", **body}, "scope", get_args(Scope)),
            buckets=_choice({"buckets": "none", **body}, "buckets", get_args(Buckets)),
        )
        kind = _choice(body, "kind", _KINDS)
        self.troubles.add(kind, answer, terms, count=count, every=every, channel_id=channel_id)
        return Response(status_code=204)

    async def delay(self, request: Request) -> Response:
        """Let each answer of a kind of request come ``seconds`` later from now on."""
        body = await fields(request, "kind", "seconds")
        self.troubles.delay(_choice(body, "kind", _KINDS), _seconds(body, "seconds"))
        return Response(status_code=204)

    async def put_condition(self, request: Request) -> Response:
        """Put a channel into a condition; what is not said of it is well."""
        body = await fields(request, "channel", "history", "archived", "lag_s", "alternates", "repeats")
        _check_id("channel", body.get("channel"))
        lag_s, repeats = _seconds({"lag_s": 0, **body}, "lag_s"), body.get("repeats", 0)
        if lag_s > LAG_MAX_S:
            raise ControlError(f"lag_s must be at most {LAG_MAX_S:g}, not {lag_s:g}")
        if not _is_whole(repeats) or repeats < 0:
            raise ControlError(f"repeats must be a whole number of at least 0, not {repeats!r}")
        condition = Condition(
            has_history=bool(body.get("history", True)),
            is_archived=bool(body.get("archived", False)),
            lag_s=lag_s,
            alternates=bool(body.get("alternates", False)),
            repeats=repeats,
        )
        self.conditions.put(body["channel"], condition)
        return Response(status_code=204)

    async def rule_bot(self, request: Request) -> Response:
        """Let the bot run at most ``max_per_user`` jobs of a user at once (null: any number), and say what then."""
        body = await fields(request, "max_per_user", "crowded")
        most = body.get("max_per_user")
        if most is not None and (not _is_whole(most) or most < 0):
            raise ControlError(f"max_per_user must be a whole number of at least 0, or null, not {most!r}")
        self.bot.places.rule(most, _choice({"crowded": "queue", **body}, "crowded", get_args(Crowded)))
        return Response(status_code=204)

    async def translate(self, request: Request) -> Response:
        """Show the names of commands and options in a language from now on; null: in none."""
        locale = (await fields(request, "locale")).get("locale")
        if locale is not None and not (isinstance(locale, str) and locale.isalpha()):
            raise ControlError(f"locale must be letters, or null, not {locale!r}")
        self.commands.translate(locale)
        return Response(status_code=204)

    async def reset(self, request: Request) -> Response:
        """Forget jobs, messages, files, counts and what was asked for; with ``{"accounts": true}`` accounts as well."""
        body = await fields(request, "accounts")
        self.bot.clear()
        self.channels.clear()
        self.cdn.clear()
        self.queue.clear()
        self.troubles.clear()
        self.conditions.clear()
        self.commands.translate(None)
        self.sessions.reset()
        self.terms.reset()
        if body.get("accounts"):
            self.accounts.forget()
            self.oracle.forget_limits()
        self.oracle.reset()
        return Response(status_code=204)

    async def ask_oracle(self, request: Request) -> Response:
        """Return the verdict; without the list of jobs for ``?jobs=0``."""
        report = self.oracle.report(with_jobs=request.query_params.get("jobs") != "0")
        return Response(report, media_type="application/json")

    async def check_health(self, _request: Request) -> Response:
        """Say that the program serves."""
        return JSONResponse({"ok": True})

    async def bump_versions(self, _request: Request) -> Response:
        """Publish the bot's commands anew, so that every command index read before is outdated."""
        return JSONResponse({"version": self.commands.bump()})

    async def expire_links(self, _request: Request) -> Response:
        """Let every signed link that was given out until now expire."""
        self.cdn.links.expire()
        return Response(status_code=204)


async def fields(request: Request, *names: str) -> dict[str, Any]:
    """Return the body, an object with no other fields than these; no body is an empty one."""
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ControlError("the body must be a JSON object")
    unknown = sorted(body.keys() - set(names))
    if unknown:
        raise ControlError(f"unknown field {unknown[0]}; known: {', '.join(names)}")
    return body


def _choice(body: dict[str, Any], name: str, values: tuple[str, ...]) -> Any:
    value = body.get(name)
    if value not in values:
        raise ControlError(f"{name} must be one of {', '.join(values)}, not {value!r}")
    return value


def _seconds(body: dict[str, Any], name: str) -> float:
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _SECONDS_MAX:
        raise ControlError(f"{name} must be a number of seconds from 0 to {_SECONDS_MAX}, not {value!r}")
    return value


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or parse_snowflake(value) is None:
        raise ControlError(f"{name} must be a Discord id in a string, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
