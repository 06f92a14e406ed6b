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

_UNAVAILABLE_REST_S = 5.0
_OUTDATED_REST_S = 10.0
_BLOCKED_REST_S = 60.0


def outcome_of(error: UpstreamError) -> Outcome:
    """Say how a job goes on that was certainly not accepted. ``SubmitUnknown`` is none of these: look it up."""
    match error:
        case CommandOutdated():
            return Refused(reason=str(error), cool_s=_OUTDATED_REST_S)
        case RequestRejected() | Moderated():
            return Ended(status="moderated" if isinstance(error, Moderated) else "failed", error=str(error))
        case AccountRejected():
            return Refused(reason=error.reason, disable=True, counted=False)
        case RateLimited():
            return Refused(reason=str(error), cool_s=error.retry_after_s)
        case UpstreamBlocked():
            return Refused(reason=str(error), counted=False, cool_s=error.retry_after_s or _BLOCKED_REST_S)
        case UpstreamUnavailable():
            return Refused(reason=str(error), counted=False, never_sent=not error.sent, cool_s=_UNAVAILABLE_REST_S)
        case _:
            raise error
