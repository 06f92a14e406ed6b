"""The record of one delivery: every transition an upstream causes, written to Redis before or when it happens."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from dispatcher.accounts import read_account
from dispatcher.connection import AsyncStore, Call, command
from dispatcher.errors import RolledBack
from dispatcher.leases import SUBMIT_WINDOW_MS, Assignment, Holding, Lease, NotYet, Permit, Returned, Step
from dispatcher.log import get_logger
from dispatcher.models import FINAL, Account, Job, Message, Status
from dispatcher.replies import hash_of
from dispatcher.slots import Slots
from workers.upstream import Ended, JobReturned, Other, Outcome

T = TypeVar("T")

_NAP_MAX_S = 1.0
_REASSERTED_PAUSE_MS = 100
"""Between a re-assertion and the call again: a store that keeps forgetting is not asked in a loop."""

log = get_logger(__name__)


async def nap(wait_ms: int) -> None:
    """Wait as long as the store said, at most a second: it may think better of it."""
    await asyncio.sleep(min(wait_ms / 1000, _NAP_MAX_S))


class Gates:
    """Who of this process may go on to submit: one job of a channel at the `mark S` gate, one of an upstream past it.

    Invariant: at most one job of an upstream is between `mark S` and the last byte of its request. So a process that
    is killed leaves at most one behind whose submission is on record and was never sent.
    """

    def __init__(self) -> None:
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._doors: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(self, lease: Lease) -> Callable[[], None]:
        """Wait for the place at the gate; returns what gives it up. Redis decides, so a long wait ends without it."""
        lock = self._locks[lease.pool, lease.channel]
        try:
            await asyncio.wait_for(lock.acquire(), SUBMIT_WINDOW_MS / 1000)
        except TimeoutError:
            return lambda: None
        return lock.release

    async def pass_door(self, lease: Lease) -> Callable[[], None]:
        """Wait until no other job of the upstream is about to be sent; returns what says that this one was."""
        door = self._doors[lease.pool.partition(":")[2]]
        await door.acquire()
        return door.release


class DeliveryLedger:
    """Implements :class:`workers.upstream.Ledger` over our scripts."""

    def __init__(self, store: AsyncStore, slots: Slots, gates: Gates, assignment: Assignment) -> None:
        self.job: Job = assignment.job
        self.account: Account = assignment.account
        self.step: Step = assignment.step
        self._holding = assignment.holding
        self._claimed_ms = assignment.claimed_ms
        self._asked_s = assignment.asked_s
        self._store = store
        self._slots = slots
        self._gates = gates
        self._leave: Callable[[], None] | None = None
        self._close_door: Callable[[], None] | None = None
        self._shown: Message | None = None

    @property
    def lease(self) -> Lease:
        """The lease as it stands after the last transition."""
        return self._holding.lease

    def holding(self) -> Holding:
        """Lease and record as they stand after the last transition; from any thread."""
        return self._holding

    async def submitting(self, *, upstream_user: str = "", upstream_clock: Callable[[], int] | None = None) -> Permit:
        """Wait at the gate; see :meth:`workers.upstream.Ledger.submitting`."""
        self._leave = await self._gates.enter(self.lease)
        while True:
            self._close_door = await self._gates.pass_door(self.lease)
            asked_s, upstream_ms = time.monotonic(), upstream_clock() if upstream_clock else None
            verdict = await self._gate(upstream_user, upstream_ms)
            match verdict:
                case Permit():
                    self._submitted(verdict, upstream_user, upstream_ms)
                    return replace(verdict, asked_s=asked_s)
                case NotYet(wait_ms):
                    self.sent()
                    await nap(wait_ms)
                case Returned(reason):
                    raise JobReturned(reason)

    def sent(self) -> None:
        """Let the next job of the upstream through; see :meth:`workers.upstream.Ledger.sent`."""
        if self._close_door is not None:
            self._close_door()
            self._close_door = None

    async def unknown(self) -> None:
        """Record a lost answer."""
        await self._say(lambda: self._slots.mark_unknown(self.lease))
        if self.lease.state == "S":
            self._holding = self._holding.later(self.lease.in_state("U"))
        self.close()

    async def accepted(self, remote_id: str, message: Message | None = None) -> bool:
        """Record the upstream's id; False if it is another job's."""
        if not await self._accepted(remote_id, "started", message):
            return False
        lease = self.lease.in_state("D" if self.lease.state == "D" else "A", remote_id=remote_id)
        shown = self._as_shown("started", message)
        if self.lease.remote_id is None and lease.state == "A":
            shown["attempts"] = int(self._holding.record.get("attempts") or 0) + 1
        self._holding = self._holding.later(lease, **shown)
        self._shown = message
        self.close()
        return True

    async def progress(self, message: Message) -> None:
        """Show progress, if anything changed."""
        remote_id = self.lease.remote_id
        if message == self._shown or remote_id is None:
            return
        await self._accepted(remote_id, "progress", message)
        self._holding = self._holding.later(self.lease, **self._as_shown("progress", message))
        self._shown = message

    async def account_now(self) -> Account | None:
        """Read the account; a deleted one that drains still has its token. A guest's token is its job's, and stays."""
        if self._holding.record.get("own_masked"):
            return self.account
        key = self._store.keys.account(self.lease.pool, self.lease.channel)
        return await self._store.insist(command("HGETALL", key, read=read_account))

    async def others(self) -> list[Other]:
        """Read the other jobs that hold a slot of the account; one that ends meanwhile is left out."""
        lease, keys = self.lease, self._store.keys
        slots = keys.of("slots", lease.pool, lease.channel)
        held = await self._store.insist(command("ZRANGE", slots, 0, -1, read=list))
        others, own = [], lease.delivery.job_id
        is_older = own in held
        for job_id in held:  # in the order of their grants
            if job_id == own:
                is_older = False
                continue
            record = await self._store.insist(command("HGETALL", keys.job(job_id), read=hash_of))
            found = await self._store.insist(command("HGETALL", keys.of("lease", job_id), read=hash_of))
            if record and found:
                state: Any = found["state"]  # one of LeaseState: written by our scripts alone
                others.append(Other(Job.from_record(record), state, found.get("remote") or None, is_older))
        return others

    async def overdue(self, error: str) -> None:
        """Fail the job now; the slot stays held while the upstream runs it."""
        status = await self._say(lambda: self._slots.settle(self.lease, "failed", error=error, still_running=True))
        ended = {"error": error} if status == "failed" else {}
        self._holding = self._holding.later(
            self.lease.in_state("D"), status=status, finished_ms=self._estimated_ms(), **ended
        )

    def conclusion(self, outcome: Outcome) -> Call[str]:
        """The call that settles the job or hands it back."""
        if isinstance(outcome, Ended):
            return self._slots.settle(
                self.lease,
                outcome.status,
                message=outcome.message,
                error=outcome.error,
                error_details=outcome.error_details,
                again=outcome.again,
            )
        return self._slots.handback(
            self.lease,
            outcome.reason,
            counted=outcome.counted,
            cool_s=outcome.cool_s,
            cools=outcome.cools,
            disable=outcome.disable,
            never_sent=outcome.never_sent,
        )

    async def conclude(self, conclusion: Call[str]) -> str:
        """Settle or hand back; returns the job's status on record (``pending`` after a hand-back)."""
        return await self._say(lambda: conclusion)

    async def pass_on(self) -> None:
        """Give the delivery to the next worker; while the store is learning, its lease is left to run out instead."""
        while await self._say(lambda: self._slots.yield_([self.lease])) == ["rolled_back"]:
            await self._reassert()
            await nap(_REASSERTED_PAUSE_MS)

    async def _say(self, call: Callable[[], Call[T]]) -> T:
        """Make a transition, however long the store is away; where it lost what it knew of us, tell it again first.

        Raises:
            LeaseLost: the job belongs to a newer delivery, or is over.
        """
        while True:
            try:
                return await self._store.insist(call())
            except RolledBack:
                await self._reassert()
            await nap(_REASSERTED_PAUSE_MS)

    async def _reassert(self) -> None:
        delivery = self.lease.delivery
        state = await self._store.insist(self._slots.reassert(self._holding))
        log.warning("lease re-asserted", job_id=delivery.job_id, fencing_token=delivery.token, state=state)

    async def _accepted(self, remote_id: str, status: Status, message: Message | None) -> bool:
        """Claim the id, or show progress under it; wait while the store learns whose it may be."""
        while True:
            verdict = await self._say(
                lambda: self._slots.mark_accepted(self.lease, remote_id, status=status, message=message)
            )
            if not isinstance(verdict, NotYet):
                return verdict
            await nap(verdict.wait_ms)

    async def _gate(self, upstream_user: str, upstream_ms: int | None) -> Permit | NotYet | Returned:
        return await self._say(
            lambda: self._slots.mark_submitting(self.lease, upstream_user=upstream_user, upstream_ms=upstream_ms)
        )

    def _submitted(self, permit: Permit, upstream_user: str, upstream_ms: int | None) -> None:
        lease = self.lease.in_state(
            "S",
            submitted_ms=permit.submitted_ms,
            deadline_ms=permit.submitted_ms + int(self._slots.settings.hard_deadline_s * 1000),
            secret_version=permit.account.secret_version,
            upstream_user=upstream_user or None,
            upstream_ms=upstream_ms,
        )
        self._holding = self._holding.later(lease)

    def _as_shown(self, status: Status, message: Message | None) -> dict[str, str | int]:
        """What the record says of a job that runs, or is over for its caller and runs on."""
        if self._holding.record.get("status") in FINAL:
            return {}
        shown = {"status": status, "started_ms": self._holding.record.get("started_ms") or self._estimated_ms()}
        return shown | ({"message": message.model_dump_json()} if message else {})

    def _estimated_ms(self) -> int:
        """Now on Redis's clock, as near as its last answer to the claim tells."""
        return self._claimed_ms + int((time.monotonic() - self._asked_s) * 1000)

    def close(self) -> None:
        """Leave the gate to the next job of the channel, and the door to the next of the upstream."""
        self.sent()
        if self._leave is not None:
            self._leave()
            self._leave = None
