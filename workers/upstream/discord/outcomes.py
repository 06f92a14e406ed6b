"""What a failure to submit means to the job and to the account: the row of the outcome table it belongs to."""

from __future__ import annotations

from dispatcher.errors import (
    AccountRejected,
    Moderated,
    RateLimited,
    RequestRejected,
    UpstreamBlocked,
    UpstreamError,
    UpstreamUnavailable,
)
from workers.upstream import Ended, Outcome, Refused
from workers.upstream.discord.refusals import CommandOutdated

_BLOCKED_REST_S = 60.0
"""Where a page between us and Discord names no time: it is not the account that is refused, so all of them rest."""


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
        case UpstreamBlocked():
            return Refused(reason=str(error), counted=False, cool_s=error.retry_after_s or _BLOCKED_REST_S)
        case UpstreamUnavailable():
            return Refused(reason=str(error), counted=False, never_sent=not error.sent, cools="suspected")
        case _:
            raise error
