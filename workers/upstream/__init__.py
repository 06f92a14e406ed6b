"""What the dispatcher asks of an upstream, and what an upstream may ask of it.

An upstream is one object per worker process with :meth:`Upstream.run`. Each job it runs comes with a :class:`Ledger`,
through which every change of state is written *before* or *when* it happens: the gate before a submission, the remote
id when it is known, progress, and the moment at which a job's time is up while the upstream still runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from dispatcher.checks import Finding
from dispatcher.leases import Cools, Lease, LeaseState, Permit, Step
from dispatcher.models import Account, Job, Message, Revive


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The upstream ended the job, or will never start it: its slot is free.

    Args:
        status: how it ended.
        message: the upstream's message, as the job shows it.
        error: why it did not complete.
        error_details: all that the upstream said of it.
        again: accepted and then failed, by the upstream's own word: it may be tried again (``max_attempts``).
    """

    status: Literal["completed", "failed", "moderated"]
    message: Message | None = None
    error: str | None = None
    error_details: str | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A definite refusal: nothing runs upstream, the job may run elsewhere or later.

    Args:
        reason: what the operator reads.
        counted: whether it counts towards ``capacity_requeues_max``.
        cool_s: how long a rest the upstream asked for, in seconds; kept in full. 0: it named no time.
        cools: why the account rests although no time was named; '' if it does not. ``held``: it rests for ``cool_s``,
            and that is no repeat, for it is not the account that was refused.
        disable: the account must stop, until a check (401, 403, 404) or its operator (a captcha) revives it.
        never_sent: the connection was never made, so nothing can have reached the upstream.
    """

    reason: str
    counted: bool = True
    cool_s: float = 0
    cools: Cools = ""
    disable: Revive | None = None
    never_sent: bool = False


Outcome = Ended | Refused


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found out about an account.

    Args:
        finding: ``ok``: it could work. ``rejected``: the upstream refuses it. ``unclear``: nothing was learned about it
            (no answer, a rate limit, trouble between us), so nothing follows.
        reason: what the operator reads.
        needs_operator: a later check could not tell that it is well again (a captcha).
    """

    finding: Finding
    reason: str = ""
    needs_operator: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """Another job that holds a slot of the same account; ``is_older``: it got its slot first."""

    job: Job
    state: LeaseState
    remote_id: str | None
    is_older: bool

    @property
    def is_submitted(self) -> bool:
        """Whether it may run upstream."""
        return self.state not in ("R", "C")


class Ledger(Protocol):
    """The record of one delivery; each method is one transition in Redis, retried while the store is away.

    Every method raises ``LeaseLost`` when the job belongs to a newer delivery or is over: stop touching the upstream.
    """

    job: Job
    account: Account
    """As at claim; ``permit.account`` is newer where there is a permit."""
    step: Step

    @property
    def lease(self) -> Lease:
        """The lease as it stands after the last transition."""
        ...

    async def submitting(self, *, upstream_user: str = "", upstream_clock: Callable[[], int] | None = None) -> Permit:
        """Wait at the gate for the permission to submit once, now (state S). The request must start within 2 s.

        Args:
            upstream_user: as whom it will be submitted; kept with the lease, for a look-up after the secret changed.
            upstream_clock: tells the upstream's time in ms; what it tells when the permission is asked for is kept with
                the lease, for a look-up that compares it with the upstream's own instants.

        Raises:
            JobReturned: the job went back to pending; there is nothing more to do.
        """
        ...

    def sent(self) -> None:
        """The request has left this process whole, or will not leave it; to be said at once, and as often as one likes.

        Until then no other job gets its permission: a process that is killed leaves at most one that was never sent.
        """
        ...

    async def unknown(self) -> None:
        """The submission's answer was lost (state U)."""
        ...

    async def accepted(self, remote_id: str, message: Message | None = None) -> bool:
        """The upstream's id is known (state A). False: the id belongs to another job, look on."""
        ...

    async def account_now(self) -> Account | None:
        """Read the account as it stands: its token may be another by now. None if nobody holds it any more."""
        ...

    async def others(self) -> list[Other]:
        """Read the other jobs that hold a slot of the account, as they stand now."""
        ...

    async def progress(self, message: Message) -> None:
        """Show progress; cheap to call when nothing changed."""
        ...

    async def overdue(self, error: str) -> None:
        """The job's time is up and the upstream still runs it: it fails now, its slot stays held (state D)."""
        ...


class JobReturned(Exception):
    """The gate sent the job back to pending."""


class PassedOn(Exception):
    """This worker lacks what the job needs: a key, an upstream, a newer version. Its slot stays held meanwhile."""


class Upstream(Protocol):
    """One kind of upstream in one worker process."""

    name: str

    async def run(self, ledger: Ledger) -> Outcome:
        """Bring one job from where its lease stands (``ledger.step``) to its end.

        ``start``: submit and follow. ``lookup``: a submission whose fate is unknown: find it, never send it again.
        ``adopt``: follow ``lease.remote_id``. ``watch``: the job is over for its caller; return when the upstream ends.

        Raises:
            PassedOn: another worker must carry it on.
        """
        ...

    async def check(self, account: Account) -> Verdict:
        """Find out whether the account could work now, without submitting anything. Raises nothing of an upstream's."""
        ...

    async def close(self) -> None:
        """Close connections; no call is under way."""
        ...


@runtime_checkable
class Refreshes(Protocol):
    """What an upstream has besides whose links to results expire.

    A link says when it ends: ``ex`` in its query, hex seconds since 1970. One that does not is taken to last.
    """

    async def refresh(self, account: Account, urls: Sequence[str]) -> dict[str, str]:
        """Return fresh links by the old ones; one that cannot be refreshed is left out or comes back as it was.

        Raises:
            AccountRejected: it refuses the account's secret, and the account stops.
            UpstreamError: it refuses these links, or does not answer.
            SecretError: this worker lacks the key of the account's secret.
        """
        ...
