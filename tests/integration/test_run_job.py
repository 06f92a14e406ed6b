"""One delivery's straight line on a real store; the upstream does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dispatcher.connection import AsyncStore, Store
from dispatcher.handoff import QUEUE, DeliveryId
from dispatcher.jobs import Jobs, Options
from dispatcher.models import CreateSingle, Job, Message
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.fleet import Fleet
from workers import context
from workers.context import JobFailed, WorkerContext
from workers.execution import Execution, current_execution
from workers.ledger import Gates
from workers.renewal import Renewal
from workers.run import run_job
from workers.upstream import Ended, Ledger, Outcome, Refused

CHANNEL = "1197013797467074001"
POOL = "1:discord"

Play = Callable[[Ledger], Awaitable[Outcome]]


@dataclass
class ToldUpstream:
    """Does what a test tells it to, and remembers what it saw."""

    play: Play
    name: str = "discord"
    seen: list[Ledger] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def run(self, ledger: Ledger) -> Outcome:
        self.seen.append(ledger)
        try:
            return await self.play(ledger)
        except asyncio.CancelledError:
            self.ended.append(ledger.job.id)
            raise

    async def close(self) -> None:
        pass


@dataclass
class Desk:
    """One worker's equipment, and the means to give it deliveries."""

    store: Store
    jobs: Jobs
    slots: Slots
    renewal: Renewal
    upstream: ToldUpstream

    def enqueue(self, prompt: str = "a calm sea") -> tuple[Job, str]:
        """Accept a job that is leased at once; the job and its delivery's id."""
        job = self.store.do(self.jobs.submit(CreateSingle(prompt=prompt, style="Anime"), Options()))
        return job, self.next_delivery()

    def next_delivery(self) -> str:
        delivery = self.store.client.lpop(f"{self.store.keys.namespace}:rq:queue:{QUEUE}")
        assert isinstance(delivery, str)
        return delivery

    def read(self, job: Job) -> Job:
        return self.store.do(self.jobs.get(job.id))

    def used(self) -> int:
        return int(self.store.client.zcard(self.store.keys.of("slots", POOL, CHANNEL)))

    def state_of(self, job: Job) -> str | None:
        state = self.store.client.hget(self.store.keys.lease(job.id), "state")
        return str(state) if state else None


async def completed(ledger: Ledger) -> Outcome:
    await ledger.submitting()
    assert await ledger.accepted(f"remote-{ledger.job.id}")
    return Ended(status="completed", message=Message(messageId="5", content="done"))


async def for_ever(ledger: Ledger) -> Outcome:
    await ledger.submitting()
    await ledger.accepted(f"remote-{ledger.job.id}")
    await asyncio.Event().wait()
    raise AssertionError("nothing sets it")


@pytest.fixture
async def desk(store: Store, async_store: AsyncStore, settings: Settings) -> AsyncIterator[Desk]:
    quick = settings.model_copy(update={"min_interval_ms": 0})
    Fleet(store).put(CHANNEL, 2)
    renewal = Renewal(quick)
    upstream = ToldUpstream(completed)
    slots = Slots(quick)
    uninstall = context.install(WorkerContext(quick, async_store, slots, renewal, Gates(), {"discord": upstream}))
    entered = current_execution.set(Execution("execution", "worker"))
    yield Desk(store, Jobs(quick), slots, renewal, upstream)
    current_execution.reset(entered)
    uninstall()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (the condition is in Redis)
            await asyncio.sleep(0.01)


async def test_a_job_runs_from_claim_to_settled_and_its_slot_is_free(desk: Desk) -> None:
    job, delivery = desk.enqueue()

    await run_job(delivery)

    ended = desk.read(job)
    assert (ended.status, ended.content, ended.attempts) == ("completed", "done", 1)
    assert [line.split()[1] for line in ended.history] == [
        *("accepted", "leased", "claimed", "submitting", "accepted", "settled"),
    ]
    assert desk.used() == 0


async def test_a_failed_job_is_settled_and_then_told_to_rq(desk: Desk) -> None:
    async def fails(ledger: Ledger) -> Outcome:
        return Ended(status="failed", error="the bot says: no", error_details="all of it")

    desk.upstream.play = fails
    job, delivery = desk.enqueue()

    with pytest.raises(JobFailed):
        await run_job(delivery)

    ended = desk.read(job)
    assert (ended.status, ended.error, ended.errorDetails) == ("failed", "the bot says: no", "all of it")
    assert desk.used() == 0


async def test_a_moderated_job_is_an_outcome_and_no_failure_to_rq(desk: Desk) -> None:
    async def moderates(ledger: Ledger) -> Outcome:
        return Ended(status="moderated", error="the bot says: sensitive")

    desk.upstream.play = moderates
    job, delivery = desk.enqueue()

    await run_job(delivery)

    assert desk.read(job).status == "moderated"


async def test_a_refused_job_waits_again_and_its_account_cools(desk: Desk) -> None:
    async def refuses(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        return Refused(reason="429", cool_s=60)

    desk.upstream.play = refuses
    job, delivery = desk.enqueue()

    await run_job(delivery)

    assert desk.read(job).status == "created"
    assert desk.used() == 0
    assert desk.store.client.zscore(desk.store.keys.of("pending", POOL), job.id) is not None
    assert desk.store.client.zscore(desk.store.keys.of("free", POOL), CHANNEL) is None


async def test_a_delivery_that_is_stale_or_whose_job_is_done_touches_no_upstream(desk: Desk) -> None:
    job, delivery = desk.enqueue()
    old = DeliveryId(job.id, DeliveryId.parse(delivery).token - 1)

    await run_job(str(old))
    assert desk.upstream.seen == []

    await run_job(delivery)
    await run_job(delivery)
    assert len(desk.upstream.seen) == 1


async def test_a_job_whose_account_was_paused_goes_back_at_the_gate(desk: Desk) -> None:
    job, delivery = desk.enqueue()
    Fleet(desk.store).stand(CHANNEL, "paused", "lunch")

    await run_job(delivery)

    assert desk.read(job).status == "created"
    assert (desk.used(), desk.state_of(job)) == (0, None)


async def test_an_owner_that_lost_its_lease_stops_at_the_next_renewal(desk: Desk) -> None:
    desk.upstream.play = for_ever
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")

    Fleet(desk.store).yield_(job.id)
    await asyncio.to_thread(desk.renewal.renew)
    await asyncio.wait_for(running, 20)

    assert desk.upstream.ended == [job.id]
    assert desk.state_of(job) == "A"
    assert desk.used() == 1
    assert desk.renewal.deliveries() == []


async def test_a_swallowed_cancellation_is_repeated_until_the_work_stops(desk: Desk) -> None:
    swallowed = asyncio.Event()

    async def swallows(ledger: Ledger) -> Outcome:
        try:
            await for_ever(ledger)
        except asyncio.CancelledError:
            swallowed.set()
        return await for_ever(ledger)

    desk.upstream.play = swallows
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")

    desk.renewal.give_up(DeliveryId.parse(delivery))
    await swallowed.wait()
    desk.renewal.give_up(DeliveryId.parse(delivery))

    await asyncio.wait_for(running, 20)


async def test_a_cancellation_from_outside_is_no_lost_lease(desk: Desk) -> None:
    desk.upstream.play = for_ever
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert desk.renewal.deliveries() == []


async def test_a_renewal_extends_what_is_held_and_nothing_else(desk: Desk) -> None:
    desk.upstream.play = for_ever
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")
    expiry = desk.store.keys.of("expiry")
    desk.store.client.zadd(expiry, {job.id: 1000})

    await asyncio.to_thread(desk.renewal.renew)

    assert (desk.store.client.zscore(expiry, job.id) or 0) > 1000
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    desk.store.client.zadd(expiry, {job.id: 1000})
    await asyncio.to_thread(desk.renewal.renew)
    assert desk.store.client.zscore(expiry, job.id) == 1000


async def test_a_fault_of_ours_leaves_the_lease_to_the_reaper(desk: Desk) -> None:
    async def breaks(ledger: Ledger) -> Outcome:
        raise ZeroDivisionError

    desk.upstream.play = breaks
    job, delivery = desk.enqueue()

    with pytest.raises(ZeroDivisionError):
        await run_job(delivery)

    assert (desk.state_of(job), desk.used(), desk.read(job).status) == ("C", 1, "created")
    assert desk.renewal.deliveries() == []


async def test_an_overdue_job_fails_at_once_and_its_slot_is_free_when_the_upstream_ends(desk: Desk) -> None:
    ends = asyncio.Event()

    async def overdue(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        await ledger.accepted("remote-1")
        await ledger.overdue("no progress for 600 s")
        await ends.wait()
        return Ended(status="completed", message=Message(messageId="5"))

    desk.upstream.play = overdue
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "D")
    assert (desk.read(job).status, desk.used()) == ("failed", 1)

    ends.set()
    with pytest.raises(JobFailed):
        await running

    ended = desk.read(job)
    assert (ended.status, ended.error, desk.used()) == ("failed", "no progress for 600 s", 0)


async def test_the_second_job_of_a_channel_is_let_in_when_the_first_is_answered(desk: Desk) -> None:
    may_answer = asyncio.Event()
    inside: list[str] = []

    async def plays(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        inside.append(ledger.job.id)
        await may_answer.wait()
        return await self_answered(ledger)

    async def self_answered(ledger: Ledger) -> Outcome:
        await ledger.accepted(f"remote-{ledger.job.id}")
        return Ended(status="completed")

    desk.upstream.play = plays
    (first, delivery), (second, another) = desk.enqueue("one"), desk.enqueue("two")
    running = [asyncio.create_task(run_job(delivery)), asyncio.create_task(run_job(another))]
    await until(lambda: len(desk.upstream.seen) == 2 and inside)

    assert len(inside) == 1
    may_answer.set()
    await asyncio.gather(*running)

    assert sorted(inside) == sorted([first.id, second.id])
    assert {desk.read(job).status for job in (first, second)} == {"completed"}


async def test_progress_is_shown_once_a_change(desk: Desk) -> None:
    async def progresses(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        await ledger.accepted("remote-1", Message(messageId="5"))
        for percent in (10, 10, 60):
            await ledger.progress(Message(messageId="5", progress_percent=percent))
        return Refused(reason="the bot is busy")

    desk.upstream.play = progresses
    job, delivery = desk.enqueue()
    events = desk.store.keys.of("events")

    await run_job(delivery)

    entries: Any = desk.store.client.xrange(events)
    shown = [fields["status"] for _, fields in entries if fields["job"] == job.id]
    assert shown.count("progress") == 2
