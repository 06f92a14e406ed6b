"""Random walks over all scripts at once, against a small upstream that knows nothing of leases.

The upstream starts to run a job when a worker was permitted to submit it, and ends it when it pleases; it alone counts
how many run. Workers die, freeze and speak with old tokens; ids get lost; accounts change; replies are sent twice.
After every step the whole store is held against what must be true of it (``tests/support/snapshot.py``).

``HYPOTHESIS_PROFILE=deep`` walks farther.
"""

from __future__ import annotations

import os
import random
import uuid
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dispatcher.connection import open_store
from dispatcher.handoff import DeliveryId
from tests.support.fleet import Fleet
from tests.support.snapshot import FINAL, breaches, snapshot

PROFILES = {
    "check": settings(max_examples=100, stateful_step_count=40),
    "judge": settings(
        max_examples=300, stateful_step_count=40, phases=[Phase.generate]
    ),  # a fault needs no small example
    "deep": settings(max_examples=1000, stateful_step_count=60),
}
PROFILE = settings(
    PROFILES[os.environ.get("HYPOTHESIS_PROFILE", "check")],
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

CHANNELS = ("c0", "c1", "c2")
SEED_MAX = 2_147_483_646
an_index = st.integers(0, 11)
a_channel = st.sampled_from(CHANNELS)
a_pin = st.sampled_from(["", "", "", *CHANNELS])
a_token = st.sampled_from(["", "", "", "secret-c0", "token-a"])
"""Of the job's own, a guest's; an account may have the same."""
a_limit: st.SearchStrategy[int | str] = st.sampled_from(["", "", 1, 2])


@dataclass(slots=True)
class Worker:
    """One execution of one delivery, as far as it believes: it may be dead wrong."""

    job: str
    token: str
    execution: str
    state: str
    submission: int = 0  # the submission it made, or found


@dataclass(frozen=True, slots=True)
class Run:
    """A job that the upstream runs."""

    channel: str
    submission: int


class Lifecycles(RuleBasedStateMachine):
    """Jobs, accounts, workers and an upstream."""

    server_url = ""

    def __init__(self) -> None:
        super().__init__()
        self.store = open_store(self.server_url, f"{{w{uuid.uuid4().hex[:12]}}}")
        self.fleet = Fleet(self.store)
        self.jobs: list[str] = []
        self.workers: list[Worker] = []
        self.limits: dict[str, int] = {}
        self.runs: dict[str, Run] = {}  # what the upstream runs now
        self.sent: dict[str, int] = {}  # jobs that the upstream was sent and has not refused, by submission
        self.submissions = 0
        self.ended: dict[str, str] = {}  # final status, as first seen
        self.fence = 0
        self.executions = 0
        self.chance = random.Random()  # noqa: S311 (seeded by the walk, so that a failure can be repeated)

    def teardown(self) -> None:
        for key in self.store.client.scan_iter(f"{self.store.keys.namespace}:*", count=1000):
            self.store.client.delete(key)
        self.store.close()

    @initialize(
        seed=st.integers(0, 2**32),
        limits=st.lists(st.integers(1, 3), min_size=2, max_size=3),
        begun=st.lists(st.tuples(a_pin, a_limit, st.integers(0, 4), a_token), min_size=2, max_size=7),
    )
    def a_fleet_at_work(self, seed: int, limits: list[int], begun: list[tuple[str, int | str, int, str]]) -> None:
        self.chance.seed(seed)
        self.fleet.seed = lambda: self.chance.randint(1, SEED_MAX)
        for channel, max_jobs in zip(CHANNELS, limits, strict=False):
            self.put(channel, max_jobs)
        for pin, limit, steps, own in begun:
            self.submit(pin, limit, 0, "wait", "", 0, own)
            self.take_up(1)
            for _ in range(steps if self.workers else 0):
                self.go_on(self.workers[-1])

    # --- callers and operators ------------------------------------------------------------------------

    @rule(
        pin=a_pin,
        limit=a_limit,
        priority=st.sampled_from([0, 0, -100, 100]),
        mode=st.sampled_from(["wait", "wait", "refuse"]),
        key=st.sampled_from(["", "", "k1", "k2"]),
        deadline_ms=st.sampled_from([0, 300_000]),
        own=a_token,
    )
    def submit(
        self, pin: str, limit: int | str, priority: int, mode: str, key: str, deadline_ms: int, own: str
    ) -> None:
        job, own = f"j{len(self.jobs)}", own if pin else ""
        reply = self.fleet.submit(
            job, pin=pin, limit=limit, priority=priority, mode=mode, key=key, deadline_ms=deadline_ms, own=own
        )
        if reply[0] == "created":
            self.jobs.append(job)
            assert mode == "wait" or self.fleet.lease(job)
        else:
            assert not self.fleet.record(job)
        is_homeless = bool(pin) and not own and pin not in self.limits
        assert (reply == ["no_account"]) == (is_homeless and reply[0] != "exists")

    @precondition(lambda self: self.jobs)
    @rule(index=an_index)
    def cancel(self, index: int) -> None:
        assert self.fleet.cancel(self.jobs[index % len(self.jobs)])[0] == "ok"

    @rule(channel=a_channel, limit=st.integers(1, 3))
    def put(self, channel: str, limit: int) -> None:
        assert self.fleet.put(channel, limit)[0] == ("updated" if channel in self.limits else "created")
        self.limits[channel] = limit

    @precondition(lambda self: self.workers)
    @rule(index=an_index)
    def lower_while_all_are_about_to_submit(self, index: int) -> None:
        channel = self.fleet.channel(self.workers[index % len(self.workers)].job)
        if channel in self.limits:
            self.put(channel, 1)
        for worker in [worker for worker in self.workers if worker.state in "CS"]:
            self.go_on(worker)

    @rule(channel=a_channel, change=st.sampled_from(["active", "active", "paused", "draining", "disabled", "remove"]))
    def stand_or_go(self, channel: str, change: str) -> None:
        is_known = channel in self.limits
        if change == "remove":
            assert (self.fleet.remove(channel) == ["missing"]) != is_known
            self.limits.pop(channel, None)
        else:
            assert (self.fleet.stand(channel, change) == ["missing"]) != is_known

    @rule(channel=a_channel, verdict=st.sampled_from(["ok", "ok", "rejected", "unclear"]), is_due=st.booleans())
    def check(self, channel: str, verdict: str, is_due: bool) -> None:
        if is_due:
            self.store.client.zadd(self.fleet.key("checks"), {f"{self.fleet.pool}:{channel}": 1}, xx=True)
            self.fleet.check()
        told = self.fleet.check(channel)
        assert (told == ["missing"]) == (channel not in self.limits)
        for check_id in told[1:]:
            self.store.client.lrem(self.fleet.queue_key, 0, check_id)  # a worker took it
            assert self.fleet.checked(channel, verdict, check=check_id)[0] == "ok"

    # --- workers ---------------------------------------------------------------------------------------

    @rule(count=st.integers(1, 3))
    def take_up(self, count: int) -> None:
        for popped in self.store.client.lpop(self.fleet.queue_key, count) or ():
            delivery = DeliveryId.parse(str(popped))
            job, token = delivery.job_id, str(delivery.token)
            self.executions += 1
            execution = f"e{self.executions}"
            reply = self.fleet.claim(job, token=token, execution=execution)
            is_current = self.fleet.token(job) == token
            assert is_current == (reply[0] not in {"stale", "done"})
            if is_current:
                self.workers.append(Worker(job, token, execution, self.fleet.state(job), self.sent.get(job, 0)))

    @precondition(lambda self: self.workers)
    @rule(indexes=st.lists(an_index, min_size=1, max_size=4))
    def work(self, indexes: list[int]) -> None:
        for index in indexes:
            if self.workers:
                self.go_on(self.workers[index % len(self.workers)])

    @precondition(lambda self: self.workers)
    @rule(
        index=an_index,
        event=st.sampled_from(
            [
                "claim_again",
                "claim_elsewhere",
                "accepted_anothers",
                "unknown",
                "renew",
                "ended_upstream",
                "gave_up_waiting",
                "refused",
                "refused_of_unknown_fate",
                "stop_gracefully",
                "die",
            ]
        ),
    )
    def happen(self, index: int, event: str) -> None:
        getattr(self, event)(self.workers[index % len(self.workers)])

    def go_on(self, worker: Worker) -> None:
        """What a worker does when all goes well."""
        match worker.state:
            case "C":
                self.submit_upstream(worker)
            case "S" | "U":
                self.accepted(worker, "started")
            case "A" if self.fleet.status(worker.job) == "started":
                self.accepted(worker, "progress")
            case _:
                self.ended_upstream(worker)

    def claim_again(self, worker: Worker) -> None:
        held = self.holds(worker)
        reply = self.fleet.claim(worker.job, token=worker.token, execution=worker.execution)
        assert (reply[0] == "same") == held

    def claim_elsewhere(self, worker: Worker) -> None:
        reply = self.fleet.claim(worker.job, token=worker.token, execution="another")
        assert reply[0] in {"stale", "done"}

    def submit_upstream(self, worker: Worker) -> None:
        channel = self.fleet.channel(worker.job)
        reply = self.fleet.mark_submitting(worker.job, token=worker.token)
        match reply:
            case ["ok", _, _]:
                assert channel is not None
                running = [job for job, run in self.runs.items() if run.channel == channel]
                assert len(running) < self.most(worker.job, channel), f"{channel} is over-used: {running} run"
                assert worker.job not in self.sent, f"{worker.job} is submitted twice"
                self.submissions += 1
                self.runs[worker.job] = Run(channel, self.submissions)
                self.sent[worker.job] = worker.submission = self.submissions
                worker.state = "S"
            case ["wait", _]:
                pass
            case _:
                self.workers.remove(worker)

    def accepted(self, worker: Worker, status: str) -> None:
        if self.sent.get(worker.job) != worker.submission:
            self.ended_upstream(worker)  # it was refused meanwhile: looked up, and not found
            return
        remote = f"submission-{worker.submission}"
        reply = self.fleet.mark_accepted(worker.job, remote, token=worker.token, status=status)
        if self.spoke(worker, is_ours=reply[0] == "ok"):
            worker.state = reply[1]

    def accepted_anothers(self, worker: Worker) -> None:
        if worker.state == "C":
            return  # nobody knows an id of what he has not sent
        others = [n for job, n in self.sent.items() if job != worker.job and self.fleet.lease(job).get("remote")]
        for submission in others[:1]:
            reply = self.fleet.mark_accepted(worker.job, f"submission-{submission}", token=worker.token)
            assert reply[0] in {"claimed", "other", "stale"}

    def unknown(self, worker: Worker) -> None:
        if worker.state == "S":
            reply = self.fleet.mark_unknown(worker.job, token=worker.token)
            if self.spoke(worker, is_ours=reply[0] == "ok"):
                worker.state = reply[1]

    def renew(self, worker: Worker) -> None:
        held = self.holds(worker)
        known = (worker.job, worker.token, worker.state, "", worker.execution)
        assert self.fleet.run("renew", self.fleet.times.ttl_ms, *known) == ["ok" if held else "lost"]

    def ended_upstream(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.stops(worker)
        held = self.holds(worker)
        status = self.chance.choice(("completed", "failed", "moderated"))
        attempts_max = self.chance.choice(("", 2))
        reply = self.fleet.settle(worker.job, status, attempts_max=attempts_max, token=worker.token)
        assert not held or reply[0] == "ok"
        if held and reply == ["ok", "created"]:  # tried again: only what was accepted, and has ended
            assert (status, attempts_max, worker.state) == ("failed", 2, "A")
            assert self.sent.pop(worker.job) == worker.submission

    def gave_up_waiting(self, worker: Worker) -> None:
        held = self.holds(worker)
        reply = self.fleet.settle(worker.job, "failed", running=True, token=worker.token)
        assert not held or reply[0] == "ok"
        if worker.state == "C" or not held:
            self.workers.remove(worker)
        else:
            worker.state = "D"

    def refused(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self.stops(worker)
        if self.sent.get(worker.job) == worker.submission:
            self.sent.pop(worker.job, None)
        self.fleet.handback(
            worker.job,
            token=worker.token,
            cool_ms=self.chance.choice((0, 0, 60_000)),
            cools=self.chance.choice(("", "said", "suspected", "held")),
            disable=self.chance.choice(("", "", "", "check", "operator")),
            requeues_max=self.chance.choice((2, 2, "")),
            never_sent=True,
        )

    def refused_of_unknown_fate(self, worker: Worker) -> None:
        if self.fleet.state(worker.job) == "U":
            assert self.fleet.handback(worker.job, token=worker.token) == ["stale"]

    def stop_gracefully(self, worker: Worker) -> None:
        held, state = self.holds(worker), self.fleet.state(worker.job)
        told = self.fleet.run(
            "yield", self.fleet.times.ttl_ms, worker.job, worker.token, worker.state, "", worker.execution
        )
        assert told == ["stale" if not held else "later" if state == "S" else "ok"]
        if told != ["later"]:
            self.workers.remove(worker)

    def die(self, worker: Worker) -> None:
        self.workers.remove(worker)

    # --- time, loss and repetition ---------------------------------------------------------------------

    @precondition(lambda self: self.jobs)
    @rule(indexes=st.sets(an_index, min_size=1, max_size=3), strikes=st.sampled_from([2, 2, 1]))
    def fall_silent(self, indexes: set[int], strikes: int) -> None:
        jobs = [self.jobs[index % len(self.jobs)] for index in sorted(indexes)]
        for _ in range(strikes):
            self.fleet.expire(*jobs)
            self.fleet.reap(redeliveries_max=2)

    @precondition(lambda self: self.jobs)
    @rule(index=an_index)
    def run_out_of_time(self, index: int) -> None:
        job = self.jobs[index % len(self.jobs)]
        if self.fleet.state(job) == "D":
            self.runs.pop(job, None)  # a job that outlives deadline + hold is beyond anyone's repair
        self.fleet.pass_deadline(job)
        self.fleet.reap(redeliveries_max=2)

    @rule(channels=st.sets(a_channel))
    def cool_down(self, channels: set[str]) -> None:
        for channel in sorted(channels):
            for job in self.fleet.pending(channel):
                self.store.client.hdel(self.fleet.key("job", job), "rest_until_ms")
            if self.fleet.account(channel):
                self.fleet.end_cooling(channel)
        is_due = self.store.client.zcount(self.fleet.key("due"), "-inf", self.fleet.now_ms())
        grants, _, _ = self.fleet.dispatch(pool="")
        assert grants == 0 or is_due

    @precondition(lambda self: self.jobs)
    @rule(index=an_index)
    def lose_an_id(self, index: int) -> None:
        self.fleet.lose(self.jobs[index % len(self.jobs)])

    @precondition(lambda self: self.fleet.last is not None)
    @rule()
    def repeat_the_last_call(self) -> None:
        self.fleet.again_changes_nothing()

    # --- what must be true -----------------------------------------------------------------------------

    @invariant()
    def the_store_is_sound(self) -> None:
        seen = snapshot(self.store)
        assert not breaches(seen, lost=self.fleet.lost)
        assert int(seen.values.get("fence", 0)) >= self.fence
        self.fence = int(seen.values.get("fence", 0))
        remotes = [lease["remote"] for lease in seen.under("lease").values() if lease.get("remote")]
        assert len(set(remotes)) == len(remotes)
        for job, record in seen.under("job").items():
            if record["status"] in FINAL:
                assert self.ended.setdefault(job, record["status"]) == record["status"]
            else:
                assert job not in self.ended

    @invariant()
    def whatever_runs_upstream_holds_its_slot(self) -> None:
        for job, run in self.runs.items():
            assert self.fleet.channel(job) == run.channel, f"{job} runs on {run.channel} without a slot"

    def most(self, job: str, channel: str) -> int:
        """How many may run when the job is submitted; a guest's own limit counts then, too."""
        record = self.fleet.record(job)
        own = int(record["limit"] or 10) if "own_sealed" in record else 10
        return min(own, self.limits.get(channel, 10))

    def holds(self, worker: Worker) -> bool:
        """Whether the worker's token is the one in force."""
        return self.fleet.token(worker.job) == worker.token

    def stops(self, worker: Worker) -> None:
        """The upstream ends, or never took, the submission that the worker speaks of."""
        run = self.runs.get(worker.job)
        if run is not None and run.submission == worker.submission:
            del self.runs[worker.job]

    def spoke(self, worker: Worker, *, is_ours: bool) -> bool:
        """A worker that is told no stops; returns whether it goes on."""
        assert is_ours == self.holds(worker)
        if not is_ours:
            self.workers.remove(worker)
        return is_ours


def test_no_walk_over_the_scripts_breaks_a_promise(server_url: str) -> None:
    machine = type("Walk", (Lifecycles,), {"server_url": server_url})

    run_state_machine_as_test(machine, settings=PROFILE)
