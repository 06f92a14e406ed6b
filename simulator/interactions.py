"""``POST /interactions``: a slash command or a pressed button, judged as Discord judges it, then given to the bot."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from simulator import errors
from simulator.accounts import user_id_of, user_json
from simulator.commands import PIXVERSE_ID
from simulator.directives import Directive, DirectiveError, DirectiveQueue, directive_in
from simulator.job import Job, Press
from simulator.messages import label_of
from simulator.snowflake import parse_snowflake
from simulator.troubles import ANSWERS, REFUSALS

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.accounts import Accounts
    from simulator.bot import Bot
    from simulator.cdn import Cdn
    from simulator.channels import Channels
    from simulator.commands import CommandIndex
    from simulator.conditions import Conditions
    from simulator.oracle import Oracle
    from simulator.snowflake import Snowflakes


@dataclass(frozen=True, slots=True)
class _Wish:
    """What an interaction asks for. ``directive`` is its own; ``fallback`` holds where nothing else directs it."""

    command: str
    options: dict[str, Any]
    directive: Directive | None = None
    fallback: Directive = field(default_factory=Directive)
    press: Press | None = None


@dataclass(frozen=True, slots=True)
class Interactions:
    """Takes interactions: validates, asks the directive what to pretend, and hands accepted jobs to the bot.

    ``queue`` holds directives for those without one; with ``strict`` only declared channels may be used.
    """

    commands: CommandIndex
    channels: Channels
    conditions: Conditions
    accounts: Accounts
    cdn: Cdn
    oracle: Oracle
    bot: Bot
    snowflakes: Snowflakes
    queue: DirectiveQueue
    strict: bool

    async def take(self, request: Request, token: str) -> Response:
        """Answer one interaction of the user with this token.

        Raises:
            DiscordError: it is refused; the oracle has counted it under its channel, if it named one.
        """
        channel_id = None
        try:
            payload, files = await _read(request)
            channel_id = _id_in(payload, "channel_id")
            job = self._judge(payload, files, channel_id, token)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody: who died while sending has submitted nothing
        except errors.DiscordError as refusal:
            self.oracle.refuse(channel_id, refusal.kind)
            raise
        if job is None:
            self.oracle.refuse(channel_id, "other-application")
            return Response(status_code=204)
        self.bot.accept(job)
        return await _answer(request, job.directive)

    def _judge(self, payload: dict[str, Any], files: frozenset[str], channel_id: str, token: str) -> Job | None:
        """Return the job that an interaction asks for; None when it asks the unrelated bot, which never answers."""
        server_id = _id_in(payload, "guild_id")
        application_id = _id_in(payload, "application_id")
        self._check_access(token, server_id, channel_id)
        condition = self.conditions.of(channel_id)
        if condition and condition.is_archived:
            raise errors.archived()
        data = payload.get("data")
        if not isinstance(data, dict):
            raise errors.required("data")
        if payload.get("type") == 2:  # noqa: PLR2004 - APPLICATION_COMMAND
            wish = self._command(application_id, data, files)
        elif payload.get("type") == 3:  # noqa: PLR2004 - MESSAGE_COMPONENT
            wish = self._press(payload, channel_id)
        else:
            raise errors.invalid_form("type", "BASE_TYPE_CHOICES", "Value must be one of {2, 3}.")
        if application_id != PIXVERSE_ID:
            return None
        directive = wish.directive or self.queue.take(channel_id) or wish.fallback
        if directive.submit in REFUSALS:
            raise ANSWERS[directive.submit](directive.terms)
        user = user_json(user_id_of(token))
        interaction_id = str(self.snowflakes.issue())
        nonce = payload.get("nonce")
        return Job(
            interaction_id,
            channel_id,
            server_id,
            user,
            wish.command,
            wish.options,
            directive,
            wish.press,
            nonce=None if nonce is None else str(nonce),
        )

    def _command(self, application_id: str, data: dict[str, Any], files: frozenset[str]) -> _Wish:
        command = self.commands.find(application_id, data.get("id"), data.get("name"))
        entries = [entry for entry in _list_in(data, "attachments") if isinstance(entry, dict)]
        uploaded = [entry for entry in entries if self.cdn.is_uploaded(entry.get("uploaded_filename"))]
        attached = files | {str(entry.get("id")) for entry in uploaded}
        _list_in(data, "options")
        options = command.judge(data, lambda value: str(value) in attached)
        return _Wish(command.name, options, directive=_own_directive(data, options))

    def _press(self, payload: dict[str, Any], channel_id: str) -> _Wish:
        message_id = int(_id_in(payload, "message_id"))
        message = self.channels.get(channel_id).message(message_id)
        if message is None:
            raise errors.unknown_message()
        label = label_of(message.body["components"], payload["data"].get("custom_id"))
        parent = self.bot.job_of(message_id)
        if label is None or parent is None or payload["application_id"] != message.body["author"]["id"]:
            raise errors.invalid_form("data.custom_id", "COMPONENT_VALIDATION_FAILED", "Component validation failed")
        again = directive_in(parent.prompt) or Directive()
        return _Wish(parent.command, parent.options, fallback=again, press=Press(label, message_id))

    def _check_access(self, token: str, server_id: str, channel_id: str) -> None:
        if not self.strict:
            return
        account = self.accounts.of_channel(channel_id)
        if account is None:
            raise errors.unknown_channel()
        if (account.token, account.server_id) != (token, server_id):
            raise errors.missing_access()


def _own_directive(data: dict[str, Any], options: dict[str, Any]) -> Directive | None:
    """Read the directive inside the prompt; one that is not understood refuses the interaction, by name."""
    try:
        return directive_in(str(options.get("prompt", "")))
    except DirectiveError as unknown:
        position = [option["name"] for option in data["options"]].index("prompt")
        raise errors.invalid_form(f"data.options.{position}.value", "SIM_DIRECTIVE", str(unknown)) from unknown


async def _answer(request: Request, directive: Directive) -> Response:
    """Answer an accepted interaction: 204, or as ambiguously as told."""
    if directive.submit == "500-after-accept":
        raise errors.server_error()
    if directive.submit == "hang-after-accept":
        while (await request.receive())["type"] != "http.disconnect":
            pass
    return Response(status_code=204)


async def _read(request: Request) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the payload and the numbers of the files that came along (parts ``files[0]``, ``files[1]``, …)."""
    text: object = await request.body()
    files: frozenset[str] = frozenset()
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        form = await request.form()
        text = form.get("payload_json", "")
        parts = ((name, part) for name, part in form.items() if isinstance(part, UploadFile))
        files = frozenset(name.removeprefix("files[").removesuffix("]") for name, part in parts if part.size)
    try:
        payload = json.loads(text) if isinstance(text, str | bytes) else None
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise errors.plain(400, 50109, "The request body contains invalid JSON.")
    return payload, files


def _list_in(data: dict[str, Any], field: str) -> list[Any]:
    values = data.get(field) or []
    if not isinstance(values, list):
        raise errors.invalid_form(f"data.{field}", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
    return values


def _id_in(payload: dict[str, Any], field: str) -> str:
    value = payload.get(field)
    if value is None:
        raise errors.required(field)
    if not isinstance(value, str) or parse_snowflake(value) is None:
        raise errors.invalid_form(field, "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
    return value
