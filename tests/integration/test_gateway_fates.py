"""What sessions tell of interactions decides jobs exactly and at once, in whatever worker they run.

No start timeout can help here: it is an hour, and each test's patience a few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dispatcher.connection import AsyncStore
from dispatcher.loop import cancel_until_done
from dispatcher.models import Parent
from dispatcher.requests import Button
from simulator.accounts import user_id_of
from simulator.process import running
from tests.support.desk import until
from tests.support.discord_ten import JOBS, play_ten, tally
from tests.support.discord_world import World
from tests.support.ledger import MemoryLedger, play
from workers.upstream import Ended, Outcome, Refused
from workers.upstream.discord import Discord

PATIENCE_S = 20.0
CALM: dict[str, Any] = {"observe": "gateway", "poll_min_s": 0.1, "poll_max_s": 30, "start_timeout_s": 3600}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str, async_store: AsyncStore) -> AsyncIterator[World]:
    """A channel, and a session of its user that is up, in a worker that has no job."""
    opened = World(url)
    await opened.store.close()
    opened.store = async_store
    holder = opened.discord(**CALM)
    first = asyncio.create_task(play(holder, opened.ledger("seconds=0.2 ack=0.1 outcome=failed")))
    await until(lambda: opened.oracle()["sessions"].get(user_id_of(opened.token), {}).get("open") == 1)
    await first
    yield opened
    await opened.close()


async def played(world: World, ledger: MemoryLedger, discord: Discord | None = None) -> Outcome:
    """Play a job in another worker than the session's."""
    async with asyncio.timeout(PATIENCE_S):
        return await play(discord or world.discord(**CALM), ledger)


def error_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Ended)
    assert outcome.status == "failed"
    return outcome.error or ""


def disturb(world: World, how: str, event: str | None = None, count: int = 1) -> None:
    world.control("gateway/events", how=how, event=event, count=count, token=world.token)


async def press(world: World, directive: str) -> tuple[MemoryLedger, Outcome]:
    """Press a button of a finished job's."""
    above = world.ledger("seconds=0.1")
    ended = await played(world, above)
    assert isinstance(ended, Ended)
    assert ended.message is not None
    files = tuple(file.id for file in ended.message.attachments)
    kept = Parent(
        jobid=above.job.jobid,
        messageId=ended.message.messageId,
        command="create_single",
        prompt=above.job.prompt,
        files=files,
    )
    world.control("next", directive=directive, channel=world.channel)
    ledger = world.ledger_of(Button(jobid=kept.jobid, button="ReDo"), parent=kept)
    return ledger, await played(world, ledger)


@pytest.mark.parametrize(
    ("variant", "found"),
    [("result=edit", "own"), ("result=followup components=v2", "own"), ("result=message", "ambiguous")],
)
async def test_ten_equal_prompts_in_two_workers_get_their_own_results(world: World, variant: str, found: str) -> None:
    ten = await play_ten(world, variant, workers=[world.discord(**CALM) for _ in range(2)])

    assert await tally(world, ten) == {found: JOBS}


@pytest.mark.parametrize("result", ["edit", "followup"])
async def test_ten_equal_prompts_that_are_all_unanswered_at_once_get_their_own_results(
    world: World, result: str
) -> None:
    variant = f"submit=500-after-accept ack=4.5 result={result}"

    ten = await play_ten(world, variant, workers=[world.discord(**CALM)], longest_s=10)

    assert await tally(world, ten) == {"own": JOBS}
    assert all(ledger.events[:3] == ["S", "U", "A"] for ledger, _ in ten)
    in_order = sorted((ledger for ledger, _ in ten), key=lambda ledger: ledger.lease.submitted_ms or 0)
    assert [ledger.lease.remote_id for ledger in in_order] == [job["reference"] for job in world.jobs()[-JOBS:]]


async def test_a_submission_is_claimed_by_what_was_told_before_its_answer_came(world: World) -> None:
    ledger = world.ledger("submit=500-after-accept seconds=3 ack=3")
    job = asyncio.create_task(played(world, ledger))

    await until(lambda: ledger.lease.state == "A")

    submitted = world.jobs()[-1]
    assert (ledger.lease.remote_id, submitted["finished_ms"]) == (submitted["reference"], None)
    assert ledger.shown == []
    outcome = await job
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


async def test_successors_find_equal_submissions_by_their_nonces(world: World) -> None:
    deaf = world.discord(**{**CALM, "observe": "poll"})
    ledgers = [world.ledger(f"submit=500-after-accept seconds={5 - n} ack=3") for n in range(2)]
    for ledger in ledgers:
        delivery = asyncio.create_task(play(deaf, ledger))
        await until(lambda: ledger.events == ["S", "U"])  # noqa: B023 (called before the next one's turn)
        await cancel_until_done(delivery)

    successors = [ledger.redelivered() for ledger in reversed(ledgers)]
    outcomes = await asyncio.gather(*(played(world, successor) for successor in successors))

    submitted = [job["reference"] for job in world.jobs()[-2:]]
    assert [successor.lease.remote_id for successor in successors] == submitted[::-1]
    assert await tally(world, list(zip(successors, outcomes, strict=True))) == {"own": 2}


@pytest.mark.parametrize("earlier", [None, "1000"])
async def test_a_successor_waits_for_the_answer_whatever_an_earlier_attempt_was_answered(
    world: World, earlier: str | None
) -> None:
    worker, ledger = world.discord(**CALM), world.ledger("seconds=3 ack=2")
    delivery = asyncio.create_task(play(worker, ledger))
    await until(lambda: ledger.lease.state == "A")
    await cancel_until_done(delivery)
    successor = ledger.redelivered()
    successor.job = successor.job.model_copy(update={"messageId": earlier})

    outcome = await played(world, successor)

    assert (successor.step, ledger.shown) == ("adopt", [])
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


@pytest.mark.parametrize("how", ["as it is", "duplicate", "reorder"])
async def test_a_bot_that_does_not_answer_ends_the_job_at_once(world: World, how: str) -> None:
    if how != "as it is":
        disturb(world, how, count=4)

    outcome = await played(world, world.ledger("outcome=silent seconds=0"))

    assert error_of(outcome) == (
        "not started: the bot did not answer the submission in its channel; "
        "Discord, too, says that it did not answer in time"
    )


async def test_a_button_that_opens_a_form_ends_its_job_at_once(world: World) -> None:
    ledger, outcome = await press(world, "modal=yes")

    assert error_of(outcome) == "not started: button ReDo opens a form, which is not filled in"
    assert ledger.events == ["S"]


@pytest.mark.parametrize("how", ["as it is", "duplicate", "reorder"])
@pytest.mark.parametrize("loading", ["", "loading=yes ack=0.2"])
@pytest.mark.parametrize(
    ("says", "words"), [("moderated", "was blocked"), ("failed", "Generation failed. Please try again later.")]
)
async def test_a_refusal_that_only_its_user_sees_ends_the_job_with_its_words(
    world: World, says: str, words: str, loading: str, how: str
) -> None:
    if how != "as it is":
        disturb(world, how, count=2)

    outcome = await played(world, world.ledger(f"outcome=ephemeral seconds=0.5 says={says} {loading}"))

    assert isinstance(outcome, Ended)
    assert outcome.status == says
    assert (outcome.error or "").startswith("the bot says: ")
    assert words in (outcome.error_details or "")


async def test_a_bot_that_says_it_is_busy_to_its_user_alone_hands_the_job_back(world: World) -> None:
    outcome = await played(world, world.ledger("outcome=ephemeral seconds=0.2 says=busy"))

    assert isinstance(outcome, Refused)
    assert outcome.reason.startswith("the bot is busy: ")
    assert outcome.cools == "said"


async def test_a_press_that_is_refused_to_its_user_alone_ends_with_the_bots_words(world: World) -> None:
    ledger, outcome = await press(world, "outcome=ephemeral seconds=0.2 says=moderated")

    assert isinstance(outcome, Ended)
    assert outcome.status == "moderated"
    assert ledger.lease.remote_id == world.jobs()[-1]["reference"]


@pytest.mark.parametrize("how", ["drop", "duplicate", "reorder"])
async def test_events_that_are_lost_or_come_twice_or_out_of_order_harm_no_job(world: World, how: str) -> None:
    disturb(world, how, count=3)

    outcomes = await asyncio.gather(*(played(world, world.ledger(f"seconds=1.{n} ack=0.2")) for n in range(3)))

    assert [isinstance(outcome, Ended) and outcome.status for outcome in outcomes] == ["completed"] * 3


async def test_where_no_interaction_is_told_answers_are_matched(world: World) -> None:
    for event in ("INTERACTION_CREATE", "INTERACTION_SUCCESS", "MESSAGE_CREATE"):
        disturb(world, "drop", event, count=100)

    outcome = await played(world, world.ledger("seconds=0.5 ack=0.2"))

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


async def test_a_deletion_that_is_told_is_confirmed_by_lists_and_ends_the_job(world: World) -> None:
    outcome = await played(world, world.ledger("outcome=deleted seconds=0.5 ack=0.1"))

    assert error_of(outcome) == "the bot deleted its message"
