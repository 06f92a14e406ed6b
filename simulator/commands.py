"""Slash commands: the index of a server, and the judgement of what a user fills in.

Option names are those of the hosted service's parameters; what the live bot calls them is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from simulator.errors import DiscordError, invalid_form, invalid_version, required, unknown_command
from simulator.snowflake import derived_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.snowflake import Snowflakes

PIXVERSE_ID = derived_id("application:pixverse")
DECOY_ID = derived_id("application:decoy")

STRING = 3
INTEGER = 4
ATTACHMENT = 11

_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")
_STYLES = ("Realistic", "Anime", "3D Animation")
_PROMPT_MAX = 512
_SEED_MAX = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command; ``limits`` are its inclusive least and greatest value."""

    name: str
    type: int
    is_required: bool = False
    choices: tuple[str, ...] = ()
    max_length: int | None = None
    limits: tuple[int, int] | None = None

    def as_json(self) -> dict[str, Any]:
        """Describe the option as the command index does."""
        described: dict[str, Any] = {"type": self.type, "name": self.name, "description": self.name.replace("_", " ")}
        if self.is_required:
            described["required"] = True
        if self.choices:
            described["choices"] = [{"name": choice, "value": choice} for choice in self.choices]
        if self.max_length:
            described["max_length"] = self.max_length
        if self.limits:
            described["min_value"], described["max_value"] = self.limits
        return described

    def judge(self, value: object, path: str) -> None:
        """Refuse a value that the option does not allow (attachments are judged by whoever has them).

        Raises:
            DiscordError: 50035, naming the field.
        """
        if self.type == STRING:
            self._judge_text(value, path)
        elif self.type == INTEGER:
            self._judge_number(value, path)

    def _judge_text(self, value: object, path: str) -> None:
        if not isinstance(value, str):
            raise invalid_form(path, "STRING_TYPE_CONVERT", f"Could not interpret {value!r} as string.")
        if self.is_required and not value:
            raise required(path)
        if self.max_length and len(value) > self.max_length:
            raise invalid_form(path, "BASE_TYPE_MAX_LENGTH", f"Must be {self.max_length} or fewer in length.")
        if self.choices and value not in self.choices:
            raise invalid_form(path, "BASE_TYPE_CHOICES", f"Value must be one of {self.choices}.")

    def _judge_number(self, value: object, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise invalid_form(path, "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
        least, greatest = self.limits or (value, value)
        if value < least:
            raise invalid_form(path, "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {least}.")
        if value > greatest:
            raise invalid_form(path, "NUMBER_TYPE_MAX", f"int value should be less than or equal to {greatest}.")


@dataclass(slots=True)
class Command:
    """A slash command; its version changes whenever its owner publishes it again."""

    application_id: str
    name: str
    options: tuple[Option, ...]
    version: str

    @property
    def id(self) -> str:
        """The command's id, the same in every run."""
        return derived_id(f"command:{self.application_id}:{self.name}")

    def as_json(self) -> dict[str, Any]:
        """Describe the command as the command index does."""
        return {
            "id": self.id,
            "application_id": self.application_id,
            "version": self.version,
            "default_member_permissions": None,
            "type": 1,
            "name": self.name,
            "description": f"Run {self.name}",
            "dm_permission": False,
            "contexts": [0],
            "integration_types": [0],
            "options": [option.as_json() for option in self.options],
            "nsfw": False,
        }

    def judge(self, data: dict[str, Any], is_attached: Callable[[object], bool]) -> dict[str, Any]:
        """Return the filled-in options by name.

        Args:
            data: the interaction's ``data``.
            is_attached: says whether an attachment option's value names a file that came along.

        Raises:
            DiscordError: an outdated version, or 50035 for an option that is unknown, missing or badly filled in.
        """
        if data.get("version") != self.version:
            raise invalid_version()
        known = {option.name: option for option in self.options}
        values: dict[str, Any] = {}
        for position, given in enumerate(data.get("options") or []):
            path = f"data.options.{position}"
            option = known.get(str(given.get("name"))) if isinstance(given, dict) else None
            if option is None or option.type != given.get("type") or option.name in values:
                raise invalid_form(f"{path}.name", "APPLICATION_COMMAND_OPTION_UNKNOWN", "Unknown option for command")
            value = given.get("value")
            option.judge(value, f"{path}.value")
            if option.type == ATTACHMENT and not is_attached(value):
                raise invalid_form(f"{path}.value", "APPLICATION_COMMAND_ATTACHMENT_MISSING", "No such attachment")
            values[option.name] = value
        for option in self.options:
            if option.is_required and option.name not in values:
                raise _missing(option, len(values))
        return values


def _missing(option: Option, position: int) -> DiscordError:
    code, message = "APPLICATION_COMMAND_OPTION_MISSING", f"Required option {option.name} is missing"
    return invalid_form(f"data.options.{position}", code, message)


class CommandIndex:
    """The commands of a server: PixVerse's, and those of an unrelated bot with some of the same names."""

    def __init__(self, snowflakes: Snowflakes) -> None:
        self._snowflakes = snowflakes
        self._locale: str | None = None
        version = self._version = str(snowflakes.issue())
        prompt = Option("prompt", STRING, is_required=True, max_length=_PROMPT_MAX)
        anything = Option("prompt", STRING, is_required=True)
        commands = [Command(PIXVERSE_ID, name, options, version) for name, options in _pixverse(prompt).items()]
        commands += [Command(DECOY_ID, name, (anything,), version) for name in ("create", "imagine", "animate")]
        self._commands = {command.id: command for command in commands}

    def bump(self) -> str:
        """Publish PixVerse's commands again, so that every older version is outdated, and return the new version."""
        self._version = str(self._snowflakes.issue())
        for command in self._commands.values():
            if command.application_id == PIXVERSE_ID:
                command.version = self._version
        return self._version

    def translate(self, locale: str | None) -> None:
        """Show the names of commands and options in a language from now on (None: as their bots gave them)."""
        self._locale = locale

    def find(self, application_id: str, command_id: object, name: object) -> Command:
        """Return a command.

        Raises:
            DiscordError: 10063, the application has no such command.
        """
        command = self._commands.get(command_id) if isinstance(command_id, str) else None
        if command is None or command.application_id != application_id or command.name != name:
            raise unknown_command()
        return command

    def as_json(self) -> dict[str, Any]:
        """Describe the index as ``GET /guilds/{id}/application-command-index`` does."""
        return {
            "applications": [_application(PIXVERSE_ID, "PixVerse"), _application(DECOY_ID, "Painter")],
            "application_commands": [
                _translated(command.as_json(), self._locale) for command in self._commands.values()
            ],
            "version": self._version,
        }


def _translated(described: dict[str, Any], locale: str | None) -> dict[str, Any]:
    """Name a command, its options and their choices in a language; ``name_default`` keeps the bot's own name."""
    if locale is None:
        return described
    lists: dict[str, Any] = {
        key: [_translated(entry, locale) for entry in described[key]]
        for key in ("options", "choices")
        if key in described
    }
    return {**described, **lists, "name": f"{described['name']}-{locale}", "name_default": described["name"]}


def _application(application_id: str, name: str) -> dict[str, Any]:
    return {
        "id": application_id,
        "name": name,
        "description": "",
        "icon": None,
        "bot_id": application_id,
        "flags": 0,
        "bot": {"id": application_id, "username": name, "discriminator": "0000", "avatar": None, "bot": True},
    }


def _pixverse(prompt: Option) -> dict[str, tuple[Option, ...]]:
    style = Option("style", STRING, is_required=True, choices=_STYLES)
    negative = Option("negative_prompt", STRING, max_length=_PROMPT_MAX)
    ratio = Option("aspect_ratio", STRING, choices=_RATIOS)
    character = Option("character", STRING)
    seed = Option("seed_value", INTEGER, limits=(0, _SEED_MAX))
    image = Option("image", ATTACHMENT, is_required=True)
    face = Option("face", ATTACHMENT, is_required=True)
    wish = Option("prompt", STRING, max_length=_PROMPT_MAX)
    motion = Option("motion", INTEGER, limits=(1, 10))
    quality = Option("hd_quality", STRING, choices=("Yes", "No"))
    return {
        "create": (prompt, style, negative, ratio, character),
        "create_single": (prompt, style, negative, ratio, character, seed),
        "animate": (image, wish, motion, seed, quality),
        "meme_face": (face, prompt, negative, seed, ratio),
    }
