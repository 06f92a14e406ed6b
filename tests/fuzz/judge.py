"""What must be true of every history, and what was found that is not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from dispatcher.leases import Holding
from tests.fuzz.oracle import Submission
from tests.support.snapshot import FINAL, Snapshot, breaches, snapshot

if TYPE_CHECKING:
    from tests.fuzz.execution import Execution
    from tests.fuzz.history import History

RENEWING_MS = 6000
"""An owner whose last renewal is younger is alive and renews: a heartbeat and the way there and back."""
AFTERMATH_MS = 40_000
"""After lost writes the store knows less than owners do, for the learning window and what follows from it."""

WHILE_LEARNING = ("free is ", "unanswered at once ")
"""What may be wrong until the store has learned, when nothing is granted or submitted by it.

A pinned job refused meanwhile leaves its channel out of ``free`` until the window's end. One who submitted after
another was answered, both in what the store lost, may tell it first.
"""


class Judge:
    """Collects breaches by kind; ``first`` has the first of each with its instant."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.breaches: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.claims: dict[int, tuple[str, str, int]] = {}
        self.newest: dict[str, tuple[int, int]] = {}
        self.ended: dict[str, str] = {}
        self.rolled_ms = -AFTERMATH_MS
        self._told = 0
        self._lost_tails: list[tuple[int, int]] = []

    def breach(self, kind: str, detail: str) -> None:
        """Something that must never be."""
        self.breaches[kind] += 1
        self.first.setdefault(kind, f"{self.history.timeline.now_ms / 1000:.1f} s: {detail}")

    @property
    def is_aftermath(self) -> bool:
        """Whether writes were lost a moment ago."""
        return self.history.timeline.now_ms - self.rolled_ms < AFTERMATH_MS

    def claimed(self, execution: Execution, name: str) -> None:
        """A delivery is bound to one execution, and a token is given to one delivery."""
        job, token = execution.delivery.job_id, execution.delivery.token
        before = self.claims.setdefault(token, (job, name, self.history.last_run_ms))
        if before[0] != job:
            self.breach("token issued twice", f"{token} for {before[0]} and {job}")
        elif before[1] != name:
            self.breach("delivery bound twice", f"{execution.delivery} by {before[1]} and {name}")
        if token > self.newest.get(job, (0, 0))[0]:
            self.newest[job] = token, self.history.last_run_ms
        elif before[1] == name and self.history.last_run_ms > self.newest[job][1]:
            self.breach("token does not grow", f"{job} got {token} after {self.newest[job][0]}")

    def permitted(self, job: str, account: dict[str, str]) -> None:
        """Nothing is submitted on an account that its operator stopped."""
        if account["state"] not in {"active", "draining"}:
            self.breach("submitted on a stopped account", f"{job} on {account['channel']}")

    def found(self, execution: Execution, submission: Submission) -> None:
        """An answer is its own job's."""
        if submission.job != execution.delivery.job_id:
            self.breach("another's answer taken", f"{execution.delivery} took that of {submission.job}")

    def obeyed(self, execution: Execution) -> None:
        """A transition was made for this owner: no newer one had claimed the job before."""
        self._obeyed(execution.delivery.job_id, execution.delivery.token)

    def reasserted(self, holding: Holding) -> None:
        """As ``obeyed``, for a whole lease told again."""
        self._obeyed(holding.lease.delivery.job_id, holding.lease.delivery.token)

    def _obeyed(self, job: str, token: int) -> None:
        newest, since_ms = self.newest.get(job, (0, 0))
        if token < newest and since_ms < self.history.first_run_ms and not self.is_aftermath:
            self.breach("an old owner obeyed", f"{job}-{token} after {newest}")

    def lost(self, execution: Execution) -> None:
        """An owner learns that it lost its lease: it must have been silent."""
        job, token = execution.delivery.job_id, execution.delivery.token
        now_ms = self.history.timeline.now_ms
        is_live = now_ms - execution.confirmed_ms <= RENEWING_MS and not execution.worker.is_stopping
        store = self.history.stage.store
        held = str(store.client.hget(store.keys.lease(job), "token") or 0)
        told = str(store.client.hget(store.keys.job(job), "history"))
        # Not by its own word, such as a return whose reply was lost.
        if is_live and int(held) > token and f" redelivered {held}\n" in told and not self.is_aftermath:
            ago_ms = now_ms - execution.confirmed_ms
            self.breach("a live owner lost its lease", f"{job}-{token}, renewed {ago_ms} ms ago, to {held}")

    def key_served(self, key: str, first: str, second: str) -> None:
        """One idempotency key makes one job."""
        if first != second:
            self.breach("a key made two jobs", f"{key}: {first} and {second}")

    def rolled_back(self, kept_ms: int) -> None:
        """The store is as it was at ``kept_ms``: what it decided since is not decided any more."""
        self.rolled_ms = self.history.timeline.now_ms
        self._lost_tails.append((kept_ms, self.rolled_ms))
        self.ended.clear()
        held = {execution.delivery.token for worker in self.history.workers for execution, _ in worker.held.values()}
        self.claims = {token: claim for token, claim in self.claims.items() if token in held or claim[2] <= kept_ms}
        self.newest = {
            job: (token, at_ms) for job, (token, at_ms) in self.newest.items() if token in held or at_ms <= kept_ms
        }

    def _is_in_lost_tail(self, instant_ms: int) -> bool:
        return any(kept_ms <= instant_ms <= rolled_ms for kept_ms, rolled_ms in self._lost_tails)

    def hear_upstream(self) -> None:
        """Take over what the oracle counted."""
        new = self.history.upstream.breaches[self._told :]
        self._told += len(new)
        for kind, detail in new:
            self.breach(kind, detail)

    def look(self) -> None:
        """Hold the whole store against what must be true of it."""
        seen = self._seen()
        self.hear_upstream()
        for wrong in _wrong_in(seen, self.history.taken):
            if not ("learning" in seen.values and wrong.startswith(WHILE_LEARNING)):
                self.breach("store unsound", wrong)
        for job, record in seen.under("job").items():
            was = self.ended.get(job)
            if was and record["status"] != was:
                self.breach("an end undone", f"{job} was {was} and is {record['status']}")
            if record["status"] in FINAL:
                self.ended[job] = record["status"]

    def look_at_end(self) -> None:
        """All is over: nothing may be held, every accepted job is final, and what ran was not called unstarted."""
        seen = self._seen()
        for job, lease in seen.under("lease").items():
            self.breach("slot leaked", f"{job} in {lease.get('state')} on {lease.get('channel')}")
        for name, members in seen.under("slots").items():
            for job in members:
                if f"lease:{job}" not in seen.values:
                    self.breach("slot leaked", f"{job} on {name} without a lease")
        records = seen.under("job")
        for job, accepted_ms in self.history.accepted.items():
            record = records.get(job)
            if record is None and not self._is_in_lost_tail(accepted_ms):
                self.breach("job lost", job)
            if record and record["status"] not in FINAL:
                self.breach("job not final", f"{job} is {record['status']}")
            if record and record.get("error") == "not started" and job in self.history.upstream.unrefused:
                self.breach("called unstarted, and ran", job)

    def _seen(self) -> Snapshot:
        seen = replace(snapshot(self.history.stage.store), now_ms=self.history.store_ms)
        if int(seen.values.get("learning", 0)) <= self.history.store_ms:
            seen.values.pop("learning", None)
        return seen


def _wrong_in(seen: Snapshot, taken: set[str]) -> list[str]:
    try:
        return breaches(seen, lost=taken)
    except (KeyError, ValueError) as error:
        return [f"unreadable: {error!r}"]
