"""What each close code of the gateway means to us: one table. Source: docs/upstream.md, "The gateway"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dispatcher.errors import AccountRejected, UpstreamBlocked, UpstreamError
from workers.upstream.discord.refusals import NAME

Then = Literal["resume", "identify", "reject", "stop"]
"""Go on with the session; open another; the account is refused, as by a 401; no session may be opened again."""

GONE = 4900
"""With this we close a connection that is dead to us; 1000 and 1001 would end the session."""
DONE = 1000


@dataclass(frozen=True, slots=True)
class Close:
    """A code, what follows, and for the operator why."""

    code: int
    then: Then
    advice: str = ""


CLOSES: tuple[Close, ...] = (
    Close(4003, "identify"),
    Close(4004, "reject", "the token is not valid (any more); register the account again"),
    Close(4007, "identify"),
    Close(4009, "identify"),
    Close(4010, "stop", "it takes us for a part of a bot"),
    Close(4011, "stop", "it takes us for a part of a bot"),
    Close(4012, "stop", "this version of the API is served no more; is discord_api_url right?"),
    Close(4013, "stop", "it wants intents, as of a bot; is this a bot's token?"),
    Close(4014, "stop", "it wants intents, as of a bot; is this a bot's token?"),
    Close(4015, "stop", "the account has too many sessions; sign out elsewhere"),
)


def meaning_of(code: int | None) -> Close:
    """Return what a close code means; None: the connection was cut."""
    known = next((close for close in CLOSES if close.code == code), None)
    return known or Close(code or 1006, "resume")


def error_of(close: Close) -> UpstreamError:
    """Turn a code after which no session may be opened into the error it means."""
    told = f"the gateway closed with {close.code}: {close.advice}"
    return AccountRejected(NAME, told) if close.then == "reject" else UpstreamBlocked(NAME, told, retry_after_s=None)
