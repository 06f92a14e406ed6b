"""Puts the parts together: one world of channels, files, jobs and counts, and the routes into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount

from simulator.accounts import Accounts
from simulator.bot import Bot
from simulator.cdn import Cdn, Links
from simulator.channels import Channels
from simulator.clip import Clip
from simulator.commands import CommandIndex
from simulator.conditions import Conditions
from simulator.control import Control, ControlError
from simulator.directives import DirectiveQueue
from simulator.discord import Discord
from simulator.errors import DiscordError, plain
from simulator.files import Files
from simulator.gateway import Gateway, GatewayTerms
from simulator.gateway_control import GatewayControl
from simulator.interactions import Interactions
from simulator.journal import Journal
from simulator.oracle import Oracle
from simulator.sessions import Sessions
from simulator.snowflake import Snowflakes
from simulator.troubles import Troubles

if TYPE_CHECKING:
    from starlette.requests import Request

LINK_LIFE_S = 86_400.0


def build_app(base_url: str, *, strict: bool = False, link_life_s: float = LINK_LIFE_S) -> Starlette:
    """Build the fake.

    Args:
        base_url: where it will be reached, without a slash at the end; results are linked below it.
        strict: refuse tokens (401) and channels (404) that nobody declared.
        link_life_s: how long a signed link lives.
    """
    snowflakes, oracle, accounts, channels, queue = Snowflakes(), Oracle(), Accounts(), Channels(), DirectiveQueue()
    cdn = Cdn(Clip(), Links(base_url, link_life_s))
    commands = CommandIndex(snowflakes)
    conditions, troubles = Conditions(), Troubles()
    sessions, terms = Sessions(oracle.census), GatewayTerms()
    journal = Journal(sessions, accounts, cdn, snowflakes)
    channels.on_change = journal.note
    gateway = Gateway(base_url, accounts, oracle, sessions, terms, strict)
    bot = Bot(channels, cdn, oracle, snowflakes, journal)
    interactions = Interactions(commands, channels, conditions, accounts, cdn, oracle, bot, snowflakes, queue, strict)
    discord = Discord(accounts, cdn, channels, conditions, commands, interactions, oracle, troubles, strict)
    control = Control(accounts, bot, cdn, channels, conditions, commands, oracle, queue, troubles, sessions, terms)
    return Starlette(
        routes=[
            Mount("/api/v9", routes=[*discord.routes(), *gateway.routes()]),
            Mount("/api/v10", routes=[*discord.routes(), *gateway.routes()]),
            Mount("/sim/gateway", routes=GatewayControl(sessions, terms).routes()),
            Mount("/sim", routes=control.routes()),
            gateway.socket_route(),
            *Files(cdn, oracle).routes(),
        ],
        exception_handlers={
            DiscordError: _answer_refusal,
            ControlError: _answer_mistake,
            HTTPException: _answer_no_route,
        },
    )


async def _answer_refusal(_request: Request, refusal: Exception) -> Response:
    if not isinstance(refusal, DiscordError):
        raise refusal
    return Response(
        refusal.content(), status_code=refusal.status, headers=refusal.headers, media_type=refusal.media_type
    )


async def _answer_mistake(_request: Request, mistake: Exception) -> Response:
    return JSONResponse({"error": str(mistake)}, status_code=400)


async def _answer_no_route(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return await _answer_refusal(request, plain(error.status_code, 0, f"{error.status_code}: {error.detail}"))
