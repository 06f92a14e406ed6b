"""A ledger in memory: records every transition and holds the gate that Redis would hold. Redis itself is elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from dispatcher.errors import LeaseLost
from dispatcher.handoff import DeliveryId
from dispatcher.leases import Lease, LeaseState, Permit, Step
from dispatcher.models import Account, Job, Message, Parent, new_job_id
from dispatcher.requests import Request
from workers.upstream import Other, Outcome, Upstream


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Gates:
    """What all ledgers of a test share: one unanswered submission a channel, one job an interaction."""

    locks: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    claims: dict[str, str] = field(default_factory=dict)
    held: defaultdict[str, dict[str, MemoryLedger]] = field(default_factory=lambda: defaultdict(dict))
    """The ledgers that hold a slot, by channel and job."""


def account_of(channel: str, *, token: str = "a-token", server: str = "111111111111111111") -> Account:
    return Account(
        user=1,
        channel=channel,
        server=server,
        max_jobs=10,
        state="active",
        sealed=token,
        masked="a…n",
        secret_version="1",
    )


def job_of(request: Request, parent: Parent | None = None) -> Job:
    job_id, moment = new_job_id(), datetime.now(UTC)
    body = request.model_dump(exclude_none=True)
    return Job(
        id=job_id,
        jobid=job_id,
        user=1,
        kind=request.kind,
        verb=request.kind,
        status="created",
        created=moment,
        updated=moment,
        request=body,
        prompt=body.get("prompt"),
        button=body.get("button"),
        parentJobId=parent.jobid if parent else None,
        parent=parent,
    )


class MemoryLedger:
    """Implements `workers.upstream.Ledger`; ``events`` tells the transitions, ``shown`` the progress."""

    def __init__(
        self,
        gates: Gates,
        request: Request,
        account: Account,
        *,
        start_delay_s: float = 0,
        parent: Parent | None = None,
    ) -> None:
        self.job = job_of(request, parent)
        self.account = account
        self.step: Step = "start"
        self.events: list[str] = []
        self.shown: list[Message] = []
        self.error: str | None = None
        self.is_lost = False
        self.start_delay_s = start_delay_s
        self.redis_ahead_ms = 0
        """What its clock was off by when the submission was permitted; it may step at any time."""
        self.account_at_permit = account
        self._gates = gates
        self._lease = Lease(DeliveryId(self.job.id, 1), "1:discord", account.channel, "C")
        self._holds_gate = False

    @property
    def lease(self) -> Lease:
        return self._lease

    async def submitting(self, *, upstream_user: str = "", upstream_clock: Callable[[], int] | None = None) -> Permit:
        self._check()
        await self._gates.locks[self.account.channel].acquire()
        self._holds_gate = True
        permit = Permit(now_ms() + self.redis_ahead_ms, self.account_at_permit, time.monotonic() - self.start_delay_s)
        self._enter("S", submitted_ms=permit.submitted_ms)
        told_ms = upstream_clock() if upstream_clock else None
        self._lease = replace(self._lease, upstream_user=upstream_user or None, upstream_ms=told_ms)
        return permit

    def sent(self) -> None:
        pass  # one job at a time is tried here

    async def unknown(self) -> None:
        self._check()
        self._enter("U")
        self.leave_gate()

    async def accepted(self, remote_id: str, message: Message | None = None) -> bool:
        self._check()
        assert self._lease.remote_id in (None, remote_id)
        if self._gates.claims.setdefault(remote_id, self.job.id) != self.job.id:
            return False
        self._enter("D" if self._lease.state == "D" else "A", remote_id=remote_id)
        self.leave_gate()
        if message:
            self.shown.append(message)
        return True

    async def progress(self, message: Message) -> None:
        self._check()
        assert self._lease.remote_id is not None
        if self.shown[-1:] != [message]:
            self.shown.append(message)

    async def account_now(self) -> Account | None:
        return self.account_at_permit

    async def others(self) -> list[Other]:
        held = list(self._gates.held[self.account.channel].values())
        own = held.index(self)
        return [
            Other(one.job, one.lease.state, one.lease.remote_id, is_older=at < own)
            for at, one in enumerate(held)
            if one is not self
        ]

    async def overdue(self, error: str) -> None:
        self._check()
        self.error = error
        self._enter("D")

    def redelivered(self) -> MemoryLedger:
        """The ledger of the next delivery, as `claim` would give it; this one is lost from now on."""
        self.is_lost = True
        self.leave_gate()
        successor = MemoryLedger.__new__(MemoryLedger)
        successor.__dict__ |= self.__dict__
        state: LeaseState = "U" if self._lease.state == "S" else self._lease.state
        steps: dict[LeaseState, Step] = {"C": "start", "U": "lookup", "A": "adopt", "D": "watch"}
        successor.step = steps[state]
        successor.is_lost = False
        if self.shown:  # the job is read with a claim, and shows what was told by then
            successor.job = self.job.model_copy(update={"messageId": self.shown[-1].messageId})
        successor.events, successor.shown = [], []
        successor._lease = replace(self._lease, state=state, delivery=DeliveryId(self.job.id, 2))
        return successor

    def hold_slot(self) -> dict[str, MemoryLedger]:
        """Hold a slot of the channel; returns all that do."""
        held = self._gates.held[self.account.channel]
        held[self.job.id] = self
        return held

    def leave_gate(self) -> None:
        if self._holds_gate:
            self._holds_gate = False
            self._gates.locks[self.account.channel].release()

    def _check(self) -> None:
        if self.is_lost:
            raise LeaseLost(self.job.id, "stale")

    def _enter(self, state: LeaseState, *, submitted_ms: int | None = None, remote_id: str | None = None) -> None:
        self.events.append(state)
        self._lease = replace(
            self._lease,
            state=state,
            submitted_ms=submitted_ms or self._lease.submitted_ms,
            remote_id=remote_id or self._lease.remote_id,
        )


async def play(upstream: Upstream, ledger: MemoryLedger) -> Outcome:
    """Run one delivery as a worker does; at its end it leaves the gate and gives its slot back."""
    held = ledger.hold_slot()
    try:
        return await upstream.run(ledger)
    finally:
        ledger.leave_gate()
        held.pop(ledger.job.id, None)
