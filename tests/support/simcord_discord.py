"""A Discord that we did not write, over HTTP: simcord's world, with a bot of ours in it, served to a user's client.

``python -m tests.support.simcord_discord`` announces ``{"url": …}`` in a line and serves until SIGTERM. What it answers
to Discord's paths is simcord's, but for what simcord has not: whose a token is, the command index around simcord's
commands (whose ``version`` is ours, and ``/versions/bump`` a newer one), uploads, and the header ``Date``, which tells
simcord's own clock. ``/world`` makes a server with a channel and a user; ``/plans`` tells the bot how the next commands
go; ``/records`` tells what it has seen. Where simcord differs from Discord: docs/upstream.md, "Checked by others".
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import format_datetime
from typing import Any

import discord
import simcord
import uvicorn
from simcord.backend import serializers
from simcord.backend.errors import BackendError, OptionError, SetupError
from simcord.http import router
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.simcord_bot import PixVerse, Plan

ATTACHMENT = 11


class Face:
    """The endpoints; one request at a time reaches simcord, whose clock is first moved on by what has passed."""

    def __init__(self, env: simcord.Env, bot: PixVerse, url: str) -> None:
        self._env = env
        self._bot = bot
        self._url = url
        self._turn = asyncio.Lock()
        self._told_s = time.monotonic()
        self._version = 1
        self._members: dict[str, Any] = {}
        self._guilds: dict[str, Any] = {}
        self._uploads: dict[str, bytes | None] = {}
        self._pressed: dict[str, str] = {}
        self._pending: set[asyncio.Task[None]] = set()

    def routes(self) -> list[Route]:
        api = "/api/v9"
        return [
            Route("/world", self._guarded(self.make_world), methods=["POST"]),
            Route("/plans", self._guarded(self.plan), methods=["POST"]),
            Route("/versions/bump", self._guarded(self.bump), methods=["POST"]),
            Route("/records", self._guarded(self.tell_records)),
            Route(f"{api}/users/@me", self._guarded(self.read_user)),
            Route(f"{api}/guilds/{{guild:int}}/application-command-index", self._guarded(self.read_index)),
            Route(f"{api}/channels/{{channel:int}}/messages", self._guarded(self.list_messages)),
            Route(f"{api}/channels/{{channel:int}}/attachments", self._guarded(self.open_uploads), methods=["POST"]),
            Route(f"{api}/channels/{{channel:int}}", self._guarded(self.read_channel)),
            Route(f"{api}/interactions", self._guarded(self.interact), methods=["POST"]),
            Route("/uploads/{name}", self._guarded(self.upload), methods=["PUT"]),
        ]

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            async with self._turn:
                await self._move_on()
                try:
                    response = await answer(request)
                except BackendError as refusal:
                    response = JSONResponse(refusal.to_json(), status_code=refusal.status)
                except (OptionError, SetupError) as refusal:
                    response = JSONResponse(_bad_form(refusal), status_code=400)
                response.headers["date"] = format_datetime(self._env.now(), usegmt=True)
                return response

        return guarded

    async def _move_on(self) -> None:
        now_s = time.monotonic()
        elapsed_s, self._told_s = now_s - self._told_s, now_s
        await self._env.advance_time(elapsed_s)

    async def make_world(self, request: Request) -> Response:
        server = (await request.json()).get("server")
        guild = self._guilds[server] if server else self._env.create_guild()
        self._guilds[str(guild.id)] = guild
        user = self._env.create_user(f"player{len(self._members)}")
        member = guild.add_member(user)
        channel = guild.channels.get("pixverse") or guild.create_text_channel("pixverse")
        await member.send(channel, "hello")  # an empty list would look like a missing permission
        token = secrets.token_hex(12)
        self._members[token] = member
        return JSONResponse({"token": token, "server": str(guild.id), "channel": str(channel.id), "user": str(user.id)})

    async def plan(self, request: Request) -> Response:
        body = await request.json()
        self._bot.plans[body["channel"]].extend(Plan(**plan) for plan in body["plans"])
        return Response(status_code=204)

    async def bump(self, _request: Request) -> Response:
        self._version += 1
        return Response(status_code=204)

    async def tell_records(self, _request: Request) -> Response:
        shown = [
            {
                "interaction": record.interaction,
                "channel": record.channel,
                "command": record.command,
                "prompt": record.options.get("prompt"),
                "files": record.files,
                "uploads": record.uploads,
            }
            for record in self._bot.records
        ]
        return JSONResponse(shown)

    async def read_user(self, request: Request) -> Response:
        return JSONResponse(dict(serializers.user_payload(self._env.backend.get_user(self._member(request).id))))

    async def read_index(self, request: Request) -> Response:
        member = self._member(request)
        guild = self._env.backend.get_guild(request.path_params["guild"])
        if member.id not in guild.members:
            raise BackendError(403, 50001, "Missing Access")
        channel_id = next(id_ for id_, channel in self._env.backend.channels.items() if channel.guild_id == guild.id)
        commands = self._env.backend.visible_commands(user_id=member.id, channel_id=channel_id)
        shown = [{**command, "version": str(self._version)} for command in commands]
        return JSONResponse({"applications": [], "application_commands": shown, "version": str(self._version)})

    async def list_messages(self, request: Request) -> Response:
        self._member(request)
        path = f"/channels/{request.path_params['channel']}/messages"
        page = router.dispatch(self._env.backend, "GET", path, params=dict(request.query_params))
        return JSONResponse([self._with_pressed(message) for message in page])

    def _with_pressed(self, message: dict[str, Any]) -> dict[str, Any]:
        """Name the pressed message in what answers a press, as Discord must and simcord does not."""
        answered = message.get("interaction_metadata")
        pressed = self._pressed.get(answered["id"]) if answered else None
        if answered is None or pressed is None:
            return message
        return {**message, "interaction_metadata": {**answered, "interacted_message_id": pressed}}

    async def read_channel(self, request: Request) -> Response:
        self._member(request)
        path = f"/channels/{request.path_params['channel']}"
        return JSONResponse(router.dispatch(self._env.backend, "GET", path))

    async def open_uploads(self, request: Request) -> Response:
        self._member(request)
        opened = []
        for file in (await request.json())["files"]:
            name = f"{secrets.token_hex(8)}-{file['filename']}"
            self._uploads[name] = None
            opened.append({"id": file["id"], "upload_url": f"{self._url}/uploads/{name}", "upload_filename": name})
        return JSONResponse({"attachments": opened})

    async def upload(self, request: Request) -> Response:
        self._uploads[request.path_params["name"]] = await request.body()
        return Response()

    async def interact(self, request: Request) -> Response:
        member, body = self._member(request), await request.json()
        data, channel_id = body["data"], int(body["channel_id"])
        self._env.backend.get_channel(channel_id)
        channel = next(c for c in member.guild.channels.values() if c.id == channel_id)
        if body["type"] == 2:
            known = self._env.backend.find_command(data["name"], int(body["guild_id"]))
            if known is None or known["id"] != data["id"]:
                raise BackendError(404, 10063, "Unknown application command")
            if data["version"] != str(self._version):
                raise BackendError(400, 50035, "Invalid Form Body", errors=_OUTDATED)
            await member.slash(channel, data["name"], **self._options(data))
        else:
            message = self._env.backend.get_message(channel_id, int(body["message_id"]))
            shown = next(m for m in channel.history() if m.id == message.id)
            await member.click(shown, custom_id=data["custom_id"])
            self._pressed[self._bot.records[-1].interaction] = body["message_id"]
        return Response(status_code=204)

    def _options(self, data: dict[str, Any]) -> dict[str, Any]:
        files = {str(file["id"]): file for file in data.get("attachments") or ()}
        options: dict[str, Any] = {}
        for option in data.get("options") or ():
            value = option["value"]
            if option["type"] == ATTACHMENT:
                file = files[str(value)]
                value = (file["filename"], self._uploads[file["uploaded_filename"]] or b"")
            options[option["name"]] = value
        return options

    def _member(self, request: Request) -> Any:
        member = self._members.get(request.headers.get("authorization", ""))
        if member is None:
            raise BackendError(401, 0, "401: Unauthorized")
        return member

    async def end_jobs(self) -> None:
        """Work the bot's queue: each job ends when its time has come."""
        while True:
            job = await self._bot.waiting.get()
            task = asyncio.create_task(self._end(*job))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def _end(self, interaction: discord.Interaction, record: Any, plan: Plan) -> None:
        await asyncio.sleep(plan.seconds)
        async with self._turn:
            await self._move_on()
            with self._env.time_context():
                await self._bot.end(interaction, record, plan)


_OUTDATED = {"data": {"_errors": [{"code": "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION", "message": "old"}]}}


def _bad_form(refusal: Exception) -> dict[str, Any]:
    fault = {"code": getattr(refusal, "code", "BASE_TYPE_BAD"), "message": str(refusal)}
    return {"code": 50035, "message": "Invalid Form Body", "errors": {"data": {"_errors": [fault]}}}


@asynccontextmanager
async def world(bot: PixVerse) -> AsyncIterator[simcord.Env]:
    """The bot in simcord's world, its commands synchronised."""
    async with simcord.run(bot, strict_sync=False) as env:
        yield env


async def main() -> None:
    """Serve until a signal."""
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    bot = PixVerse()
    async with world(bot) as env:
        face = Face(env, bot, url)
        ending = asyncio.create_task(face.end_jobs())
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=face.routes()), log_level="error", date_header=False))
        print(json.dumps({"url": url}), flush=True)  # noqa: T201 - the announcement
        await server.serve(sockets=[listening])
        ending.cancel()


if __name__ == "__main__":
    asyncio.run(main())
