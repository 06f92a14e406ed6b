"""A worker on a store that loses its last writes: what it holds is told again, and its jobs end as if nothing had been.

One process, a real store whose namespace is put back to an earlier instant; the upstream does what the test tells it.
Restarts and failovers of whole servers are in ``tests/acceptance/test_lost_writes.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from dispatcher.connection import AsyncStore, Store
from dispatcher.jobs import Jobs
from dispatcher.models import Job, Message
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.desk import Unchecked, equipped, next_delivery, until
from tests.support.fleet import Fleet
from tests.support.rollback import Kept, end_learning, keep, put_back
from tests.support.snapshot import snapshot
from workers.__main__ import hand_over
from workers.context import WorkerContext
from workers.renewal import Renewal
from workers.run import run_job
from workers.upstream import Ended, Ledger, Outcome, Refused

CHANNEL = "1197013797467074001"
POOL = "1:discord"


@dataclass
class Paused(Unchecked):
    """An upstream that runs a job to a state, waits for the test there, and goes on to its end."""

    state: str = "A"
    outcome: Outcome = field(default_factory=lambda: Ended(status="completed", message=Message(messageId="5")))
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    ledgers: list[Ledger] = field(default_factory=list)
    at: Callable[[str], object] = str

    async def run(self, ledger: Ledger) -> Outcome:
        self.ledgers.append(ledger)
        steps: dict[str, Callable[[], Awaitable[object]]] = {
            "C": ledger.submitting,
            "S": ledger.unknown,
            "U": lambda: ledger.accepted(f"remote-{ledger.job.id}", Message(messageId="5", content="begun")),
            "A": lambda: ledger.progress(Message(messageId="5", progress_percent=50)),
        }
        if self.state == "D":
            steps["A"] = lambda: ledger.overdue("its time is up")
        for state, step in steps.items():
            if state == self.state:
                await self.may_go_on.wait()
            await step()
            self.at(ledger.lease.state)
        if self.state == "D":
            await self.may_go_on.wait()
        return self.outcome


@dataclass
class Desk:
    """One worker's equipment."""

    store: Store
    jobs: Jobs
    slots: Slots
    renewal: Renewal
    upstream: Paused
    equipment: WorkerContext

    @property
    def fleet(self) -> Fleet:
        return Fleet(self.store)

    def submit(self) -> Job:
        return self.store.do(self.jobs.submit(CreateSingle(prompt="a calm sea", style="Anime"), Options()))

    async def running(self, state: str) -> tuple[Job, asyncio.Task[None], Kept]:
        """A job that waits in the state, its delivery, and the store before it was granted."""
        self.upstream.state = state
        self.fleet.stand(CHANNEL, "paused")
        job = self.submit()
        before = keep(self.store)
        self.fleet.stand(CHANNEL, "active")
        delivery = asyncio.create_task(run_job(next_delivery(self.store)))
        await until(lambda: self.fleet.state(job.id) == state)
        await until(lambda: self.upstream.ledgers[-1].lease.state == state)
        return job, delivery, before

    async def ends(self, job: Job, delivery: asyncio.Task[None]) -> Job:
        """Let the job go on to its end."""
        self.upstream.may_go_on.set()
        await asyncio.wait_for(asyncio.gather(delivery, return_exceptions=True), 20)
        return self.store.do(self.jobs.get(job.id))


@pytest.fixture
async def desk(store: Store, async_store: AsyncStore, settings: Settings) -> AsyncIterator[Desk]:
    quick = settings.model_copy(update={"min_interval_ms": 0})
    Fleet(store).put(CHANNEL)
    upstream = Paused()
    with equipped(quick, async_store, upstream) as equipment:
        yield Desk(store, Jobs(quick), equipment.slots, equipment.renewal, upstream, equipment)


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
@pytest.mark.parametrize("speaks", ["owner", "renewal"])
async def test_a_job_whose_grant_was_lost_ends_as_if_nothing_had_been(desk: Desk, state: str, speaks: str) -> None:
    job, delivery, before = await desk.running(state)
    put_back(desk.store, before)
    desk.fleet.stand(CHANNEL, "active")
    assert desk.fleet.state(job.id) == "P"
    if speaks == "renewal":
        await asyncio.to_thread(desk.renewal.renew)
        assert desk.fleet.state(job.id) == state
    else:
        desk.upstream.may_go_on.set()
        await until(lambda: desk.fleet.used(CHANNEL) or delivery.done())
    end_learning(desk.store)

    ended = await desk.ends(job, delivery)

    assert ended.status == ("failed" if state == "D" else "completed")
    assert any("reasserted" in line for line in ended.history)
    assert (desk.fleet.used(CHANNEL), desk.fleet.pending()) == ([], [])
    assert ended.attempts == 1
    assert len(desk.upstream.ledgers) == 1


@pytest.mark.parametrize("state", ["C", "S", "U", "A"])
async def test_a_job_of_which_the_store_knows_nothing_is_accepted_anew(desk: Desk, state: str) -> None:
    before = keep(desk.store)
    job, delivery, _ = await desk.running(state)
    put_back(desk.store, before)
    await asyncio.to_thread(desk.renewal.renew)
    assert desk.fleet.state(job.id) == state
    end_learning(desk.store)

    ended = await desk.ends(job, delivery)

    assert (ended.status, ended.prompt, ended.attempts) == ("completed", "a calm sea", 1)
    assert desk.fleet.listed("completed") == [job.id]


@pytest.mark.parametrize("behind", ["P", "R", "C", "S", "A"])
async def test_a_job_that_began_and_ended_within_what_was_lost_is_not_run_again(desk: Desk, behind: str) -> None:
    desk.fleet.stand(CHANNEL, "paused")
    job = desk.submit()
    before = {"P": keep(desk.store)}
    desk.fleet.stand(CHANNEL, "active")
    before["R"] = keep(desk.store)
    desk.upstream.state = "C"
    delivery = asyncio.create_task(run_job(next_delivery(desk.store)))
    await until(lambda: desk.fleet.state(job.id) == "C")
    before["C"] = keep(desk.store)
    desk.upstream.at = lambda state: before.setdefault(state, keep(desk.store))
    ended = await desk.ends(job, delivery)
    put_back(desk.store, before[behind])
    desk.fleet.stand(CHANNEL, "active")

    await asyncio.to_thread(desk.renewal.renew)
    await asyncio.to_thread(desk.renewal.renew)

    again = desk.store.do(desk.jobs.get(job.id))
    assert (again.status, again.messageId, again.attempts) == ("completed", ended.messageId, 1)
    assert (desk.fleet.used(CHANNEL), desk.fleet.pending(), desk.fleet.queue()) == ([], [], [])


async def test_a_refused_job_whose_return_was_lost_is_returned_again(desk: Desk) -> None:
    desk.upstream.outcome = Refused(reason="busy", cool_s=60)
    job, delivery, _ = await desk.running("S")
    submitted = keep(desk.store)
    await desk.ends(job, delivery)
    put_back(desk.store, submitted)

    await asyncio.to_thread(desk.renewal.renew)

    assert (desk.fleet.state(job.id), desk.fleet.pending()) == ("P", [job.id])


async def test_an_ending_that_the_store_kept_is_asked_of_and_then_forgotten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, delivery, _ = await desk.running("A")
    await desk.ends(job, delivery)
    whole = snapshot(desk.store).settled()

    await asyncio.to_thread(desk.renewal.renew)
    assert len(desk.renewal.recent) == 1
    monkeypatch.setattr("workers.recent.REMEMBERED_S", -1)
    await asyncio.to_thread(desk.renewal.renew)

    assert len(desk.renewal.recent) == 0
    assert snapshot(desk.store).settled() == whole


async def test_a_refusal_after_the_loss_returns_the_job_once(desk: Desk) -> None:
    desk.upstream.outcome = Refused(reason="busy", cool_s=60)
    job, delivery, before = await desk.running("A")
    put_back(desk.store, before)
    end_learning_soon = asyncio.create_task(asyncio.to_thread(end_learning, desk.store))

    ended = await desk.ends(job, delivery)

    await end_learning_soon
    assert ended.status == "created"
    assert (desk.fleet.pending(), desk.fleet.used(CHANNEL)) == ([job.id], [])


async def test_a_job_that_another_worker_got_meanwhile_is_given_up(desk: Desk) -> None:
    job, delivery, before = await desk.running("A")
    put_back(desk.store, before)
    end_learning(desk.store)
    desk.store.client.set(desk.store.keys.of("learning_ms"), 0)  # what learning is there to prevent
    desk.fleet.stand(CHANNEL, "active")
    token = desk.fleet.token(job.id)

    await asyncio.to_thread(desk.renewal.renew)
    await asyncio.wait_for(delivery, 20)

    assert desk.fleet.token(job.id) == token
    assert desk.renewal.deliveries() == []


async def test_a_delivery_waits_through_the_window_and_then_runs(desk: Desk) -> None:
    job = desk.submit()
    desk.store.client.set(desk.store.keys.of("learning"), "the server changed", px=600_000)
    desk.upstream.may_go_on.set()

    delivery = asyncio.create_task(run_job(next_delivery(desk.store)))
    await until(lambda: desk.store.client.info("commandstats")["cmdstat_evalsha"]["calls"] > 2)
    assert (desk.fleet.state(job.id), desk.upstream.ledgers) == ("R", [])
    end_learning(desk.store)

    ended = await desk.ends(job, delivery)
    assert ended.status == "completed"


async def test_a_worker_that_stops_does_not_wait_for_the_window(desk: Desk) -> None:
    job = desk.submit()
    desk.store.client.set(desk.store.keys.of("learning"), "the server changed", px=600_000)
    delivery = asyncio.create_task(run_job(next_delivery(desk.store)))

    desk.equipment.stopping.set()

    with pytest.raises(Exception, match="this worker stops"):
        await asyncio.wait_for(delivery, 20)
    assert desk.fleet.state(job.id) == "R"


async def test_a_stop_during_the_window_tells_what_was_lost_and_leaves_the_rest_to_the_reaper(desk: Desk) -> None:
    job, delivery, before = await desk.running("A")
    token = desk.fleet.token(job.id)
    put_back(desk.store, before)

    await asyncio.wait_for(hand_over(desk.equipment.store, desk.slots, desk.renewal), 20)
    await asyncio.wait_for(delivery, 20)

    assert (desk.fleet.state(job.id), desk.fleet.token(job.id)) == ("A", token)
    end_learning(desk.store)
    desk.fleet.strike_twice(job.id)
    assert desk.fleet.queue() == [f"{job.id}-{desk.fleet.token(job.id)}"]


async def test_a_store_that_forgets_again_and_again_is_not_asked_in_a_loop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[int] = []

    async def nap(wait_ms: int) -> None:
        naps.append(wait_ms)
        if len(naps) < 4:
            put_back(desk.store, before)
        await asyncio.sleep(0)

    job, delivery, before = await desk.running("A")
    monkeypatch.setattr("workers.ledger.nap", nap)
    put_back(desk.store, before)

    ended = await desk.ends(job, delivery)

    assert ended.status == "completed"
    assert len(naps) >= 4
    assert min(naps) > 0
