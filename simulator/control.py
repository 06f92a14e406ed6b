"""``/sim``: what tests say to the fake behind Discord's back, and what the oracle says to them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.accounts import Account
from simulator.directives import DirectiveError, parse_directive
from simulator.snowflake import parse_snowflake

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.accounts import Accounts
    from simulator.bot import Bot
    from simulator.cdn import Cdn
    from simulator.channels import Channels
    from simulator.commands import CommandIndex
    from simulator.directives import DirectiveQueue
    from simulator.oracle import Oracle


class ControlError(Exception):
    """A control request that says something wrong; answered 400 with ``{"error": …}``."""


@dataclass(frozen=True, slots=True)
class Control:
    """The endpoints under ``/sim``; bodies and answers are JSON, and unknown fields are refused."""

    accounts: Accounts
    bot: Bot
    cdn: Cdn
    channels: Channels
    commands: CommandIndex
    oracle: Oracle
    queue: DirectiveQueue

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/next", self.direct_next, methods=["POST"]),
            Route("/accounts", self.declare_account, methods=["POST"]),
            Route("/reset", self.reset, methods=["POST"]),
            Route("/oracle", self.ask_oracle),
            Route("/healthz", self.check_health),
            Route("/versions/bump", self.bump_versions, methods=["POST"]),
            Route("/links/expire", self.expire_links, methods=["POST"]),
        ]

    async def direct_next(self, request: Request) -> Response:
        """Direct the next ``count`` submissions (of ``channel``, or of any) that carry no directive of their own."""
        body = await _fields(request, "directive", "count", "channel")
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
        body = await _fields(request, "token", "server", "channel", "max_jobs")
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

    async def reset(self, request: Request) -> Response:
        """Forget jobs, messages, files, counts and waiting directives; with ``{"accounts": true}`` accounts as well."""
        body = await _fields(request, "accounts")
        self.bot.clear()
        self.channels.clear()
        self.cdn.clear()
        self.queue.clear()
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


async def _fields(request: Request, *names: str) -> dict[str, Any]:
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


def _check_id(name: str, value: object) -> None:
    if not isinstance(value, str) or parse_snowflake(value) is None:
        raise ControlError(f"{name} must be a Discord id in a string, not {value!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
