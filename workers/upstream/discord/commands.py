"""Slash commands as a server offers them: which application's, and what may be filled in. Nothing is hard-coded.

Source: docs/upstream.md, "Commands".
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dispatcher.errors import AccountRejected, RequestRejected, UpstreamUnavailable
from dispatcher.requests import REQUESTS, Button
from dispatcher.settings import Settings
from workers.upstream.discord.memo import Memo
from workers.upstream.discord.refusals import NAME
from workers.upstream.discord.rest import Rest

CHAT_INPUT = 1


class _Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Choice(_Outside):
    """One allowed value of an option."""

    name: str
    value: str | int | float


class Option(_Outside):
    """What may be filled in; where a translation is shown, ``name_default`` is what the command knows."""

    type: int
    name: str
    name_default: str | None = None
    required: bool = False
    choices: tuple[Choice, ...] = ()
    min_value: float | None = None
    max_value: float | None = None
    max_length: int | None = None

    @property
    def own_name(self) -> str:
        """The name that is sent."""
        return self.name_default or self.name


class Command(_Outside):
    """A slash command of one application."""

    id: str
    application_id: str
    version: str
    name: str
    name_default: str | None = None
    type: int = CHAT_INPUT
    options: tuple[Option, ...] = ()

    @property
    def own_name(self) -> str:
        """The name that is sent, and that the bot's messages repeat."""
        return self.name_default or self.name


class _Index(_Outside):
    application_commands: tuple[Command, ...] = ()


Commands = dict[str, Command]
"""The bot's commands by their own name."""


class CommandBook:
    """The bot's commands in each server, read when first needed and again when Discord calls them outdated."""

    def __init__(self, settings: Settings, rest: Rest) -> None:
        self._application_id = settings.discord_application_id
        self._wanted = frozenset(settings.discord_commands.get(kind, kind) for kind in REQUESTS if kind != Button.kind)
        self._rest = rest
        self._memo: Memo[Commands] = Memo()

    async def read(self, token: str, guild: str) -> Commands:
        """Return the bot's commands in a server.

        Raises:
            AccountRejected: the server has no such bot, or several and no ``discord_application_id`` says which.
            UpstreamError: as ``Rest.command_index``.
        """
        return await self._memo.get(guild, lambda: self._fetch(token, guild))

    async def fresh(self, token: str, guild: str) -> Commands:
        """Return the commands as this account sees them now; raises as ``read``."""
        return await self._fetch(token, guild)

    def forget(self, guild: str, outdated: Commands) -> None:
        """Read the server's commands anew when they are next needed: these are not the latest."""
        self._memo.forget(guild, outdated)

    async def _fetch(self, token: str, guild: str) -> Commands:
        try:
            index = _Index.model_validate(await self._rest.command_index(token, guild))
        except ValidationError as error:
            raise UpstreamUnavailable(
                NAME, f"a command index in an unknown shape: {error.errors()[0]['msg']}"
            ) from None
        return choose(index.application_commands, application_id=self._application_id, wanted=self._wanted)


def choose(commands: tuple[Command, ...], *, application_id: str | None, wanted: frozenset[str]) -> Commands:
    """Pick the bot's commands: of the configured application, else of the only one that has all the wanted names.

    Raises:
        AccountRejected: there is none, or there are several: a guess could run a stranger's command.
    """
    by_application: dict[str, Commands] = {}
    for command in commands:
        if command.type == CHAT_INPUT:
            by_application.setdefault(command.application_id, {})[command.own_name] = command
    if application_id is not None:
        found = [application_id] if application_id in by_application else []
    else:
        found = [owner for owner, names in by_application.items() if wanted <= names.keys()]
    if not found:
        who = f"application {application_id}" if application_id else f"application with {', '.join(sorted(wanted))}"
        raise AccountRejected(NAME, f"the server has no {who}; is the PixVerse bot a member, and are names right?")
    if len(found) > 1:
        raise AccountRejected(NAME, f"applications {', '.join(found)} all look right; set discord_application_id")
    return by_application[found[0]]


def command_named(commands: Commands, name: str) -> Command:
    """Return one command.

    Raises:
        RequestRejected: the bot does not offer it (any more); no account of the bot can run it.
    """
    if name not in commands:
        raise RequestRejected(NAME, f"the bot offers no command {name}; see the setting discord_commands")
    return commands[name]


def filled_in(command: Command, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Fill a command's options in, in its order; what Discord would refuse is refused here, unsent.

    Args:
        command: as read from the index.
        values: by option name.

    Raises:
        RequestRejected: an option is unknown, missing or out of bounds.
    """
    known = {option.own_name: option for option in command.options}
    unknown = values.keys() - known.keys()
    if unknown:
        raise RequestRejected(NAME, f"/{command.own_name} has no option {min(unknown)}")
    missing = [name for name, option in known.items() if option.required and name not in values]
    if missing:
        raise RequestRejected(NAME, f"/{command.own_name} needs the option {missing[0]}")
    return [
        {"type": option.type, "name": name, "value": _value(option, values[name])}
        for name, option in known.items()
        if name in values
    ]


STRING, INTEGER, BOOLEAN, NUMBER, ATTACHMENT = 3, 4, 5, 10, 11


class AttachmentIndex(int):
    """The value of an option that is a file: its place among the command's attachments."""


def _value(option: Option, value: Any) -> str | float | bool:
    """Bring a value into the option's type and check its bounds."""
    if isinstance(value, AttachmentIndex):
        if option.type != ATTACHMENT:
            raise _wrong(option, "takes no file")
        return int(value)
    for choice in option.choices:
        if str(value) in (str(choice.value), choice.name):
            return choice.value
    if option.choices:
        raise _wrong(option, f"is not one of {', '.join(choice.name for choice in option.choices)}")
    if option.type == STRING:
        return _text(option, str(value))
    if option.type in (INTEGER, NUMBER):
        return _number(option, value)
    if option.type == BOOLEAN:
        return value in (True, "Yes", "yes", "true")
    raise _wrong(option, f"is of type {option.type}, which is not filled in here")


def _text(option: Option, text: str) -> str:
    if option.max_length is not None and len(text) > option.max_length:
        raise _wrong(option, f"is longer than {option.max_length} characters")
    return text


def _number(option: Option, value: Any) -> float:
    try:
        number = int(value) if option.type == INTEGER else float(value)
    except (TypeError, ValueError):
        raise _wrong(option, "is no number") from None
    if option.min_value is not None and number < option.min_value:
        raise _wrong(option, f"is below {option.min_value:g}")
    if option.max_value is not None and number > option.max_value:
        raise _wrong(option, f"is above {option.max_value:g}")
    return number


def _wrong(option: Option, problem: str) -> RequestRejected:
    return RequestRejected(NAME, f"option {option.own_name} {problem}")
