"""Discord's REST API as far as a user of a bot needs it: who am I, what can I call, what was said, files."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from simulator import errors
from simulator.accounts import user_id_of, user_json
from simulator.cdn import UPLOAD_MAX_BYTES
from simulator.channels import PAGE_DEFAULT, PAGE_MAX
from simulator.snowflake import parse_snowflake, timestamp_of

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request

    from simulator.accounts import Accounts
    from simulator.cdn import Cdn
    from simulator.channels import Channel, Channels, Message
    from simulator.commands import CommandIndex
    from simulator.conditions import Conditions
    from simulator.interactions import Interactions
    from simulator.oracle import Oracle
    from simulator.troubles import Troubles

_CREATED = timestamp_of(1_700_000_000_000)
_REFRESH_MAX = 50
_PRIVATE_THREAD = 12


@dataclass(frozen=True, slots=True)
class Discord:
    """The endpoints under ``/api/v9`` and ``/api/v10``. With ``strict``, only declared tokens and channels exist."""

    accounts: Accounts
    cdn: Cdn
    channels: Channels
    conditions: Conditions
    commands: CommandIndex
    interactions: Interactions
    oracle: Oracle
    troubles: Troubles
    strict: bool

    def routes(self) -> list[Route]:
        """Return the routes, the most used first."""
        return [
            Route("/channels/{channel}/messages", self.list_messages),
            Route("/interactions", self.interact, methods=["POST"]),
            Route("/channels/{channel}/messages/{message}", self.read_message),
            Route("/users/@me", self.read_user),
            Route("/guilds/{server}/application-command-index", self.read_commands),
            Route("/channels/{channel}/attachments", self.open_uploads, methods=["POST"]),
            Route("/channels/{channel}", self.read_channel),
            Route("/attachments/refresh-urls", self.refresh_links, methods=["POST"]),
        ]

    async def list_messages(self, request: Request) -> Response:
        """List up to ``limit`` (1 to 100, else 50035) messages, newest first, by one of after, before, around."""
        await self._enter(request, "messages")
        channel = self._channel(request)
        condition = self.conditions.of(request.path_params["channel"])
        if condition and (lag_s := condition.next_lag_s()):
            channel = channel.as_of(time.monotonic() - lag_s)
        page = _page(channel, request.query_params)
        content = b"[" + b",".join(message.rendered(self.cdn) for message in page) + b"]"
        if condition:
            content = condition.delivered(content if condition.has_history else b"[]")
        return _json_response(content)

    async def interact(self, request: Request) -> Response:
        """Take a slash command or a pressed button; 204 without a body means only that it was delivered."""
        token = await self._enter(request, "interactions")
        if _is_bot(request):
            raise errors.plain(403, 20001, "Bots cannot use this endpoint")
        return await self.interactions.take(request, token)

    async def read_message(self, request: Request) -> Response:
        """Read one message, which Discord lets only bots do."""
        await self._enter(request, "message")
        if not _is_bot(request):
            raise errors.plain(403, 20002, "Only bots can use this endpoint")
        message = self._channel(request).message(_id_in_path(request, "message"))
        if message is None:
            raise errors.unknown_message()
        return _json_response(message.rendered(self.cdn))

    async def read_user(self, request: Request) -> Response:
        """Say whose token it is."""
        token = await self._enter(request, "users")
        private = {"mfa_enabled": False, "locale": "en-US", "premium_type": 0, "email": None, "verified": True}
        return _answer({**user_json(user_id_of(token)), **private})

    async def read_commands(self, request: Request) -> Response:
        """Return the commands of a server."""
        await self._enter(request, "index")
        _id_in_path(request, "server")
        return _answer(self.commands.as_json())

    async def read_channel(self, request: Request) -> Response:
        """Describe a channel: a private thread, as the hosted service asks its users to make."""
        await self._enter(request, "channels")
        channel = self._channel(request)
        channel_id = request.path_params["channel"]
        condition = self.conditions.of(channel_id)
        last = channel.last_message_id
        described = {
            "id": channel_id,
            "type": _PRIVATE_THREAD,
            "flags": 0,
            "guild_id": self.accounts.server_of(channel_id),
            "parent_id": self.accounts.server_of(channel_id),
            "owner_id": self.accounts.server_of(channel_id),
            "name": f"pixverse-{channel_id[-4:]}",
            "last_message_id": str(last) if last else None,
            "message_count": 0,
            "member_count": 2,
            "total_message_sent": 0,
            "thread_metadata": {
                "archived": bool(condition and condition.is_archived),
                "archive_timestamp": _CREATED,
                "auto_archive_duration": 10_080,
                "locked": False,
                "create_timestamp": _CREATED,
                "invitable": False,
            },
        }
        return _answer(described)

    async def open_uploads(self, request: Request) -> Response:
        """Return, for each file that the user announces, where to PUT its bytes and its name in an interaction."""
        await self._enter(request, "attachments")
        self._channel(request)
        files = await _list_in(request, "files")
        opened = []
        for position, entry in enumerate(files):
            if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
                raise errors.required(f"files.{position}.filename")
            size_bytes = entry.get("file_size")
            if not isinstance(size_bytes, int):
                raise errors.required(f"files.{position}.file_size")
            if size_bytes > UPLOAD_MAX_BYTES:
                raise errors.plain(400, 40005, "Request entity too large")
            name = self.cdn.open_upload(entry["filename"].replace("/", "_"))
            number = int(entry["id"]) if str(entry.get("id", "")).isdigit() else position
            opened.append({"id": number, "upload_url": self.cdn.upload_url(name), "upload_filename": name})
        return _answer({"attachments": opened})

    async def refresh_links(self, request: Request) -> Response:
        """Sign up to 50 links to files anew; a link that is none of ours comes back as it was."""
        await self._enter(request, "refresh_urls")
        urls = await _list_in(request, "attachment_urls")
        if len(urls) > _REFRESH_MAX:
            raise errors.invalid_form("attachment_urls", "BASE_TYPE_MAX_LENGTH", "Must be 50 or fewer in length.")
        pairs = [{"original": url, "refreshed": self.cdn.refreshed(str(url)) or url} for url in urls]
        return _answer({"refreshed_urls": pairs})

    async def _enter(self, request: Request, kind: str) -> str:
        """Count a request and return its token; refuse it as controls say, without one, or (strict) an unknown one."""
        self.oracle.count_request(kind)
        try:
            await self.troubles.meet(kind, request.path_params.get("channel"))
        except errors.DiscordError as trouble:
            self.oracle.count_trouble(kind, trouble.kind)
            raise
        token = request.headers.get("authorization", "").removeprefix("Bot ")
        if not token or (self.strict and not self.accounts.knows_token(token)):
            raise errors.unauthorized()
        return token

    def _channel(self, request: Request) -> Channel:
        _id_in_path(request, "channel")
        channel_id: str = request.path_params["channel"]
        if self.strict and self.accounts.of_channel(channel_id) is None:
            raise errors.unknown_channel()
        return self.channels.get(channel_id)


def _page(channel: Channel, query: QueryParams) -> list[Message]:
    limit = _limit(query.get("limit"))
    cursors = [name for name in ("after", "before", "around") if name in query]
    if not cursors:
        return channel.newest(limit)
    cursor = cursors[0]
    if len(cursors) > 1:
        raise errors.invalid_form(cursors[1], "BASE_TYPE_MUTUALLY_EXCLUSIVE", f"May not be combined with {cursor}.")
    message_id = parse_snowflake(query[cursor])
    if message_id is None:
        raise errors.invalid_form(cursor, "NUMBER_TYPE_COERCE", f'Value "{query[cursor]}" is not snowflake.')
    if cursor == "after":
        return channel.after(message_id, limit)
    if cursor == "before":
        return channel.before(message_id, limit)
    return channel.around(message_id, limit)


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    try:
        limit = int(text)
    except ValueError:
        raise errors.invalid_form("limit", "NUMBER_TYPE_COERCE", f'Value "{text}" is not int.') from None
    if limit > PAGE_MAX:
        raise errors.invalid_form("limit", "NUMBER_TYPE_MAX", "int value should be less than or equal to 100.")
    if limit < 1:
        raise errors.invalid_form("limit", "NUMBER_TYPE_MIN", "int value should be greater than or equal to 1.")
    return limit


def _is_bot(request: Request) -> bool:
    return request.headers.get("authorization", "").startswith("Bot ")


def _id_in_path(request: Request, name: str) -> int:
    text = request.path_params[name]
    value = parse_snowflake(text)
    if value is None:
        raise errors.invalid_form(f"{name}_id", "NUMBER_TYPE_COERCE", f'Value "{text}" is not snowflake.')
    return value


async def _list_in(request: Request, field: str) -> list[Any]:
    try:
        body = await request.json()
    except ValueError:
        raise errors.plain(400, 50109, "The request body contains invalid JSON.") from None
    values = body.get(field) if isinstance(body, dict) else None
    if not isinstance(values, list) or not values:
        raise errors.required(field)
    return values


def _answer(body: dict[str, Any]) -> Response:
    return _json_response(json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())


def _json_response(content: bytes) -> Response:
    return Response(content, media_type="application/json")
