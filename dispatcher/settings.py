"""Every setting with its default: arguments > environment (``DISPATCHER_*``) > file > default.

The file is TOML: ``--config`` > ``DISPATCHER_CONFIG`` > ``./dispatcher.toml``. ``config/dispatcher.toml`` lists every
setting with its default; a test keeps the two equal.
"""

from __future__ import annotations

import base64
import os
import re
import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import redis
from pydantic import Field, NonNegativeInt, PositiveInt, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from pydantic_settings import SettingsError as SourceError

from dispatcher.errors import SettingsError

STORAGES = ("file", "s3", "gs", "az", "abfs", "abfss")
READ_MAX_BYTES = 64 * 1024 * 1024
"""No larger file is ever read into memory."""
SECONDS_MAX = 366 * 86_400
KEEP_DAYS_MAX = 36_500

Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX)]
SomeSeconds = Annotated[float, Field(gt=0, le=SECONDS_MAX)]
"""Longer than none."""

CALLBACK_TIMEOUT_MAX_S = 45
"""Less than the minute after which a callback that nobody reports on is made again."""
WEBHOOK_SECRET = "whsec_"  # noqa: S105 (a prefix, not a secret)
WEBHOOK_SECRET_BYTES = range(24, 65)
"""Source: the Standard Webhooks specification, "Signature scheme"."""

NO_REDIS_URL = "is no redis://, rediss:// or unix:// URL; percent-encode the password"
CONFIG_VARIABLE = "DISPATCHER_CONFIG"
DEFAULT_CONFIG_FILE = "dispatcher.toml"


def default_state_dir() -> Path:
    """Where the embedded store, keys and results live when nothing else is said."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "pixverse-dispatcher"


class Settings(BaseSettings):
    """All settings, typed and frozen. Durations carry their unit in the name."""

    model_config = SettingsConfigDict(
        env_prefix="DISPATCHER_",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )

    # Where things are
    redis_url: str | None = Field(default=None, repr=False)  # it may hold a password
    namespace: str = "{pxd}"
    state_dir: Path = Field(default_factory=default_state_dir)
    secret_keys: SecretStr | None = None
    storage_url: str | None = None

    # Upstreams
    discord_api_url: str = "https://discord.com/api/v9"
    discord_application_id: str | None = None
    discord_session_id: str | None = None
    discord_commands: dict[str, str] = {
        "create": "create",
        "create_single": "create_single",
        "animate": "animate",
        "meme_face": "meme_face",
    }
    discord_options: dict[str, str] = {}
    discord_upload_hosts: list[str] = ["discord-attachments-uploads-prd.storage.googleapis.com"]
    upload_max_bytes: Annotated[int, Field(gt=0, le=READ_MAX_BYTES)] = 10_485_760
    discord_prompt_pattern: str = r"prompt:\s*(?P<prompt>.*)\s+style:"
    discord_prompt_patterns: dict[str, str] = {
        "animate": r"prompt:(?P<prompt>.*?)(?:\s+(?:seed|motion|hd): \S+)*\s*\)(?=\s*(?:$|[(A-Z]))",
        "meme_face": r"prompt:\s*(?P<prompt>.*)\s+aspect-ratio:",
    }
    discord_progress_pattern: str = r"(\d{1,3})\s?%"
    discord_moderated_pattern: str = (
        r"(?i)moderation|sensitive content|inappropriate|nsfw|content policy|violat\w+ .{0,40}(policy|guidelines|terms)"
    )
    discord_busy_pattern: str = (
        r"(?i)too many (jobs|tasks|requests)|concurren\w+ limit|maximum (number of|concurrent)|queue is full"
    )
    discord_failed_pattern: str = (
        r"(?i)generation failed|failed to (generate|create)|something went wrong|error occurred|try again"
    )
    egress: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "default"
    discord_pace_read_ms: NonNegativeInt = 250
    discord_pace_read_burst: PositiveInt = 10
    discord_pace_address_per_s: Annotated[float, Field(ge=0, le=1000)] = 0
    discord_invalid_max: Annotated[int, Field(ge=1, le=5000)] = 300
    observe: Literal["poll", "gateway"] = "poll"
    discord_gateway_hosts: list[str] = ["discord.gg"]
    discord_gateway_idle_s: SomeSeconds = 300
    discord_gateway_retry_s: SomeSeconds = 3600
    poll_min_s: SomeSeconds = 3
    poll_max_s: SomeSeconds = 30
    min_interval_ms: NonNegativeInt = 1000
    daily_cap: NonNegativeInt = 0
    start_timeout_s: SomeSeconds = 15
    no_progress_s: SomeSeconds = 600

    # Leases
    heartbeat_s: SomeSeconds = 5
    lease_ttl_s: SomeSeconds = 15
    sweep_s: SomeSeconds = 1
    learning_s: Seconds = 25
    hard_deadline_s: SomeSeconds = 1200
    hold_s: Seconds = 900
    max_wait_s: Seconds = 0
    cancel_frees_slot: Literal["upstream_end", "at_once"] = "upstream_end"

    # Jobs
    max_attempts: PositiveInt = 1
    capacity_requeues_max: NonNegativeInt = 20
    when_full: Literal["reject", "wait"] = "reject"
    submit_wait_s: SomeSeconds = 10
    cooling_first_s: SomeSeconds = 10
    cooling_max_s: SomeSeconds = 900
    suspicion_share_max: Annotated[float, Field(ge=0, le=1)] = 0.3
    jobs_keep_days: Annotated[float, Field(gt=0, le=KEEP_DAYS_MAX)] = 31

    # Callbacks
    callback_allowed_networks: list[str] = []
    callback_secret: SecretStr | None = None
    callback_progress: bool = False
    callback_retry_5xx: bool = False
    callback_timeout_s: Annotated[float, Field(gt=0, le=CALLBACK_TIMEOUT_MAX_S)] = 10

    @field_validator(
        "discord_prompt_pattern",
        "discord_progress_pattern",
        "discord_moderated_pattern",
        "discord_busy_pattern",
        "discord_failed_pattern",
    )
    @classmethod
    def _is_pattern(cls, value: str) -> str:
        """Refuse what is no regular expression when it is read, not when the bot first speaks."""
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return value

    @field_validator("discord_prompt_patterns")
    @classmethod
    def _are_patterns(cls, values: dict[str, str]) -> dict[str, str]:
        return {kind: cls._is_pattern(value) for kind, value in values.items()}

    @field_validator("discord_upload_hosts")
    @classmethod
    def _are_hosts(cls, values: list[str]) -> list[str]:
        """Refuse what no address could ever be equal to: a path, a port without a scheme."""
        for value in values:
            scheme, _, host = value.rpartition("://")
            if (
                scheme not in ("", "http", "https")
                or not host
                or set(host) & set("/?#@\\ ")
                or (":" in host and not scheme)
            ):
                raise ValueError("is a list of host names, or of origins such as http://127.0.0.1:9080")
        return values

    @field_validator("callback_allowed_networks")
    @classmethod
    def _are_networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value)
            except ValueError:
                raise ValueError(
                    'is a list of networks such as "10.1.0.0/16", without bits behind the prefix'
                ) from None
        return values

    @field_validator("callback_secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        """Refuse what no listener's library could verify with."""
        if value is None:
            return None
        prefix, _, key = value.get_secret_value().rpartition(WEBHOOK_SECRET)
        try:
            size = len(base64.b64decode(key, validate=True))
        except ValueError:
            size = 0
        if prefix or not value.get_secret_value().startswith(WEBHOOK_SECRET) or size not in WEBHOOK_SECRET_BYTES:
            raise ValueError("must be whsec_ and the base64 of 24 to 64 random bytes")
        return value

    @field_validator("storage_url")
    @classmethod
    def _is_storage_url(cls, value: str | None) -> str | None:
        if value and urlsplit(value).scheme not in STORAGES:
            raise ValueError(f"must begin with one of {', '.join(f'{scheme}://' for scheme in STORAGES)}")
        return value or None

    @property
    def storage(self) -> str:
        """Where files are kept: ``storage_url``, else a folder of the state directory."""
        return self.storage_url or (self.state_dir.absolute() / "results").as_uri()

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, value: str | None) -> str | None:
        """Refuse what redis-py would refuse at the first command, without a word of it: it may hold a password."""
        if not value:
            return None
        try:
            redis.ConnectionPool.from_url(value).make_connection()  # connects to nothing
            parts = urlsplit(value)
        except (ValueError, TypeError, redis.RedisError):
            raise ValueError(NO_REDIS_URL) from None
        # A bare / ? or # in the password ends the address early, and leaves its @ behind.
        if parts.scheme != "unix" and "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError(NO_REDIS_URL)
        return value

    @field_validator("namespace")
    @classmethod
    def _one_hash_tag(cls, value: str) -> str:
        """Keep all keys in one cluster slot, and in what RQ accepts as a prefix."""
        inner = value[1:-1]
        if not (value.startswith("{") and value.endswith("}") and inner and inner.replace("-", "_").isidentifier()):
            raise ValueError("must be one Redis hash tag such as {pxd}: letters, digits, _ and - inside braces")
        return value

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        """Refuse combinations in which an owner loses its lease while it renews, or a record ends before its slot."""
        if self.lease_ttl_s < 2 * self.heartbeat_s:
            raise ValueError("lease_ttl_s must be at least twice heartbeat_s, or one late renewal loses a lease")
        if self.cooling_max_s < self.cooling_first_s:
            raise ValueError("cooling_max_s must be at least cooling_first_s, where cooling begins")
        if 0 < self.learning_s < 2 * self.heartbeat_s:
            raise ValueError(
                "learning_s must be at least twice heartbeat_s (or 0, which is off), or owners are not heard"
            )
        if self.jobs_keep_days * 86_400 <= self.hard_deadline_s + self.hold_s:
            raise ValueError("jobs_keep_days must be longer than hard_deadline_s and hold_s together")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then the file."""
        del dotenv_settings, file_secret_settings
        toml_file = os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG_FILE
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=toml_file)


def load_settings(config: Path | None = None, **arguments: Any) -> Settings:
    """Read the settings; arguments that are None count as not given.

    Raises:
        SettingsError: a file that cannot be read, an unknown name, or a value out of range; the message names it
            (never its value: it may be a secret).
    """
    if config is not None:
        os.environ[CONFIG_VARIABLE] = str(config)
    named = os.environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        wrong = "is no file" if Path(named).exists() else "does not exist"
        raise SettingsError(f"The configuration file {named} {wrong}.")
    try:
        return Settings(**{name: value for name, value in arguments.items() if value is not None})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The configuration file is not valid TOML in UTF-8: {error}.") from error
    except OSError as error:
        raise SettingsError(f"The configuration file cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        problems = "; ".join(_told(problem) for problem in error.errors())
        raise SettingsError(f"Settings not acceptable: {problems}.") from None
    except SourceError as error:
        raise SettingsError(f"Settings not acceptable: {error}.") from None


def _told(problem: ErrorDetails) -> str:
    """Say one problem without the value. Our own words go on from the name, or name what they are about."""
    name, own_words = ".".join(map(str, problem["loc"])), "Value error, "
    if problem["msg"].startswith(own_words):
        return f"{name} {problem['msg'].removeprefix(own_words)}".lstrip()
    return f"{name}: {problem['msg']}" if name else problem["msg"]
