"""A worker dies and another takes over; a job is over for its caller and runs on; one poller serves a channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from dispatcher.errors import LeaseLost
from dispatcher.loop import cancel_until_done
from simulator.process import running
from tests.support.discord_world import World, assert_completed_with_own_file
from tests.support.ledger import MemoryLedger, account_of, now_ms, play
from workers.upstream import Ended, Outcome, PassedOn, Refused


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("--strict") as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    declare(opened, opened.token)
    yield opened
    await opened.close()


def declare(world: World, token: str) -> None:
    world.control("accounts", token=token, server="111111111111111111", channel=world.channel, max_jobs=10)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (the condition is the simulator's, in another process)
            await asyncio.sleep(0.02)


async def followed(world: World, directive: str) -> tuple[MemoryLedger, asyncio.Task[Outcome]]:
    """Submit a job and follow it, once it was accepted."""
    ledger = world.ledger(directive)
    delivery = asyncio.create_task(play(world.discord(), ledger))
    await until(lambda: ledger.lease.state == "A")
    return ledger, delivery


async def killed_when(world: World, ledger: MemoryLedger, condition: Callable[[], object]) -> MemoryLedger:
    """Run a delivery until the condition holds, kill it and its client, and return the next delivery's ledger."""
    discord = world.discord()
    delivery = asyncio.create_task(play(discord, ledger))
    await until(condition)
    await cancel_until_done(delivery)
    await discord.close()
    return ledger.redelivered()


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
async def test_an_accepted_job_is_adopted_by_a_new_worker(world: World, result: str) -> None:
    ledger = world.ledger(f"seconds=1 ack=0 result={result}")
    successor = await killed_when(world, ledger, lambda: ledger.lease.state == "A")

    outcome = await play(world.discord(), successor)

    assert successor.step == "adopt"
    assert_completed_with_own_file(world, outcome)


async def test_a_job_that_ended_while_nobody_looked_is_still_adopted(world: World) -> None:
    ledger = world.ledger("seconds=0.8 ack=0")
    successor = await killed_when(world, ledger, lambda: ledger.lease.state == "A")
    await until(lambda: world.jobs()[0]["finished_ms"])

    assert_completed_with_own_file(world, await play(world.discord(), successor))


async def test_a_submission_cut_off_before_its_answer_is_looked_up_and_not_repeated(world: World) -> None:
    ledger = world.ledger("seconds=1 ack=0.5")
    successor = await killed_when(world, ledger, world.accepted)

    outcome = await play(world.discord(), successor)

    assert successor.step == "lookup"
    assert successor.events == ["A"]
    assert_completed_with_own_file(world, outcome)


async def test_a_submission_that_never_left_is_named_not_started_after_the_whole_window(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.client._ANSWER_LATEST_S", 0.5)
    ledger = world.ledger()
    await ledger.submitting()
    successor = ledger.redelivered()
    started_s = time.monotonic()

    outcome = await play(world.discord(), successor)

    assert isinstance(outcome, Ended)
    assert (outcome.error or "").startswith("not started: ")
    assert time.monotonic() - started_s >= 0.5 + 0.6
    assert world.accepted() == 0


@pytest.mark.parametrize("redis_ahead_ms", [-30_000, -2600, -2200, 1500, 2200, 5000])
async def test_a_lookup_finds_its_answer_however_far_off_the_stores_clock_was_and_though_it_stepped_since(
    world: World, redis_ahead_ms: int
) -> None:
    ledger = world.ledger("seconds=1 ack=0.5")
    ledger.redis_ahead_ms = redis_ahead_ms
    successor = await killed_when(world, ledger, world.accepted)

    assert_completed_with_own_file(world, await play(world.discord(), successor))


@pytest.mark.parametrize("redis_ahead_ms", [-2600, -2200, 2200, 2600])
async def test_a_start_finds_its_answer_however_far_off_the_stores_clock_is(world: World, redis_ahead_ms: int) -> None:
    discord = world.discord()
    for _ in range(3):
        ledger = world.ledger("seconds=0.2 ack=0", prompt=f"take {_}")
        ledger.redis_ahead_ms = redis_ahead_ms

        outcome = await play(discord, ledger)

        assert isinstance(outcome, Ended)
        assert outcome.status == "completed", outcome


async def test_a_lookup_knows_as_whom_the_job_was_submitted_though_the_account_has_another_token_now() -> None:
    with running() as open_url:
        world = World(open_url)
        ledger = world.ledger("seconds=1 ack=0.5")
        successor = await killed_when(world, ledger, world.accepted)
        successor.account = account_of(world.channel, token="the-token-of-somebody-else")

        assert_completed_with_own_file(world, await play(world.discord(), successor))
        await world.close()


@pytest.mark.parametrize("state", ["C", "A"])
async def test_a_kind_that_this_version_does_not_know_is_left_to_another_worker(world: World, state: str) -> None:
    ledger = world.ledger("seconds=30 ack=0")
    if state == "A":
        ledger = await killed_when(world, ledger, lambda: ledger.lease.state == "A")
    ledger.job = ledger.job.model_copy(update={"kind": "a_later_one"})

    with pytest.raises(PassedOn):
        await play(world.discord(), ledger)


async def test_a_lookup_counts_its_window_from_the_submission_and_not_from_its_own_start(world: World) -> None:
    ledger = world.ledger()
    await ledger.submitting()
    ledger._lease = replace(ledger.lease, submitted_ms=now_ms() - 60_000)
    successor = ledger.redelivered()

    async with asyncio.timeout(10):  # the whole window is 22 s and more
        outcome = await play(world.discord(), successor)

    assert isinstance(outcome, Ended)
    assert (outcome.error or "").startswith("not started: ")


async def test_a_lookup_does_not_take_the_answer_of_a_job_that_was_sent_much_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.client._ANSWER_LATEST_S", 0.5)
    lost = world.ledger()
    await lost.submitting()
    lost._lease = replace(lost.lease, submitted_ms=now_ms() - 60_000)
    lost = lost.redelivered()

    late, own = await asyncio.gather(
        play(world.discord(), lost), play(world.discord(), world.ledger("seconds=0.5 ack=0"))
    )

    assert isinstance(late, Ended)
    assert (late.error or "").startswith("not started: ")
    assert_completed_with_own_file(world, own)


@pytest.mark.parametrize("is_known", [True, False], ids=["its interaction is known", "it was cancelled in flight"])
async def test_a_job_that_is_over_for_its_caller_is_watched_until_the_upstream_ends(
    world: World, is_known: bool
) -> None:
    ledger = world.ledger("seconds=0.8 ack=0.3")
    successor = await killed_when(world, ledger, (lambda: ledger.lease.state == "A") if is_known else world.accepted)
    successor.step = "watch"
    successor._lease = replace(successor.lease, state="D")

    outcome = await play(world.discord(), successor)

    assert isinstance(outcome, Ended)
    assert successor.lease.state == "D"
    assert world.jobs()[0]["finished_ms"] is not None
    assert world.accepted() == 1


async def test_a_token_that_is_revoked_ends_the_job_for_its_caller_and_the_channel_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.rhythm._REFUSED_PAUSE_S", 0.05)
    ledger, delivery = await followed(world, "seconds=1.5 ack=0")

    declare(world, "another-token")
    await until(lambda: ledger.lease.state == "D")
    declare(world, world.token)

    assert_completed_with_own_file(world, await delivery)
    assert "401" in (ledger.error or "")


async def test_an_answer_that_the_old_token_was_shown_counts_for_its_successor(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.rhythm._REFUSED_PAUSE_S", 0.05)
    ledger, delivery = await followed(world, "outcome=deleted seconds=1.5 ack=0")
    declare(world, "another-token")
    await until(lambda: ledger.lease.state == "D" and world.jobs()[0]["finished_ms"] is not None)

    ledger.account_at_permit = ledger.account.model_copy(update={"sealed": "another-token", "secret_version": "2"})
    outcome = await delivery

    assert isinstance(outcome, Ended)
    assert outcome.error == "the bot deleted its message"


async def test_a_token_that_changed_since_the_claim_is_not_submitted_with_but_leased_anew(world: World) -> None:
    ledger = world.ledger("seconds=0.3")
    ledger.account_at_permit = ledger.account.model_copy(update={"sealed": "a-newer-token", "secret_version": "2"})

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Refused)
    assert (outcome.counted, outcome.disable, outcome.cool_s) == (False, None, 0)
    assert world.accepted() == 0


async def test_a_lost_lease_ends_the_delivery_at_its_next_word(world: World) -> None:
    ledger, delivery = await followed(world, "seconds=2 ack=0 progress=9")

    ledger.is_lost = True

    with pytest.raises(LeaseLost):
        await delivery


async def test_one_poller_reads_a_channel_whatever_the_number_of_jobs(world: World) -> None:
    discord = world.discord(poll_min_s=0.25, poll_max_s=0.25)
    ledgers = [world.ledger("seconds=6 ack=0", prompt=f"cat {n}") for n in range(10)]
    deliveries = [asyncio.create_task(play(discord, ledger)) for ledger in ledgers]
    await until(lambda: all(ledger.lease.state == "A" for ledger in ledgers))

    before, started_s = world.oracle()["requests"]["messages"], time.monotonic()
    await deliveries[0]
    looks, took_s = world.oracle()["requests"]["messages"] - before, time.monotonic() - started_s
    await asyncio.gather(*deliveries)

    assert 1 <= looks <= took_s / 0.25 + 2
