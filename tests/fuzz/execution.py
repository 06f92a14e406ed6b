"""One delivery in a virtual worker: claim, gate, send, find the answer, follow it, settle or hand back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from dispatcher.connection import Call
from dispatcher.errors import LeaseLost
from dispatcher.handoff import DeliveryId
from dispatcher.leases import Assignment, Holding, Lease, NotYet, Permit, Returned
from tests.fuzz.oracle import Answer, Permission, Submission
from tests.fuzz.timeline import Process, Task
from tests.fuzz.worker import Ending, Steps, Worker, insisted

if TYPE_CHECKING:
    from tests.fuzz.history import History

T = TypeVar("T")

START_MS = 2000
END_MS = 20_000
ANSWERED_MS = 15_000
FINAL = {"completed", "failed", "moderated", "cancelled"}


class _Returned(Exception):
    """The gate sent the job back to pending."""


class _Sent:
    """A request under way: it reaches the upstream whatever becomes of its sender."""

    def __init__(self) -> None:
        self.answer: Answer = "lost"


class Execution:
    """One run of one delivery, as far as it believes: it may be dead wrong."""

    holding: Holding
    task: Task

    def __init__(self, worker: Worker, delivery: DeliveryId) -> None:
        self.worker = worker
        self.history: History = worker.history
        self.delivery = delivery
        self.confirmed_ms = 0
        self.version = ""
        self.others: set[str] = set()

    @property
    def lease(self) -> Lease:
        """The lease after the last transition."""
        return self.holding.lease

    def run(self) -> Process:
        """The straight line."""
        assignment = yield from self._claim()
        if assignment is None:
            return
        self.version = assignment.account.secret_version
        self.worker.held[self.delivery] = (self, self.task)
        try:
            conclusion = yield from self._carry_out(assignment.step)
        except _Returned:
            return
        except LeaseLost as lost:
            if lost.reason == "stale":
                self.history.judge.lost(self)
            return
        finally:
            self._leave_gate()
            self.worker.held.pop(self.delivery, None)
        try:
            yield from self._say(lambda: conclusion)
        except LeaseLost:
            return
        self.worker.recent.append(Ending(self.holding, conclusion, self.history.timeline.now_ms))

    def _claim(self) -> Steps[Assignment | None]:
        name = f"e{next(self.history.numbers)}"
        while True:
            call = self.history.slots.claim(self.delivery, execution=name, owner=self.worker.name)
            answer = yield from self.history.ask(call)
            if isinstance(answer, Assignment):
                self.holding, self.confirmed_ms = answer.holding, self.history.last_run_ms
                self.history.judge.claimed(self, name)
                return answer
            if not isinstance(answer, NotYet):
                return None
            yield min(answer.wait_ms, 5000)

    def _carry_out(self, step: str) -> Steps[Call[str]]:
        if step == "start":
            return (yield from self._start())
        absent_ms = self.history.permitted_ms.get(self.delivery.job_id, 0) + END_MS + ANSWERED_MS
        if step == "lookup" and self.history.chance.random() < 0.25:
            # A hasty one, who takes a refused look for a refusal: the rule must stand against it.
            yield from self._say(lambda: self._handback("looked in vain"))
        return (yield from self._pursue(absent_ms))

    def _start(self) -> Steps[Call[str]]:
        chance, history = self.history.chance, self.history
        yield chance.choice((5, 50, 300, 1500))
        if chance.random() < 0.05:
            return self._handback("no connection", never_sent=True, cools="suspected")
        permit = yield from self._permit()
        if permit.account.secret_version != self.version:
            return self._handback("its account got another token", never_sent=True)
        if history.timeline.now_ms - self.asked_ms > START_MS:
            return self._handback("too late to send", never_sent=True, cools="suspected")
        sent, travel_ms = _Sent(), chance.choice((5, 20, 100, 800, 1500))
        permission = Permission(self.delivery.job_id, self.lease.channel, self.asked_ms)
        history.timeline.start(history.network, self._travel(permission, sent), after_ms=travel_ms)
        yield travel_ms + chance.choice((10, 60, 300, 4000))
        return (yield from self._answered(sent.answer))

    def _travel(self, permission: Permission, sent: _Sent) -> Process:
        now_ms, store_ms = self.history.timeline.now_ms, self.history.store_ms
        sent.answer = self.history.upstream.submit(permission, now_ms=now_ms, store_ms=store_ms)
        yield 0

    def _answered(self, answer: Answer) -> Steps[Call[str]]:
        chance = self.history.chance
        match answer:
            case "429":
                return self._handback("429", counted=True, cool_s=chance.choice((1, 5, 30)), cools="said")
            case "401":
                return self._handback("401", disable="check")
            case "captcha":
                return self._handback("captcha", disable="operator")
            case "taken":
                return (yield from self._pursue(self.history.timeline.now_ms + ANSWERED_MS))
            case _:
                yield chance.choice((0, 3000, 15_000))
                yield from self._say(lambda: self.history.slots.mark_unknown(self.lease))
                self._enter("U")
                self._leave_gate()
                return (yield from self._pursue(self.asked_ms + END_MS + ANSWERED_MS))

    def _permit(self) -> Steps[Permit]:
        waited_ms = 0
        while self.worker.at_gate.get(self.lease.channel, self) is not self and waited_ms < 60_000:
            yield 100
            waited_ms += 100
        self.worker.at_gate.setdefault(self.lease.channel, self)
        while True:
            self.asked_ms = self.history.timeline.now_ms
            verdict = yield from self._say(lambda: self.history.slots.mark_submitting(self.lease, upstream_user="7"))
            match verdict:
                case Permit():
                    self._submitted(verdict)
                    return verdict
                case NotYet(wait_ms):
                    yield min(max(wait_ms, 1), 1000)
                case Returned():
                    raise _Returned

    def _submitted(self, permit: Permit) -> None:
        hard_ms = int(self.history.settings.hard_deadline_s * 1000)
        lease = self.lease.in_state(
            "S",
            submitted_ms=permit.submitted_ms,
            deadline_ms=permit.submitted_ms + hard_ms,
            secret_version=permit.account.secret_version,
            upstream_user="7",
        )
        self.holding = self.holding.later(lease, attempts=int(self.holding.record.get("attempts") or 0) + 1)
        self.confirmed_ms = self.history.last_run_ms

    def _pursue(self, absent_ms: int) -> Steps[Call[str]]:
        """Look at the channel until the job's end is seen there."""
        history, began_ms, found = self.history, self.history.timeline.now_ms, None
        if self.lease.remote_id:
            found = history.upstream.of_remote[self.lease.remote_id]
        while True:
            looked_ms = history.timeline.now_ms
            found = found or (yield from self._find(looked_ms))
            if found is None and looked_ms > absent_ms:
                return history.slots.settle(self.lease, "failed", error="not started")
            if found and found.ends_ms <= looked_ms:
                return self._ended(found)
            if self.lease.state != "D" and looked_ms - began_ms > history.no_progress_ms:
                yield from self._overdue()
            yield history.chance.choice((1000, 3000, 8000, 15_000))

    def _find(self, now_ms: int) -> Steps[Submission | None]:
        sent_ms = self.history.permitted_ms[self.delivery.job_id]
        seen = self.history.upstream.answers(
            self.lease.channel, since_ms=sent_ms, until_ms=sent_ms + END_MS, now_ms=now_ms
        )
        for submission in seen:
            if submission.remote_id in self.others:
                continue
            if (yield from self._accepted(submission.remote_id)):
                self.history.judge.found(self, submission)
                return submission
            self.others.add(submission.remote_id)
        return None

    def _accepted(self, remote_id: str) -> Steps[bool]:
        while True:
            verdict = yield from self._say(lambda: self.history.slots.mark_accepted(self.lease, remote_id))
            if isinstance(verdict, NotYet):
                yield min(verdict.wait_ms, 1000)
                continue
            if verdict:
                state = "D" if self.lease.state == "D" else "A"
                status = self.holding.record.get("status", "")
                lease = self.lease.in_state(state, remote_id=remote_id)  # type: ignore[arg-type]
                self.holding = self.holding.later(lease, **({} if status in FINAL else {"status": "started"}))
                self._leave_gate()
            return verdict

    def _overdue(self) -> Process:
        overdue = self.history.slots.settle(self.lease, "failed", error="no progress", still_running=True)
        status = yield from self._say(lambda: overdue)
        self.holding = self.holding.later(self.lease.in_state("D"), status=status, finished_ms=self.history.store_ms)

    def _ended(self, found: Submission) -> Call[str]:
        if found.outcome == "refused":
            self.history.upstream.refuse(found)
            return self._handback("too many jobs", counted=True, cools="said")
        if found.outcome == "failed" and self.history.settings.max_attempts > 1:
            self.history.upstream.refuse(found)
        return self.history.slots.settle(self.lease, found.outcome, again=found.outcome == "failed")

    def _handback(self, reason: str, *, counted: bool = False, **said: Any) -> Call[str]:
        return self.history.slots.handback(self.lease, reason, counted=counted, **said)

    def _say(self, make: Callable[[], Call[T]]) -> Steps[T]:
        result = yield from insisted(self.history, make, self._reassert)
        self.history.judge.obeyed(self)
        return result

    def _reassert(self) -> Process:
        yield from self.history.ask(self.history.slots.reassert(self.holding))
        self.history.judge.reasserted(self.holding)

    def _enter(self, state: str) -> None:
        self.holding = self.holding.later(self.lease.in_state(state))  # type: ignore[arg-type]

    def _leave_gate(self) -> None:
        if hasattr(self, "holding") and self.worker.at_gate.get(self.lease.channel) is self:
            del self.worker.at_gate[self.lease.channel]
