"""Slots in Redis: who may use an account, until when. Each method describes one round trip.

The invariant they keep together: a job holds its slot from grant to settle, whatever dies between, and an account never
holds more slots than ``max_jobs``. What they take and return is in ``leases.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import ValidationError

from dispatcher.connection import Call
from dispatcher.errors import LeaseLost, RecordUnreadable, RolledBack, StoreReplyError
from dispatcher.handoff import DeliveryId
from dispatcher.leases import (
    CLAIM_TTL_MS,
    COOLING_PATIENCE_MS,
    OWNER_GRACE_MS,
    REASON_CHARACTERS,
    REDELIVERIES_MAX,
    STEPS,
    STRIKE_MS,
    SUBMIT_WINDOW_MS,
    SURVIVED_MS,
    Assignment,
    Cools,
    Holding,
    Lease,
    LeaseState,
    NotYet,
    Permit,
    Renewed,
    Returned,
    Unreadable,
    Yielded,
)
from dispatcher.models import Account, Job, Message, Revive, Status
from dispatcher.replies import entropy, table
from dispatcher.settings import Settings


class Slots:
    """The slots of one store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ttl_ms = int(settings.lease_ttl_s * 1000)
        self.hold_ms = int(settings.hold_s * 1000)
        self.keep_s = int(settings.jobs_keep_days * 86_400)

    def _refilling(self) -> tuple[int, int, int]:
        """The three arguments of every script that may grant: seed, ttl_ms, keep_s."""
        return entropy(), self.ttl_ms, self.keep_s

    def dispatch(self, pool: str = "") -> Call[tuple[int, bool, int]]:
        """Grant waiting jobs of a pool and re-admit the due: (grants, is there more, next due ms or 0)."""

        def read(reply: Any) -> tuple[int, bool, int]:
            match reply:
                case [int(grants), int(more), next_ms]:
                    return grants, bool(more), int(next_ms)
                case _:
                    raise StoreReplyError("dispatch", reply)

        return Call("dispatch", (entropy(), self.ttl_ms, pool), read)

    def claim(
        self, delivery: DeliveryId, *, execution: str, owner: str
    ) -> Call[Assignment | Unreadable | NotYet | None]:
        """Take a delivery up; None if it is stale or its job is done, NotYet while the store is learning."""

        def read(reply: Any) -> Assignment | Unreadable | NotYet | None:
            match reply:
                case ["stale" | "done"]:
                    return None
                case ["wait", wait_ms]:
                    return NotYet(int(wait_ms))
                case [str(), [*fields], [*record], [*account], now_ms]:
                    lease = Lease.from_fields(delivery, table(fields))
                    return _assigned(lease, table(record), table(account), claimed_ms=int(now_ms))
                case _:
                    raise StoreReplyError("claim", reply)

        return Call("claim", (self.ttl_ms, delivery.job_id, delivery.token, execution, owner), read)

    def mark_submitting(
        self, lease: Lease, *, upstream_user: str = "", upstream_ms: int | None = None
    ) -> Call[Permit | NotYet | Returned]:
        """Ask the gate for the permission to submit, as this user of the upstream.

        Raises (when the reply is read):
            LeaseLost: a newer delivery owns the job, or it ended.
            RolledBack: re-assert the lease and ask again; so do all calls of an owner.
        """
        args = (
            *self._refilling(),
            lease.delivery.job_id,
            lease.delivery.token,
            int(self.settings.hard_deadline_s * 1000),
            self.settings.min_interval_ms,
            SUBMIT_WINDOW_MS,
            COOLING_PATIENCE_MS,
            upstream_user,
            self.settings.daily_cap,
            "" if upstream_ms is None else upstream_ms,
        )

        def read(reply: Any) -> Permit | NotYet | Returned:
            match reply:
                case ["ok", submitted_ms, [*account]]:
                    return Permit(int(submitted_ms), Account.model_validate(table(account)))
                case ["wait", wait_ms]:
                    return NotYet(int(wait_ms))
                case ["pending", str(reason)]:
                    return Returned(reason)
                case ["rolled_back" | "stale"]:
                    raise _not_ours(lease, reply[0])
                case _:
                    raise StoreReplyError("mark_submitting", reply)

        return Call("mark_submitting", args, read)

    def mark_accepted(
        self, lease: Lease, remote_id: str, *, status: Status = "started", message: Message | None = None
    ) -> Call[bool | NotYet]:
        """Record the upstream's id, or progress under it. False: that id belongs to another job.

        NotYet: the store is learning, and the id may belong to a job of which it has not been told again.

        Raises (when the reply is read):
            LeaseLost: a newer delivery owns the job, it ended, or it has another id.
        """
        shown = ("message", message.model_dump_json()) if message else ()
        args = (self.ttl_ms, lease.delivery.job_id, lease.delivery.token, remote_id, CLAIM_TTL_MS, status, *shown)

        def read(reply: Any) -> bool | NotYet:
            match reply:
                case ["wait", wait_ms]:
                    return NotYet(int(wait_ms))
                case ["ok", _]:
                    return True
                case ["claimed", _]:
                    return False
                case ["rolled_back" | "stale"] | ["other", _]:
                    raise _not_ours(lease, reply[0])
                case _:
                    raise StoreReplyError("mark_accepted", reply)

        return Call("mark_accepted", args, read)

    def _cooling(self) -> tuple[int, int, float]:
        """The three arguments of every script that may cool an account by our own measure."""
        settings = self.settings
        return int(settings.cooling_first_s * 1000), int(settings.cooling_max_s * 1000), settings.suspicion_share_max

    def mark_unknown(self, lease: Lease) -> Call[None]:
        """Record that the submission's answer was lost; an account that loses three in a row cools by suspicion."""

        def read(reply: Any) -> None:
            if reply[0] in ("rolled_back", "stale"):
                raise _not_ours(lease, reply[0])

        args = (lease.delivery.job_id, lease.delivery.token, entropy(), *self._cooling())
        return Call("mark_unknown", args, read)

    def renew(self, leases: Sequence[Lease]) -> Call[list[Renewed]]:
        """Extend up to 256 leases: ``ok``, ``lost``, or ``rolled_back`` where the store knows less than the lease."""
        return Call("renew", (self.ttl_ms, *_as_known(leases)), list)

    def reassert(self, holding: Holding) -> Call[LeaseState]:
        """Tell a store that lost writes what is held; the state in which the lease is held now.

        Raises (when the reply is read):
            LeaseLost: a newer delivery owns the job, or it is over.
        """
        delivery, lease = holding.lease.delivery, _flat(holding.lease.fields())
        known = (*lease, *_flat(holding.record))
        numbers = (self.hold_ms, CLAIM_TTL_MS, len(lease) // 2)
        args = (*self._refilling(), delivery.job_id, delivery.token, *numbers, *known)

        def read(reply: Any) -> LeaseState:
            match reply:
                case ["ok", "C" | "S" | "U" | "A" | "D" as state]:
                    return state  # type: ignore[no-any-return]  # one of the five just matched
                case ["lost"]:
                    raise LeaseLost(delivery.job_id, "taken over")
                case _:
                    raise StoreReplyError("reassert", reply)

        return Call("reassert", args, read)

    def settle(
        self,
        lease: Lease,
        status: Literal["completed", "failed", "moderated"],
        *,
        message: Message | None = None,
        error: str | None = None,
        error_details: str | None = None,
        still_running: bool = False,
        again: bool = False,
    ) -> Call[str]:
        """Record the outcome and free the slot, once; returns the status on record.

        With ``still_running`` the job ends and its slot stays held until the upstream ends or the hold is over.
        With ``again`` a job that was accepted and failed returns to its place in the line (``created``) while it has
        fewer than ``max_attempts`` behind it.

        Raises (when the reply is read):
            LeaseLost: a newer delivery owns the job.
        """
        fields: dict[str, str] = {}
        if message:
            fields["message"] = message.model_dump_json()
        if error:
            fields["error"] = error
        if error_details:
            fields["error_details"] = error_details
        flat = [part for pair in fields.items() for part in pair]
        args = (
            *self._refilling(),
            lease.delivery.job_id,
            lease.delivery.token,
            status,
            int(still_running),
            self.hold_ms,
            lease.state,
            self.settings.max_attempts if again else "",
            (error or "")[:REASON_CHARACTERS],
            *flat,
        )

        def read(reply: Any) -> str:
            match reply:
                case ["ok", str(on_record)]:
                    return on_record
                case ["rolled_back" | "stale"]:
                    raise _not_ours(lease, reply[0])
                case _:
                    raise StoreReplyError("settle", reply)

        return Call("settle", args, read)

    def handback(
        self,
        lease: Lease,
        reason: str,
        *,
        counted: bool = True,
        cool_s: float = 0,
        cools: Cools = "",
        disable: Revive | None = None,
        never_sent: bool = False,
    ) -> Call[str]:
        """Return a refused job to its place: ``pending``; or ``failed``, refused too often; or ``refused``.

        ``refused``: its submission's answer was held, no other account took it, and it ended: its caller is told so.

        Args:
            lease: the lease to give back.
            reason: what the operator reads.
            counted: whether it counts towards ``capacity_requeues_max``.
            cool_s: how long a rest the upstream asked for, in seconds; kept in full. 0: it named no time.
            cools: why the account cools although no time was named; '' if it does not.
            disable: stop the account with the reason, until a check or its operator revives it.
            never_sent: the connection was never made; the only way back for a lease in U.

        Raises (when the reply is read):
            LeaseLost: a newer delivery owns the job.
        """
        args = (
            *self._refilling(),
            lease.delivery.job_id,
            lease.delivery.token,
            reason[:REASON_CHARACTERS],
            self.settings.capacity_requeues_max if counted else "",
            math.ceil(cool_s * 1000),
            disable or "",
            int(never_sent),
            cools,
            *self._cooling(),
            lease.state,
            lease.remote_id or "",
        )

        def read(reply: Any) -> str:
            match reply:
                case ["pending" | "failed" | "refused" as verdict]:
                    return str(verdict)
                case ["ok", str(status)]:
                    return status
                case ["rolled_back" | "stale"]:
                    raise _not_ours(lease, reply[0])
                case _:
                    raise StoreReplyError("handback", reply)

        return Call("handback", args, read)

    def yield_(self, leases: Sequence[Lease]) -> Call[list[Yielded]]:
        """Hand up to 256 deliveries to other workers.

        ``later``: its submission is in flight; ``rolled_back``: re-assert it first; ``learning``: nothing was done, the
        lease is the reaper's.
        """
        return Call("yield", (self.ttl_ms, *_as_known(leases)), list)

    def reap(self) -> Call[tuple[int, int, int, bool]]:
        """Take back what dead owners left: (redelivered, ended, slots forced free, is there more)."""
        args = (*self._refilling(), STRIKE_MS, REDELIVERIES_MAX, self.hold_ms, OWNER_GRACE_MS, SURVIVED_MS)

        def read(reply: Any) -> tuple[int, int, int, bool]:
            match reply:
                case [int(redelivered), int(ended), int(forced), int(more)]:
                    return redelivered, ended, forced, bool(more)
                case _:
                    raise StoreReplyError("reap", reply)

        return Call("reap", args, read)


def _not_ours(lease: Lease, verdict: str) -> LeaseLost:
    """What an owner is told whose lease the store does not know, or knows to be another's."""
    job = lease.delivery.job_id
    return RolledBack(job) if verdict == "rolled_back" else LeaseLost(job, verdict)


def _assigned(
    lease: Lease, record: dict[str, str], account: dict[str, str], *, claimed_ms: int
) -> Assignment | Unreadable:
    """Read what a claim gives. What another version wrote is no reason to try again for ever."""
    try:
        job = Job.from_record(record)
    except RecordUnreadable as error:
        return Unreadable(lease, error.why)
    try:
        held = Account.model_validate(account)
    except ValidationError as error:
        return Unreadable(lease, f"its account: {_fields_of(error)}")
    holding = Holding(lease, record)
    return Assignment(step=STEPS[lease.state], holding=holding, job=job, account=held, claimed_ms=claimed_ms)


def _as_known(leases: Sequence[Lease]) -> list[str | int]:
    """Job, token, state, upstream's id and execution of each: what a script compares with what the store knows."""
    return [
        part
        for lease in leases
        for part in (lease.delivery.job_id, lease.delivery.token, lease.state, lease.remote_id or "", lease.execution)
    ]


def _flat(fields: Mapping[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _fields_of(error: ValidationError) -> str:
    """The fields that are wrong, without their values: an account's may be its secret."""
    return ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
