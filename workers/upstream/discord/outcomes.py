"""What a refusal means to the job and to the account, Discord's or the bot's: its row of the outcome table."""

from __future__ import annotations

from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    Moderated,
    RateLimited,
    RequestRejected,
    UpstreamBlocked,
    UpstreamError,
    UpstreamUnavailable,
)
from workers.upstream import Ended, Outcome, Refused
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Reading
from workers.upstream.discord.refusals import CommandOutdated

_BLOCKED_REST_S = 60.0
"""How long an account rests where not the account is refused. Where the address is, no longer, whatever time was named:
the next worker that takes a job of it may call from another address, and those here call nothing meanwhile."""


def outcome_of(error: UpstreamError) -> Outcome:
    """Say how a job goes on that was certainly not accepted. ``SubmitUnknown`` is none of these: look it up."""
    match error:
        case CommandOutdated():
            return Refused(reason=str(error), cools="suspected")
        case RequestRejected() | Moderated():
            return Ended(status="moderated" if isinstance(error, Moderated) else "failed", error=str(error))
        case AccountRejected():
            return Refused(reason=error.reason, disable="operator" if error.needs_operator else "check", counted=False)
        case RateLimited():
            return Refused(reason=str(error), cool_s=error.retry_after_s)
        case UpstreamBlocked() | CallHeld():
            return _held(error)
        case UpstreamUnavailable():
            return Refused(reason=str(error), counted=False, never_sent=not error.sent, cools="suspected")
        case _:
            raise error


def outcome_said(message: ChannelMessage, reading: Reading) -> Outcome:
    """Say how a job goes on that the bot refused in its own words, or that failed by them."""
    if reading.says == "busy":
        return Refused(reason=f"the bot is busy: {reading.words}", cools="said")
    return Ended(
        status="moderated" if reading.says == "moderated" else "failed",
        message=message.shown(reading.percent),
        error=f"the bot says: {reading.words}",
        error_details=message.text,
        again=reading.says == "failed",
    )


def _held(error: UpstreamBlocked | CallHeld) -> Refused:
    """The fleet's fault, or a pause that is known already: nothing counts against the account.

    Nor against the job, but where its own content may have provoked it: else it would try one account after another,
    and rest each of them, for ever.
    """
    if isinstance(error, CallHeld):
        rest_s, counted, never_sent = error.wait_s, False, True
    else:
        rest_s, counted, never_sent = error.retry_after_s or _BLOCKED_REST_S, error.is_doubtful, False
    cool_s = min(rest_s, _BLOCKED_REST_S) if error.is_address else rest_s
    return Refused(reason=str(error), counted=counted, cool_s=cool_s, cools="held", never_sent=never_sent)
