"""One delivery's straight line on a real store; the upstream does what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from dispatcher.connection import AsyncStore, Call, Store, command, open_async_store
from dispatcher.errors import StoreReplyError
from dispatcher.handoff import DeliveryId
from dispatcher.jobs import Jobs
from dispatcher.loop import cancel_until_done
from dispatcher.models import Job, Message
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.desk import Unchecked, equipped, next_delivery, until
from tests.support.fleet import Fleet
from workers import context
from workers.__main__ import hand_over
from workers.context import JobFailed
from workers.ledger import DeliveryLedger
from workers.renewal import Renewal
from workers.run import run_job
from workers.upstream import Ended, Ledger, Other, Outcome, PassedOn, Refused

CHANNEL = "1197013797467074001"
POOL = "1:discord"

Play = Callable[[Ledger], Awaitable[Outcome]]


@dataclass
class ToldUpstream(Unchecked):
    """Does what a test tells it to, and remembers what it saw."""

    play: Play
    seen: list[Ledger] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def run(self, ledger: Ledger) -> Outcome:
        self.seen.append(ledger)
        try:
            return await self.play(ledger)
        except asyncio.CancelledError:
            self.ended.append(ledger.job.id)
            raise


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
        return job, next_delivery(self.store)

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
    upstream = ToldUpstream(completed)
    with equipped(quick, async_store, upstream) as equipment:
        yield Desk(store, Jobs(quick), equipment.slots, equipment.renewal, upstream)


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


async def test_a_job_that_failed_is_tried_again_as_a_run_of_its_own_while_it_has_attempts_left(desk: Desk) -> None:
    runs: list[str] = []

    async def fails_once(ledger: Ledger) -> Outcome:
        runs.append(ledger.step)
        await ledger.submitting()
        assert await ledger.accepted(f"run-{len(runs)}", Message(messageId="5", content="half done"))
        if len(runs) == 1:
            return Ended(status="failed", error="the bot says: no", again=True)
        return Ended(status="completed", message=Message(messageId="6", content="done"))

    desk.slots.settings = desk.slots.settings.model_copy(update={"max_attempts": 2})
    desk.upstream.play = fails_once
    job, delivery = desk.enqueue()

    await run_job(delivery)
    between = desk.read(job)
    await run_job(next_delivery(desk.store))

    assert (between.status, between.error, between.messageId, between.attempts) == ("created", None, None, 1)
    ended = desk.read(job)
    assert (ended.status, ended.content, ended.error, ended.attempts) == ("completed", "done", None, 2)
    assert (runs, desk.used()) == (["start", "start"], 0)


async def test_a_job_is_tried_once_unless_more_is_asked_for(desk: Desk) -> None:
    async def fails(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        assert await ledger.accepted("remote-1")
        return Ended(status="failed", error="the bot says: no", again=True)

    desk.upstream.play = fails
    job, delivery = desk.enqueue()

    with pytest.raises(JobFailed):
        await run_job(delivery)

    assert desk.read(job).status == "failed"


async def test_a_moderated_job_is_an_outcome_and_no_failure_to_rq(desk: Desk) -> None:
    async def moderates(ledger: Ledger) -> Outcome:
        return Ended(status="moderated", error="the bot says: sensitive")

    desk.upstream.play = moderates
    job, delivery = desk.enqueue()

    await run_job(delivery)

    assert desk.read(job).status == "moderated"


async def test_one_job_at_a_time_has_its_permission_and_has_not_been_sent(desk: Desk, async_store: AsyncStore) -> None:
    channels = [CHANNEL, "another", "a-third"]
    for channel in channels[1:]:
        Fleet(desk.store).put(channel, 1)
    Fleet(desk.store).put(CHANNEL, 1)
    unsent, most_unsent = 0, 0

    async def sends_slowly(ledger: Ledger) -> Outcome:
        nonlocal unsent, most_unsent
        await ledger.submitting()
        unsent += 1
        for _ in range(5):
            await async_store.do(command("PING", read=bool))
            most_unsent = max(most_unsent, unsent)
        unsent -= 1
        ledger.sent()
        await ledger.accepted(f"remote-{ledger.job.id}")
        return Ended(status="completed")

    desk.upstream.play = sends_slowly
    jobs = [desk.enqueue() for _ in channels]
    assert {desk.read(job).channel for job, _ in jobs} == set(channels)

    await asyncio.gather(*(run_job(delivery) for _, delivery in jobs))

    assert most_unsent == 1
    assert {desk.read(job).status for job, _ in jobs} == {"completed"}


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


async def test_a_refused_job_whose_answer_is_held_ends_and_is_no_fault_of_the_worker(desk: Desk) -> None:
    async def refuses(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        return Refused(reason="429", cool_s=60)

    desk.upstream.play = refuses
    job, delivery = desk.enqueue()
    desk.store.client.hset(desk.store.keys.job(job.id), "held_until_ms", Fleet(desk.store).now_ms() + 60_000)

    await run_job(delivery)

    assert (desk.read(job).status, desk.used()) == ("failed", 0)
    assert desk.store.client.hget(desk.store.keys.job(job.id), "refused") is not None


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

    await cancel_until_done(running)

    assert running.cancelled()
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
    await cancel_until_done(running)
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


async def test_a_delivery_whose_record_cannot_be_read_fails_once_and_frees_its_slot(desk: Desk) -> None:
    job, delivery = desk.enqueue()
    desk.store.client.hset(desk.store.keys.job(job.id), "priority", "1.5")

    with pytest.raises(JobFailed):
        await run_job(delivery)
    await run_job(delivery)

    status, error = desk.store.client.hmget(desk.store.keys.job(job.id), "status", "error")
    assert status == "failed"
    assert "record is unreadable" in str(error)
    assert (desk.state_of(job), desk.used(), desk.upstream.seen) == (None, 0, [])


@pytest.mark.parametrize("state", ["S", "U", "A"])
async def test_a_submitted_job_whose_record_cannot_be_read_fails_and_keeps_its_slot(desk: Desk, state: str) -> None:
    desk.upstream.play = for_ever
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")
    Fleet(desk.store).yield_(job.id)
    await cancel_until_done(running)
    desk.store.client.hset(desk.store.keys.lease(job.id), "state", state)
    desk.store.client.hset(desk.store.keys.job(job.id), "priority", "1.5")

    with pytest.raises(JobFailed):
        await run_job(next_delivery(desk.store))

    assert desk.store.client.hget(desk.store.keys.job(job.id), "status") == "failed"
    assert (desk.state_of(job), desk.used()) == ("D", 1)
    assert desk.store.client.zscore(desk.store.keys.of("deadlines"), job.id) is not None


async def test_a_delivery_whose_account_cannot_be_read_fails_and_names_no_value(desk: Desk) -> None:
    job, delivery = desk.enqueue()
    desk.store.client.hset(desk.store.keys.account(POOL, CHANNEL), "max_jobs", "hunter2")

    with pytest.raises(JobFailed):
        await run_job(delivery)

    ended = desk.read(job)
    assert (ended.status, ended.error) == ("failed", "Its record is unreadable: its account: max_jobs")


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


async def test_what_this_worker_lacks_is_passed_on_with_its_slot_and_uncounted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lacks_a_key(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        await ledger.accepted("remote-1")
        raise PassedOn("the key k2 is not configured")

    monkeypatch.setattr("workers.run.PASS_ON_PAUSE_S", 0)
    desk.upstream.play = lacks_a_key
    job, delivery = desk.enqueue()

    await run_job(delivery)

    assert (desk.state_of(job), desk.used()) == ("A", 1)
    assert next_delivery(desk.store) != delivery
    assert desk.store.client.hget(desk.store.keys.job(job.id), "redeliveries") == "0"


async def test_a_renewal_that_meets_a_job_just_settled_takes_nothing_from_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude = DeliveryLedger.conclude

    async def overlapped(ledger: DeliveryLedger, conclusion: Call[str]) -> str:
        status = await conclude(ledger, conclusion)
        desk.renewal.give_up(ledger.lease.delivery)
        await asyncio.sleep(0)
        return status

    async def fails(ledger: Ledger) -> Outcome:
        return Ended(status="failed", error="the bot says: no")

    monkeypatch.setattr(DeliveryLedger, "conclude", overlapped)
    desk.upstream.play = fails
    _, delivery = desk.enqueue()

    with pytest.raises(JobFailed):
        await run_job(delivery)


async def test_a_job_whose_answer_was_lost_does_not_hold_the_next_one_beyond_its_window(desk: Desk) -> None:
    inside: list[str] = []

    async def loses_the_first(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        inside.append(ledger.job.id)
        if len(inside) == 1:
            await ledger.unknown()
            await asyncio.Event().wait()
        return Ended(status="failed", error="enough")

    desk.upstream.play = loses_the_first
    (lost, delivery), (_, another) = desk.enqueue("one"), desk.enqueue("two")
    first = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(lost) == "U")
    second = asyncio.create_task(run_job(another))
    await until(lambda: len(desk.upstream.seen) == 2)

    desk.store.client.zadd(desk.store.keys.of("submitting", POOL, CHANNEL), {lost.id: 1000})

    with pytest.raises(JobFailed):
        await asyncio.wait_for(second, 20)
    await cancel_until_done(first)


async def test_a_fault_of_one_pass_does_not_end_the_renewals(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = 0

    def breaks(_: Renewal) -> None:
        nonlocal passes
        passes += 1
        raise StoreReplyError("renew", "what is this")

    monkeypatch.setattr(Renewal, "renew", breaks)
    desk.renewal._heartbeat_s = 0.01
    desk.renewal.start()

    await until(lambda: passes > 2)
    desk.renewal.stop()


async def test_a_stop_does_not_wait_for_a_store_that_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.upstream.play = for_ever
    job, delivery = desk.enqueue()
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(job) == "A")
    monkeypatch.setattr("workers.__main__.SUBMISSION_ENDS_S", 0.3)
    away = open_async_store("redis://127.0.0.1:1/0", desk.store.keys.namespace)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hand_over(away, desk.slots, desk.renewal), 20)

    await cancel_until_done(running)
    await away.close()


async def test_a_stop_yields_at_once_what_is_accepted_and_later_what_is_in_flight(desk: Desk) -> None:
    may_answer = asyncio.Event()

    async def answers_late(ledger: Ledger) -> Outcome:
        await ledger.submitting()
        await may_answer.wait()
        await ledger.accepted(f"remote-{ledger.job.id}")
        await asyncio.Event().wait()
        raise AssertionError("nothing sets it")

    desk.upstream.play = for_ever
    accepted, delivery = desk.enqueue("one")
    running = [asyncio.create_task(run_job(delivery))]
    await until(lambda: desk.state_of(accepted) == "A")
    desk.upstream.play = answers_late
    in_flight, another = desk.enqueue("two")
    running.append(asyncio.create_task(run_job(another)))
    await until(lambda: desk.state_of(in_flight) == "S")

    stop = asyncio.create_task(hand_over(context.current().store, desk.slots, desk.renewal))
    await until(running[0].done)
    assert (desk.state_of(in_flight), running[1].done()) == ("S", False)
    may_answer.set()
    await asyncio.wait_for(stop, 20)

    await asyncio.gather(*running)
    assert (desk.state_of(accepted), desk.state_of(in_flight), desk.used()) == ("A", "A", 2)


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


async def test_a_job_sees_who_else_holds_a_slot_of_its_account(desk: Desk) -> None:
    first, delivery = desk.enqueue()
    desk.upstream.play = for_ever
    running = asyncio.create_task(run_job(delivery))
    await until(lambda: desk.state_of(first) == "A")
    second, other_delivery = desk.enqueue()
    seen: list[list[Other]] = []

    async def look(ledger: Ledger) -> Outcome:
        seen.append(await ledger.others())
        seen.append(await desk.upstream.seen[0].others())
        return Ended(status="failed", error="seen enough")

    desk.upstream.play = look
    with pytest.raises(JobFailed):
        await run_job(other_delivery)
    seen.append(await desk.upstream.seen[0].others())
    await cancel_until_done(running)

    (of_second,), (of_first,), none_left = seen
    assert (of_second.job.id, of_second.remote_id) == (first.id, f"remote-{first.id}")
    assert (of_second.is_submitted, of_second.is_older) == (True, True)
    assert (of_first.job.id, of_first.is_submitted, of_first.is_older) == (second.id, False, False)
    assert none_left == []
