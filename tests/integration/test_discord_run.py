"""The Discord upstream against the simulator as a process; its oracle, not the client, says what happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from dispatcher.models import Message
from dispatcher.requests import Create
from simulator.process import running
from tests.support.desk import until
from tests.support.discord_world import World, assert_completed_with_own_file
from tests.support.ledger import play
from workers.upstream import Ended, Refused


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


async def test_a_job_is_submitted_once_followed_and_completed_with_its_own_file(world: World) -> None:
    ledger = world.ledger("seconds=0.4 ack=0.1 progress=2")

    outcome = await play(world.discord(), ledger)

    job, message = assert_completed_with_own_file(world, outcome)
    assert message.buttons == ("🔀", "ReDo")
    assert ledger.lease.remote_id == job["reference"]
    assert ledger.events == ["S", "A"]


async def test_create_yields_four_files(world: World) -> None:
    outcome = await world.play("seconds=0.2", kind=Create)

    [job] = world.jobs()
    assert isinstance(outcome, Ended)
    assert outcome.message is not None
    assert outcome.message.buttons == ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "ReDo")
    assert [a.filename for a in outcome.message.attachments] == [f["filename"] for f in job["files"]]
    assert len(job["files"]) == 4


async def test_progress_is_shown_as_it_goes(world: World) -> None:
    ledger = world.ledger("seconds=1.2 ack=0.1 progress=2", prompt="100% wool, 50% off")

    await play(world.discord(), ledger)

    percents = [message.progress_percent for message in ledger.shown]
    assert percents == [None, 33, 66]


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("loading", ["yes", "no"])
@pytest.mark.parametrize("rewrite", ["yes", "no"])
async def test_a_result_is_found_in_whatever_way_it_is_delivered(
    world: World, result: str, loading: str, rewrite: str
) -> None:
    outcome = await world.play(
        f"seconds=0.3 ack=0.1 result={result} loading={loading} rewrite={rewrite}",
        prompt="a cat — asleep  (10% failed)",
    )

    assert_completed_with_own_file(world, outcome)


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("rewrite", ["yes", "no"])
async def test_a_result_of_components_is_found(world: World, result: str, rewrite: str) -> None:
    outcome = await world.play(
        f"seconds=0.3 ack=0.1 result={result} rewrite={rewrite} components=v2", prompt="a cat — asleep  (10% failed)"
    )

    _, message = assert_completed_with_own_file(world, outcome)
    assert message.buttons == ("🔀", "ReDo")


@pytest.mark.parametrize("outcome", ["failed", "moderated"])
async def test_a_refusal_of_components_is_read(world: World, outcome: str) -> None:
    ended = await world.play(f"seconds=0.3 ack=0.1 outcome={outcome} components=v2")

    assert isinstance(ended, Ended)
    assert ended.status == outcome


@pytest.mark.parametrize("components", ["v1", "v2"])
async def test_a_bot_with_too_many_jobs_has_the_job_handed_back(world: World, components: str) -> None:
    outcome = await world.play(f"ack=0.1 outcome=busy components={components}")

    assert isinstance(outcome, Refused)
    assert (outcome.cools, outcome.counted, outcome.disable) == ("said", True, None)


async def test_a_job_that_waits_for_a_place_in_the_bots_queue_is_followed_to_its_end(world: World) -> None:
    world.control("bot", max_per_user=1)
    discord = world.discord()
    ledgers = [world.ledger("seconds=0.5 ack=0.1", prompt=f"cat {n}") for n in range(3)]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    assert [outcome.status for outcome in outcomes if isinstance(outcome, Ended)] == ["completed"] * 3
    assert any("Queued" in shown.content for ledger in ledgers for shown in ledger.shown)


async def test_translated_commands_are_found_by_their_own_names(world: World) -> None:
    world.control("locale", locale="de")

    outcome = await world.play("seconds=0.2")

    assert_completed_with_own_file(world, outcome)


async def test_lists_from_a_replica_that_lags_delay_the_end_and_change_nothing(world: World) -> None:
    world.control("channels", channel=world.channel, lag_s=0.3, alternates=True)

    outcome = await world.play("seconds=0.4 ack=0.1 progress=2 result=followup")

    assert_completed_with_own_file(world, outcome)


async def test_lists_that_are_delivered_again_change_nothing(world: World) -> None:
    world.control("channels", channel=world.channel)
    discord = world.discord()
    playing = asyncio.create_task(play(discord, world.ledger("seconds=0.6 ack=0.1 progress=3")))
    await until(world.jobs)
    world.control("channels", channel=world.channel, repeats=3)

    outcome = await playing

    assert_completed_with_own_file(world, outcome)


async def test_an_index_that_is_still_prepared_is_asked_for_again(world: World) -> None:
    world.control("answers", kind="index", answer="202", retry_after=0.1)

    outcome = await world.play("seconds=0.2")

    assert_completed_with_own_file(world, outcome)


@pytest.mark.parametrize("answer", ["500", "500-empty", "130000", "502", "504", "522", "no-json", "429", "1015"])
async def test_trouble_on_a_reading_is_waited_out(world: World, answer: str) -> None:
    world.control("answers", kind="messages", answer=answer, channel=world.channel, count=2, retry_after=0.1)

    outcome = await world.play("seconds=0.3 ack=0.1")

    assert_completed_with_own_file(world, outcome)


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
async def test_a_failure_that_the_bot_tells_is_the_jobs_end(world: World, result: str) -> None:
    outcome = await world.play(f"seconds=0.3 ack=0.1 outcome=failed result={result}")

    assert isinstance(outcome, Ended)
    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "Generation failed" in outcome.error


@pytest.mark.parametrize("when", ["ack=0.1", "ack=0.1 seconds=0.4"])
async def test_moderation_is_told_as_moderation(world: World, when: str) -> None:
    outcome = await world.play(f"outcome=moderated {when}")

    assert isinstance(outcome, Ended)
    assert outcome.status == "moderated"


@pytest.mark.parametrize("outcome", ["silent", "ephemeral"])
async def test_a_submission_without_an_answer_is_named_not_started(world: World, outcome: str) -> None:
    ledger = world.ledger(f"outcome={outcome} seconds=0.2")

    ended = await play(world.discord(), ledger)

    assert isinstance(ended, Ended)
    assert ended.status == "failed"
    assert ended.error is not None
    assert ended.error.startswith("not started: ")
    assert ledger.events == ["S"]
    assert world.accepted() == 1


async def test_a_deleted_message_ends_the_job(world: World) -> None:
    outcome = await world.play("outcome=deleted ack=0.1 seconds=0.5")

    assert outcome == Ended(status="failed", error="the bot deleted its message")


async def test_a_rate_limit_hands_the_job_back_and_cools_the_account_for_as_long_as_asked(world: World) -> None:
    outcome = await world.play("submit=429 retry_after=2.5")

    assert isinstance(outcome, Refused)
    assert outcome.cool_s == 3
    assert (outcome.counted, outcome.disable) == (True, None)
    assert world.accepted() == 0


@pytest.mark.parametrize(("submit", "revive"), [("401", "check"), ("403", "check"), ("captcha", "operator")])
async def test_what_is_the_accounts_fault_disables_it(world: World, submit: str, revive: str) -> None:
    ledger = world.ledger(f"submit={submit}")

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Refused)
    assert outcome.disable == revive
    assert world.token not in outcome.reason
    assert ledger.events == ["S"]


async def test_a_server_error_before_acceptance_is_looked_up_and_never_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.client._ANSWER_LATEST_S", 0.2)
    ledger = world.ledger("submit=500-before-accept")

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Ended)
    assert outcome.error is not None
    assert outcome.error.startswith("not started: ")
    assert ledger.events == ["S", "U"]
    assert world.oracle()["accounts"][world.channel]["refused"] == {"500": 1}


@pytest.mark.parametrize("submit", ["500-after-accept", "hang-after-accept"])
async def test_a_submission_whose_answer_is_lost_is_found_and_not_repeated(
    world: World, submit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.sender.END_BUDGET_S", 0.5)
    ledger = world.ledger(f"submit={submit} seconds=0.3")

    outcome = await play(world.discord(), ledger)

    [job] = world.jobs()
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert ledger.events == ["S", "U", "A"]
    assert ledger.lease.remote_id == job["reference"]


async def test_a_new_version_of_the_command_is_read_once_and_the_command_sent_once_more(world: World) -> None:
    discord = world.discord()
    await play(discord, world.ledger("seconds=0"))
    world.control("versions/bump")

    outcome = await play(discord, world.ledger("seconds=0", prompt="another cat"))

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert world.oracle()["accounts"][world.channel]["refused"] == {"invalid-version": 1}
    assert world.accepted() == 2


async def test_an_outdated_index_is_sent_with_once_although_a_new_one_comes_too_late_for_the_permit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    discord = world.discord()
    await play(discord, world.ledger("seconds=0"))
    world.control("versions/bump")
    world.control("latency", kind="index", seconds=1.5)
    monkeypatch.setattr("workers.upstream.discord.sender.START_BUDGET_S", 1.0)

    too_late = await play(discord, world.ledger("seconds=0", prompt="another cat"))
    outcome = await play(discord, world.ledger("seconds=0", prompt="another cat"))

    assert isinstance(too_late, Refused)
    assert (too_late.never_sent, too_late.counted) == (True, False)
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert world.oracle()["accounts"][world.channel]["refused"] == {"invalid-version": 1}


async def test_a_command_that_stays_outdated_is_sent_twice_and_handed_back(world: World) -> None:
    outcome = await world.play("submit=invalid-version")

    assert isinstance(outcome, Refused)
    assert outcome.counted
    assert world.oracle()["accounts"][world.channel]["refused"] == {"invalid-version": 2}


async def test_a_permit_that_is_too_old_is_never_used(world: World) -> None:
    ledger = world.ledger()
    ledger.start_delay_s = 2.5

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Refused)
    assert (outcome.never_sent, outcome.counted, outcome.disable) == (True, False, None)
    assert world.accepted() == 0


async def test_nothing_listens_so_nothing_was_sent(world: World) -> None:
    discord = world.discord()
    await play(discord, world.ledger("seconds=0"))
    discord._sender._rest._api_url = "http://127.0.0.1:9/api/v9"

    outcome = await play(discord, world.ledger())

    assert isinstance(outcome, Refused)
    assert (outcome.never_sent, outcome.counted) == (True, False)


async def test_ten_equal_prompts_at_once_each_get_the_file_of_their_own_interaction(world: World) -> None:
    discord = world.discord()
    for seconds in (1.0, 0.2, 0.8, 0.4, 1.2, 0.1, 0.6, 1.4, 0.3, 0.9):
        world.control("next", directive=f"seconds={seconds} ack=0.1", channel=world.channel)
    ledgers = [world.ledger() for _ in range(10)]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    ends = [job["finished_ms"] for job in world.jobs()]
    assert ends != sorted(ends)
    references = {ledger.lease.remote_id for ledger in ledgers}
    files = {job["reference"]: [f["filename"] for f in job["files"]] for job in world.jobs()}
    assert references == files.keys()
    assert len(references) == 10
    for ledger, outcome in zip(ledgers, outcomes, strict=True):
        assert isinstance(outcome, Ended)
        assert outcome.message is not None
        assert [a.filename for a in outcome.message.attachments] == files[str(ledger.lease.remote_id)]


async def test_the_result_carries_its_interaction_in_its_content(world: World) -> None:
    ledger = world.ledger("seconds=0.1")

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Ended)
    assert isinstance(outcome.message, Message)
    async with httpx.AsyncClient() as http:
        content = (await http.get(outcome.message.attachments[0].url)).content
    assert str(ledger.lease.remote_id).encode() in content


async def test_equal_prompts_whose_results_name_no_interaction_end_as_ambiguous(world: World) -> None:
    discord = world.discord()
    world.control("next", directive="seconds=0.8 ack=0.1 result=message", count=2, channel=world.channel)

    outcomes = await asyncio.gather(*(play(discord, world.ledger()) for _ in range(2)))

    for outcome in outcomes:
        assert isinstance(outcome, Ended)
        assert outcome.status == "failed"
        assert outcome.error is not None
        assert outcome.error.startswith("ambiguous: ")


async def test_different_prompts_whose_results_name_no_interaction_get_their_own(world: World) -> None:
    discord = world.discord()
    ledgers = [world.ledger(f"seconds=0.{n} ack=0.1 result=message", prompt=f"cat {n}") for n in (9, 5, 7)]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    files = {job["reference"]: [f["filename"] for f in job["files"]] for job in world.jobs()}
    for ledger, outcome in zip(ledgers, outcomes, strict=True):
        assert isinstance(outcome, Ended)
        assert outcome.message is not None
        assert [a.filename for a in outcome.message.attachments] == files[str(ledger.lease.remote_id)]
