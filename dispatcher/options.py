"""What a caller may say beside a request: how a job is accepted, which jobs are listed. All is checked here, once.

Whatever passes can be stored and read again: a wrong value is refused before anything reaches the store.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from dispatcher.errors import RequestInvalid
from dispatcher.models import Status
from dispatcher.reply_url import check_reply_url
from dispatcher.requests import DISCORD, REQUESTS, Request
from dispatcher.uploads import too_large

if TYPE_CHECKING:  # a caller without guests shall not wait for a library of ciphers
    from dispatcher.guests import Guest

USER_MAX = 2**53 - 1
"""The largest whole number that Lua and JSON keep exactly."""
PRIORITY_MAX = 100
DEADLINE_MAX_S = 366 * 86_400
CHANNEL_CHARACTERS = 64
KEY_CHARACTERS = 255
REPLY_CHARACTERS = 1024
"""Source: contract, "replyRef"."""
LIST_MAX = 10_000
"""Jobs that one call lists at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a job is accepted, beside what it asks for.

    Raises:
        RequestInvalid: a value is not acceptable; ``field`` names it.
    """

    user: int = 1
    idempotency_key: str | None = None
    priority: int = 0
    channel: str | None = None
    deadline_s: float | None = None
    reply_url: str | None = None
    reply_ref: str | None = None
    mode: Literal["wait", "refuse"] = "wait"
    held_s: float = 0.0
    """How long the caller's answer may be held: until then a job that is refused ends, see ``lua/_held.lua``."""
    guest: Guest | None = None
    """A token of the job's own; it pins the job to the guest's channel."""
    retry_of: str | None = None
    """The ended job whose request this one repeats."""

    def __post_init__(self) -> None:
        check_user(self.user)
        _check_integer("priority", self.priority, at_least=-PRIORITY_MAX, at_most=PRIORITY_MAX)
        _check_text("idempotency_key", self.idempotency_key, KEY_CHARACTERS)
        _check_text("channel", self.channel, CHANNEL_CHARACTERS)
        _check_text("reply_ref", self.reply_ref, REPLY_CHARACTERS)
        _check_deadline(self.deadline_s)
        if self.reply_url is not None:
            check_reply_url(self.reply_url)
        if self.mode not in ("wait", "refuse"):
            raise RequestInvalid("mode", "mode is neither wait nor refuse")
        if self.guest is not None:
            self._check_guest(self.guest)

    def _check_guest(self, guest: Guest) -> None:
        if guest.user != self.user:  # its token could not be opened
            raise RequestInvalid("guest", "the guest was made for another user")
        if self.channel not in (None, guest.channel):
            raise RequestInvalid("channel", f"channel {self.channel} is not the guest's, {guest.channel}")
        object.__setattr__(self, "channel", guest.channel)


def check_user(user: Any) -> None:
    """Refuse what is no user number: it is a part of keys.

    Raises:
        RequestInvalid: it is not a whole number from 1 on.
    """
    _check_integer("user", user, at_least=1, at_most=USER_MAX)


def check_request(request: Any, *, upload_max_bytes: int) -> None:
    """Refuse what names no work, or too large a file.

    Raises:
        RequestInvalid: it is none of the kinds of request, or a file of it is larger than that.
    """
    is_known = isinstance(request, Request) and type(request) is not Request
    if not is_known or (request.upstream == DISCORD and type(request) not in REQUESTS.values()):
        noun = "Request alone" if type(request) is Request else type(request).__name__
        raise RequestInvalid("request", f"{noun} is not a request such as Create or CreateSingle")
    for field, upload in request.uploads().items():
        if upload.size > upload_max_bytes:
            raise too_large(field, upload_max_bytes)


def check_list(*, status: Any, limit: Any, before: Any) -> None:
    """Refuse what no list of jobs can be asked for.

    Raises:
        RequestInvalid: a value is not acceptable; ``field`` names it.
    """
    if status is not None and status not in get_args(Status):
        raise RequestInvalid("status", f"status is none of {', '.join(get_args(Status))}")
    _check_integer("limit", limit, at_least=1, at_most=LIST_MAX)
    if before is not None and not isinstance(before, str | datetime):
        raise RequestInvalid("before", "before is neither a job id nor a datetime")


def check_timeout(timeout_s: Any) -> None:
    """Refuse what is no length of time; infinity is one, and so is None: for ever.

    Raises:
        RequestInvalid: it is not a number of seconds.
    """
    if timeout_s is not None and (not _is_number(timeout_s) or math.isnan(timeout_s)):
        raise RequestInvalid("timeout_s", "timeout_s is not a number of seconds")


def _check_integer(name: str, value: Any, *, at_least: int, at_most: int) -> None:
    # True is an int, and 1.5 lies between: neither can be read again from where it would be written.
    if not isinstance(value, int) or isinstance(value, bool):
        raise RequestInvalid(name, f"{name} {_shown(value)} is not a whole number")
    if not at_least <= value <= at_most:
        raise RequestInvalid(name, f"{name} {_shown(value)} is not between {at_least} and {at_most}")


def _check_deadline(value: Any) -> None:
    if value is None:
        return
    if not _is_number(value) or not 0 < value <= DEADLINE_MAX_S:  # nan compares as false
        raise RequestInvalid(
            "deadline_s",
            f"deadline_s {_shown(value)} is not a positive number of seconds, at most {DEADLINE_MAX_S} (366 days)",
        )


def _check_text(name: str, value: Any, characters_max: int) -> None:
    if value is None:
        return
    if not isinstance(value, str):
        raise RequestInvalid(name, f"{name} is not text")
    if not 1 <= len(value) <= characters_max:
        raise RequestInvalid(name, f"{name} must have 1 to {characters_max} characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RequestInvalid(name, f"{name} is not valid Unicode: it holds half of a surrogate pair") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """A number as it was given; of anything else its type, for it may be long or a secret."""
    return f"{value!r:.24}" if isinstance(value, int | float) else f"({type(value).__name__})"
