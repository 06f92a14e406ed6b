"""What a lease is and what the scripts say of it: the values that :mod:`dispatcher.slots` takes and returns.

The state table is in ``docs/job-lifecycle.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from dispatcher.handoff import DeliveryId
from dispatcher.models import Account, Job

LeaseState = Literal["R", "C", "S", "A", "U", "D"]
Step = Literal["start", "lookup", "adopt", "watch"]
Cools = Literal["", "said", "suspected", "held"]
"""Why an account rests without a time that its upstream named: the upstream said that it is busy, or we suspect it.
``held``: it rests for a time, and it is not the account that was refused."""

STEPS: dict[LeaseState, Step] = {"C": "start", "S": "lookup", "U": "lookup", "A": "adopt", "D": "watch"}
"""What the state in which a lease is found asks of its new owner."""

STRIKE_MS = 5000
REDELIVERIES_MAX = 5
SURVIVED_MS = 5000
"""An owner heard of so long after its claim was not killed by its job: see docs/adr/0009."""
OWNER_GRACE_MS = 30_000
SUBMIT_WINDOW_MS = 60_000
"""How long an unanswered submission keeps others of its channel waiting."""
COOLING_PATIENCE_MS = 15_000
"""A cooling longer than this sends a job that waits at the gate back to pending."""
CLAIM_TTL_MS = 31 * 86_400_000
LEASES_A_CALL = 256
Renewed = Literal["ok", "lost", "rolled_back"]
Yielded = Literal["ok", "later", "stale", "rolled_back", "learning"]
REASON_CHARACTERS = 200
"""An upstream's words in a history of 32 lines."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A job's claim to a slot as its owner holds it; instants are ms on Redis's clock."""

    delivery: DeliveryId
    pool: str
    channel: str
    state: LeaseState
    remote_id: str | None = None
    submitted_ms: int | None = None
    deadline_ms: int | None = None
    upstream_user: str | None = None
    """As whom it was submitted."""
    upstream_ms: int | None = None
    """When it was submitted, by the upstream's own clock."""
    secret_version: str | None = None
    execution: str = ""
    owner: str = ""
    granted_ms: int | None = None
    claimed_ms: int | None = None

    @classmethod
    def from_fields(cls, delivery: DeliveryId, lease: dict[str, str]) -> Lease:
        """Read a lease from its hash."""
        return cls(
            delivery=delivery,
            pool=lease["pool"],
            channel=lease["channel"],
            state=lease["state"],  # type: ignore[arg-type]  # written by our scripts alone
            remote_id=lease.get("remote") or None,
            submitted_ms=int(lease["submitted_ms"]) if lease.get("submitted_ms") else None,
            deadline_ms=int(lease["deadline_ms"]) if lease.get("deadline_ms") else None,
            upstream_user=lease.get("upstream_user") or None,
            upstream_ms=int(lease["upstream_ms"]) if lease.get("upstream_ms") else None,
            secret_version=lease.get("secret_version") or None,
            execution=lease.get("execution", ""),
            owner=lease.get("owner", ""),
            granted_ms=int(lease["granted_ms"]) if lease.get("granted_ms") else None,
            claimed_ms=int(lease["claimed_ms"]) if lease.get("claimed_ms") else None,
        )

    def fields(self) -> dict[str, str | int]:
        """The fields of its hash, the token excepted."""
        told = {
            "pool": self.pool,
            "channel": self.channel,
            "state": self.state,
            "execution": self.execution,
            "owner": self.owner,
            "granted_ms": self.granted_ms,
            "claimed_ms": self.claimed_ms,
            "submitted_ms": self.submitted_ms,
            "deadline_ms": self.deadline_ms,
            "secret_version": self.secret_version,
            "upstream_user": self.upstream_user,
            "upstream_ms": self.upstream_ms,
            "remote": self.remote_id,
        }
        return {name: value for name, value in told.items() if value is not None}

    def in_state(self, state: LeaseState, **changes: Any) -> Lease:
        """The same lease one transition later."""
        return replace(self, state=state, **changes)


@dataclass(frozen=True, slots=True)
class Holding:
    """All that an owner knows: its lease, and the job's record as stored, by all that it did since the claim.

    It is enough to tell a store that lost both.
    """

    lease: Lease
    record: Mapping[str, str]

    def later(self, lease: Lease, **record: str | int) -> Holding:
        """The same holding one transition later."""
        return Holding(lease, {**self.record, **{name: str(value) for name, value in record.items()}})


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a claim gives its worker: what to do next, with what."""

    step: Step
    holding: Holding
    job: Job
    account: Account
    claimed_ms: int
    asked_s: float = 0.0
    """The monotonic instant just before the claim was sent."""

    @property
    def lease(self) -> Lease:
        """The lease as claimed."""
        return self.holding.lease


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A claimed delivery whose record or account cannot be read: nobody can carry it out, so its job must be failed."""

    lease: Lease
    why: str

    @property
    def may_run(self) -> bool:
        """Whether the upstream may run it, so that its slot must stay held."""
        return self.lease.state != "C"


@dataclass(frozen=True, slots=True)
class Permit:
    """The permission to submit once, now; ``account`` carries the secret in force at this instant.

    ``asked_s`` is the monotonic instant just before it was asked for: the request must start within 2 s of it.
    """

    submitted_ms: int
    account: Account
    asked_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NotYet:
    """The gate is closed for ``wait_ms``; ask again then."""

    wait_ms: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The job went back to pending; this delivery is over."""

    reason: str
