"""The record of one delivery: every transition an upstream causes, written to Redis before or when it happens."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from dispatcher.connection import AsyncStore, command
from dispatcher.leases import SUBMIT_WINDOW_MS, Assignment, Lease, NotYet, Permit, Returned, Step
from dispatcher.models import Account, Job, Message
from dispatcher.replies import hash_of
from dispatcher.slots import Slots
from workers.upstream import Ended, JobReturned, Outcome

_NAP_MAX_S = 1.0


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

    def __init__(
        self, store: AsyncStore, slots: Slots, gates: Gates, assignment: Assignment, *, asked_s: float
    ) -> None:
        self.job: Job = assignment.job
        self.account: Account = assignment.account
        self.step: Step = assignment.step
        self._lease = assignment.lease
        self.claimed_ms = assignment.claimed_ms
        self.asked_s = asked_s
        self._store = store
        self._slots = slots
        self._gates = gates
        self._leave: Callable[[], None] | None = None
        self._close_door: Callable[[], None] | None = None
        self._shown: Message | None = None

    @property
    def lease(self) -> Lease:
        """The lease as it stands after the last transition."""
        return self._lease

    async def submitting(self, *, upstream_user: str = "") -> Permit:
        """Wait at the gate; see :meth:`workers.upstream.Ledger.submitting`."""
        self._leave = await self._gates.enter(self._lease)
        while True:
            self._close_door = await self._gates.pass_door(self._lease)
            asked_s = time.monotonic()
            verdict = await self._store.insist(self._slots.mark_submitting(self._lease, upstream_user=upstream_user))
            match verdict:
                case Permit():
                    self._lease = self._lease.in_state(
                        "S", submitted_ms=verdict.submitted_ms, upstream_user=upstream_user or None
                    )
                    return replace(verdict, asked_s=asked_s)
                case NotYet(wait_ms):
                    self.sent()
                    await asyncio.sleep(min(wait_ms / 1000, _NAP_MAX_S))
                case Returned(reason):
                    raise JobReturned(reason)

    def sent(self) -> None:
        """Let the next job of the upstream through; see :meth:`workers.upstream.Ledger.sent`."""
        if self._close_door is not None:
            self._close_door()
            self._close_door = None

    async def unknown(self) -> None:
        """Record a lost answer."""
        await self._store.insist(self._slots.mark_unknown(self._lease))
        if self._lease.state == "S":
            self._lease = self._lease.in_state("U")
        self.close()

    async def accepted(self, remote_id: str, message: Message | None = None) -> bool:
        """Record the upstream's id; False if it is another job's."""
        if not await self._store.insist(self._slots.mark_accepted(self._lease, remote_id, message=message)):
            return False
        self._lease = self._lease.in_state("D" if self._lease.state == "D" else "A", remote_id=remote_id)
        self._shown = message
        self.close()
        return True

    async def progress(self, message: Message) -> None:
        """Show progress, if anything changed."""
        remote_id = self._lease.remote_id
        if message == self._shown or remote_id is None:
            return
        await self._store.insist(self._slots.mark_accepted(self._lease, remote_id, status="progress", message=message))
        self._shown = message

    async def account_now(self) -> Account | None:
        """Read the account; a deleted one that drains still has its token."""

        def read(reply: Any) -> Account | None:
            stored = hash_of(reply)
            return Account.model_validate(stored) if stored else None

        key = self._store.keys.account(self._lease.pool, self._lease.channel)
        return await self._store.insist(command("HGETALL", key, read=read))

    async def overdue(self, error: str) -> None:
        """Fail the job now; the slot stays held while the upstream runs it."""
        await self._store.insist(self._slots.settle(self._lease, "failed", error=error, still_running=True))
        self._lease = self._lease.in_state("D")

    async def conclude(self, outcome: Outcome) -> str:
        """Settle or hand back; returns the job's status on record (``pending`` after a hand-back)."""
        if isinstance(outcome, Ended):
            call = self._slots.settle(
                self._lease,
                outcome.status,
                message=outcome.message,
                error=outcome.error,
                error_details=outcome.error_details,
            )
        else:
            call = self._slots.handback(
                self._lease,
                outcome.reason,
                counted=outcome.counted,
                cool_s=outcome.cool_s,
                cools=outcome.cools,
                disable=outcome.disable,
                never_sent=outcome.never_sent,
            )
        return await self._store.insist(call)

    def close(self) -> None:
        """Leave the gate to the next job of the channel, and the door to the next of the upstream."""
        self.sent()
        if self._leave is not None:
            self._leave()
            self._leave = None
