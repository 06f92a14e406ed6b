"""Every error the library raises, in one tree.

Each class builds its message from its fields; the message says what happened, why, and what to do.

    DispatcherError
    ├── LeaseError
    │   ├── NoFreeSlot          every account that could take the job is full or unusable
    │   ├── LeaseLost           the lease is not ours any more: stop touching the upstream
    │   │   └── RolledBack      the store lost what it knew of the lease: re-assert it, and repeat the call
    │   └── LeasingClosed       the store is learning which leases exist; nothing is granted yet
    ├── JobError
    │   ├── JobNotFound
    │   ├── JobStateError       the job's status does not allow what was asked
    │   ├── DuplicateJob        the idempotency key was used with another request
    │   ├── RequestInvalid      a field of the request is not acceptable
    │   ├── WaitTimeout         the job goes on; only the waiting ended
    │   ├── NoReplyUrl          the job's caller asked for no callback
    │   ├── LinksUnavailable    there are no fresh links to the job's files
    │   └── LinksTimeout        no worker brought fresh links in time
    ├── AccountError
    │   ├── AccountNotFound
    │   ├── AccountConflict     the channel or its secret belongs to another registration
    │   ├── AccountUnavailable
    │   └── CheckTimeout        no worker answered a check in time
    ├── UpstreamError
    │   ├── RateLimited         capacity: wait, another account may do it now
    │   ├── AccountRejected     the account's fault: a retry with it will not help
    │   ├── RequestRejected     the job's fault: a retry will not help
    │   ├── Moderated           the upstream refused the content
    │   ├── SubmitUnknown       no answer to a submission: look it up, never send it again blindly
    │   ├── UpstreamUnavailable trouble that passes by itself
    │   ├── UpstreamBlocked     the fleet's fault: the upstream refuses our address or program, not one account
    │   └── CallHeld            not called: an earlier answer, maybe another worker's, forbids it for a while
    ├── AccessError
    │   ├── Unauthorized
    │   ├── Forbidden
    │   ├── CallbackRefused     a callback's address is not one that we may call
    │   └── SecretError         a sealed secret cannot be opened with the configured keys
    ├── CallbackUnanswered      no HTTP response came from where a job is called back
    ├── StoreUnavailable        Redis does not answer, or must not be used as it is configured
    ├── StorageUnavailable      files cannot be kept or read where ``storage_url`` says
    │   └── FileAbsent          a file is not in the storage: never put there, or removed
    ├── StoreReplyError         a script answered what this version does not understand
    │   └── RecordUnreadable    a job's record is not as this version writes it
    ├── InUse                   another process holds the port or the state directory
    └── SettingsError
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal


class DispatcherError(Exception):
    """Root of everything this library raises on purpose."""


class LeaseError(DispatcherError):
    """A slot could not be leased or kept."""


_NO_FREE_SLOT = {
    "full": "No account of pool {pool} has a free slot; wait for a job to end or raise maxJobs.",
    "throttled": "The upstream throttles the accounts of pool {pool}; try again later.",
    "unusable": "No account of pool {pool} is active; `dispatcher account list` says why.",
}


class NoFreeSlot(LeaseError):
    """No account of the pool can take the job now; nothing waits.

    ``why``: ``full``, with the ids of jobs that ``running`` lists (about 256 at most); ``throttled``, by the upstream,
    until ``wait_ms`` from now where that is known; ``unusable``: no account is active.
    """

    def __init__(
        self,
        pool: str,
        why: Literal["full", "throttled", "unusable"] = "full",
        *,
        running: Sequence[str] = (),
        wait_ms: int | None = None,
    ) -> None:
        self.pool = pool
        self.why = why
        self.running = tuple(running)
        self.wait_ms = wait_ms
        super().__init__(_NO_FREE_SLOT[why].format(pool=pool))


class LeaseLost(LeaseError):
    """The lease belongs to a newer delivery, or is gone: stop touching the upstream."""

    def __init__(self, job_id: str, reason: str) -> None:
        self.job_id = job_id
        self.reason = reason
        super().__init__(f"The lease of job {job_id} is not ours any more ({reason}); its new owner goes on.")


class RolledBack(LeaseLost):
    """The store lost what it knew of the lease: its owner re-asserts it, and repeats the call."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id, "the store lost writes")


class LeasingClosed(LeaseError):
    """The store lost its tail or was replaced; owners re-assert their leases before anything is granted.

    ``wait_ms`` says how much longer.
    """

    def __init__(self, wait_ms: int) -> None:
        self.wait_ms = wait_ms
        super().__init__(
            f"The store restarted and learns which leases exist; nothing is granted for another {wait_ms} ms."
        )


class JobError(DispatcherError):
    """Something about one job."""


class JobNotFound(JobError):
    """No record of the job: the id is wrong, or its record has expired."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"Unable to locate job {job_id}")


class JobStateError(JobError):
    """The job's status does not allow what was asked."""

    def __init__(self, job_id: str, status: str, wanted: str) -> None:
        self.job_id = job_id
        self.status = status
        super().__init__(f"Job {job_id} status is {status}, expected {wanted}")


class DuplicateJob(JobError):
    """The idempotency key was already used with another request."""

    def __init__(self, idempotency_key: str, job_id: str) -> None:
        self.idempotency_key = idempotency_key
        self.job_id = job_id
        super().__init__(
            f"Idempotency key {idempotency_key!r} belongs to job {job_id}, whose request differs; use a new key."
        )


class RequestInvalid(JobError):
    """A field of the request is missing or not acceptable."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


class WaitTimeout(JobError):
    """The job did not end in time; it goes on."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        self.job_id = job_id
        self.timeout_s = timeout_s
        super().__init__(f"Job {job_id} did not end within {timeout_s:g} s; it goes on, wait again or cancel it.")


class NoReplyUrl(JobError):
    """The job's caller asked for no callback."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"Job {job_id} has no replyUrl: nobody is to be called back.")


class LinksUnavailable(JobError):
    """There are no fresh links to the job's files; ``reason`` says why."""

    def __init__(self, job_id: str, reason: str) -> None:
        self.job_id = job_id
        self.reason = reason.rstrip(".")
        super().__init__(f"There are no fresh links to the files of job {job_id}: {self.reason}.")


class LinksTimeout(JobError):
    """No worker brought fresh links in time."""

    def __init__(self, job_id: str, timeout_s: float) -> None:
        self.job_id = job_id
        self.timeout_s = timeout_s
        super().__init__(
            f"No fresh links to the files of job {job_id} came within {timeout_s:g} s; does a `dispatcher work` run?"
        )


class AccountError(DispatcherError):
    """Something about one account."""


class AccountNotFound(AccountError):
    """No account is registered for the channel."""

    def __init__(self, channel: str) -> None:
        self.channel = channel
        super().__init__(f"No account is registered for channel {channel}; register it first.")


class AccountConflict(AccountError):
    """The channel or its secret belongs to another registration."""


class AccountUnavailable(AccountError):
    """The account exists and cannot take jobs now."""

    def __init__(self, channel: str, reason: str) -> None:
        self.channel = channel
        self.reason = reason
        super().__init__(f"The account of channel {channel} cannot take jobs: {reason}.")


class CheckTimeout(AccountError):
    """No worker answered a check in time."""

    def __init__(self, channel: str, timeout_s: float) -> None:
        self.channel = channel
        self.timeout_s = timeout_s
        super().__init__(
            f"The account of channel {channel} was not checked within {timeout_s:g} s; does a `dispatcher work` run?"
        )


class UpstreamError(DispatcherError):
    """What an upstream's answer means, whatever its wire format."""

    def __init__(self, upstream: str, message: str) -> None:
        self.upstream = upstream
        super().__init__(f"{upstream}: {message}")


class RateLimited(UpstreamError):
    """The upstream asks to wait; the account may be used again after ``retry_after_s`` seconds."""

    def __init__(self, upstream: str, message: str, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(upstream, message)


class AccountRejected(UpstreamError):
    """401, 403, a captcha: the account must stop; ``reason`` is what the operator reads.

    With ``needs_operator`` only he can tell when it is well again: no check that submits nothing would see it.
    """

    def __init__(self, upstream: str, reason: str, *, needs_operator: bool = False) -> None:
        self.reason = reason
        self.needs_operator = needs_operator
        super().__init__(upstream, reason)


class RequestRejected(UpstreamError):
    """The upstream will never accept this request."""


class Moderated(UpstreamError):
    """The upstream refused the content."""


class SubmitUnknown(UpstreamError):
    """No answer to a submission: it may run. Look it up; never send it again blindly."""


class UpstreamUnavailable(UpstreamError):
    """Server trouble or no connection; nothing was accepted.

    ``sent`` is False when the connection was never made, so that nothing can have reached the upstream.
    """

    def __init__(self, upstream: str, message: str, *, sent: bool = True) -> None:
        self.sent = sent
        super().__init__(upstream, message)


class UpstreamBlocked(UpstreamError):
    """The upstream, or a page in front of it, refuses our address or program: no account is at fault.

    ``retry_after_s`` says how long to call nothing there; None where nobody said. ``is_address``: it is this address
    that is refused, whatever is called from it. ``is_doubtful``: or the job is, whose own content provoked the page.
    """

    def __init__(
        self,
        upstream: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        is_address: bool = False,
        is_doubtful: bool = False,
    ) -> None:
        self.retry_after_s = retry_after_s
        self.is_address = is_address
        self.is_doubtful = is_doubtful
        super().__init__(upstream, message)


class CallHeld(UpstreamError):
    """The upstream was not called: it asked for a pause, of us or of another worker, which lasts ``wait_s`` more.

    ``is_address``: of all that leaves this address, so no account is at fault.
    """

    def __init__(self, upstream: str, message: str, *, wait_s: float, is_address: bool = False) -> None:
        self.wait_s = wait_s
        self.is_address = is_address
        super().__init__(upstream, message)


class AccessError(DispatcherError):
    """Somebody or something may not do what it asked."""


class Unauthorized(AccessError):
    """The bearer token is missing or unknown."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class Forbidden(AccessError):
    """The token is known and may not do this."""


class CallbackRefused(AccessError):
    """The callback's address is not one we may call; ``reason`` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The callback's address may not be called: {reason}; see callback_allowed_networks.")


class SecretError(AccessError):
    """A sealed secret cannot be opened with the configured keys."""


class CallbackUnanswered(DispatcherError):
    """No HTTP response came: whether the callback was heard is not known. ``reason`` says what came instead."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The callback got no HTTP response: {reason}.")


class StoreUnavailable(DispatcherError):
    """Redis does not answer, or must not be used as it is configured."""


class StorageUnavailable(DispatcherError):
    """Files cannot be kept, or read, where ``storage_url`` says."""

    def __init__(self, url: str, why: str) -> None:
        self.url = url
        super().__init__(f"The storage {url} cannot be used: {why}; see the setting storage_url.")


class FileAbsent(StorageUnavailable):
    """A file is not in the storage."""


class StoreReplyError(DispatcherError):
    """A script answered what this version does not understand: versions are mixed, or the data was edited."""

    def __init__(self, script: str, reply: object) -> None:
        self.script = script
        super().__init__(f"Script {script} answered {reply!r:.200}; are two versions running on one store?")


class RecordUnreadable(StoreReplyError):
    """A job's record is not as this version writes it; ``why`` says what is wrong with it."""

    def __init__(self, job_id: str, why: str) -> None:
        self.job_id = job_id
        self.why = why
        DispatcherError.__init__(
            self, f"The record of job {job_id} cannot be read ({why}); was it edited, or written by another version?"
        )


class InUse(DispatcherError):
    """Another process holds what this one needs."""

    def __init__(self, what: str, holder: str) -> None:
        super().__init__(f"{what} is in use by {holder}; stop it, or choose another.")


class SettingsError(DispatcherError):
    """A setting is missing, unknown or not acceptable."""
