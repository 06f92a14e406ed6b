"""What an account needs to be registered, checked in the contract's order and refused in its words.

Source: contract §2.3; for JSON numbers, docs/http-api.md, "Numbers".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

from dispatcher.errors import RequestInvalid
from dispatcher.requests import MAX_JOBS
from dispatcher.secrets import MASKED, mask

SHOWN_CHARACTERS = 40
"""Of a value that is quoted in a message: an id has 20 at most."""
SECRET_CHARACTERS = 16
"""So many of a secret's first characters, found in another field, are masked; fewer could be met by chance."""

_CHANNEL_ID = re.compile(r"[0-9]{17,20}")
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_API_TOKEN = re.compile(
    r"(?P<job>job:[0-9]{17}[A-Z2-7]*-user:[0-9]+-channel:[A-Za-z0-9_-]{1,64}-bot:[a-z0-9_]+(?![\x21-\x7e]))"
    r"|(?P<user>user:[0-9]+)-[\x21-\x7e]*"
)
"""A job's id on the wire names its user too; it is told apart only where it is whole."""
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class NumberAsSent:
    """A JSON number in the client's own digits, so that a message can show it unrounded."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Registration:
    """An account as its owner gives it, every rule kept; ``max_jobs`` is 1…10."""

    channel: str
    server: str
    secret: SecretStr
    max_jobs: int


def is_channel_id(text: str) -> bool:
    """Say whether the text looks like a Discord id: 17 to 20 digits.

    Source: https://docs.discord.com/developers/reference#snowflakes.
    """
    return _CHANNEL_ID.fullmatch(text) is not None


def read_registration(given: Mapping[str, Any], *, channel: str) -> Registration:
    """Check ``discord``, ``server``, ``channel`` and ``maxJobs``, in this order.

    Args:
        given: the fields as they came; JSON numbers as :class:`NumberAsSent`, int or float.
        channel: the channel that the caller addressed.

    Raises:
        RequestInvalid: the first rule that fails, in the contract's words; no message shows the Discord token.
    """
    secret = _secret(given.get("discord"), "discord")
    for name in ("server", "channel"):
        if _is_empty(given.get(name)):
            raise RequestInvalid(name, f"Required param {name} is missing or empty")
    server, named = given["server"], given["channel"]
    # An id that came as a number is refused whatever its digits: JavaScript has rounded it.
    if not isinstance(server, str) or not isinstance(named, str) or not is_channel_id(named):
        shown = _shown(named, secret)
        raise RequestInvalid("channel", f"Required param channel ({shown}) is not valid Discord channel id")
    if named != channel:
        path = f"/pixverse/account/{_shown(channel, secret)}"
        raise RequestInvalid("channel", f"Required param channel ({named}) not matching to {path}")
    max_jobs = _max_jobs(given.get("maxJobs"), secret)
    return Registration(channel=named, server=server.strip(), secret=secret, max_jobs=max_jobs)


def read_named(given: Mapping[str, Any], *, channel: str) -> Registration:
    """Check an account of another upstream than Discord: ``channel`` is its name, ``secret`` what opens it.

    Args:
        given: the fields as they came.
        channel: the name that the caller addressed.

    Raises:
        RequestInvalid: the first rule that fails; no message shows the secret.
    """
    secret = _secret(given.get("secret"), "secret")
    if not _ACCOUNT_NAME.fullmatch(channel):
        shown = _shown(channel, secret)
        raise RequestInvalid("channel", f"Account name {shown} is not 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
    return Registration(channel=channel, server="", secret=secret, max_jobs=_max_jobs(given.get("maxJobs"), secret))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _secret(value: Any, field: str) -> SecretStr:
    text = value.strip() if isinstance(value, str) else ""
    if not text:
        raise RequestInvalid(field, f"Required param {field} is missing or empty")
    # It travels in an HTTP header; a line break or an umlaut would only fail later, in a worker.
    if not _HEADER_SAFE.fullmatch(text):
        raise RequestInvalid(field, f"Param {field} value is not supported")
    return SecretStr(text)


def read_max_jobs(value: Any) -> int | None:
    """Read the ``maxJobs`` of a request, which may be absent.

    Raises:
        RequestInvalid: it is no whole number of 1 to 10, in the contract's words.
    """
    return None if _is_empty(value) else _max_jobs(value, SecretStr(""))


def check_channel_id(value: Any) -> str:
    """Return the id of a Discord channel.

    Raises:
        RequestInvalid: it has not the form of one, or came as a number, which JavaScript has rounded.
    """
    if not isinstance(value, str) or not is_channel_id(value):
        shown = _shown(value, SecretStr(""))
        raise RequestInvalid("channel", f"Required param channel ({shown}) is not valid Discord channel id")
    return value


def _max_jobs(value: Any, secret: SecretStr) -> int:
    number = _number(value)
    if number is not None and number > MAX_JOBS:
        shown = _shown(value, secret)
        raise RequestInvalid("maxJobs", f"Required param maxJobs {shown} can't be more that {MAX_JOBS}")
    if number is None or number < 1 or not float(number).is_integer():
        raise RequestInvalid("maxJobs", "Required param maxJobs is missing or empty")
    return int(number)


def _number(value: Any) -> float | None:
    """Read a number, or a text of one; None if it is neither (``true`` is no number here)."""
    match value:
        case bool():
            return None
        case int() | float():
            return None if math.isnan(value) else value
        case NumberAsSent():
            return float(value.text)
        case str() if _NUMBER.fullmatch(value):
            return float(value)
        case _:
            return None


def _shown(value: Any, secret: SecretStr) -> str:
    """Show a value as it was sent: no list's or object's inside, no secret and no start of one, 40 characters."""
    match value:
        case list():
            return "[…]"
        case dict():
            return "{…}"
        case bool():
            return str(value).lower()
    # Masked before it is cut: of a secret that the cut goes through, too little would be left to know it by.
    text = _without(secret, without_api_tokens(str(value)))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def without_api_tokens(text: str) -> str:
    """Mask whatever has the form of an API token, anyone's, whole or its start."""
    return _API_TOKEN.sub(lambda found: found["job"] or f"{found['user']}-{MASKED}", text)


def _without(secret: SecretStr, text: str) -> str:
    """Mask the secret, and any start of it that is long enough to be no chance."""
    plain = secret.get_secret_value()
    start = plain[:SECRET_CHARACTERS]
    if len(start) < SECRET_CHARACTERS:
        return text
    kept, *found = text.split(start)
    rest = plain[SECRET_CHARACTERS:]
    return kept + "".join(mask(secret) + after[_shared(after, rest) :] for after in found)


def _shared(one: str, other: str) -> int:
    """Count the characters with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
