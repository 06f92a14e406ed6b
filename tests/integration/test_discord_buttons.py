"""Pressed buttons against the simulator: found anew, pressed once, each press's answer its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.models import Message, Parent
from dispatcher.requests import Button, Create, CreateSingle, Kind
from simulator.process import running
from tests.support.discord_world import World, assert_completed_with_own_file
from tests.support.ledger import MemoryLedger, play
from workers.upstream import Ended, Outcome
from workers.upstream.discord import Discord

PROMPT = "a cat — asleep (10% failed)"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


async def completed(world: World, discord: Discord, *, kind: type[Create] = Create) -> Parent:
    """Make a job of a text; what a press of one of its buttons keeps of it."""
    ledger = world.ledger("seconds=0.1", prompt=PROMPT, kind=kind)
    return kept(ledger, kind.kind, await play(discord, ledger))


def kept(ledger: MemoryLedger, command: Kind, outcome: Outcome) -> Parent:
    assert isinstance(outcome, Ended)
    assert isinstance(outcome.message, Message)
    return Parent(
        jobid=ledger.job.jobid,
        messageId=outcome.message.messageId,
        command=command,
        prompt=ledger.job.prompt,
        files=tuple(file.id for file in outcome.message.attachments),
    )


def press(world: World, parent: Parent, label: str = "U1", **fields: Any) -> MemoryLedger:
    return world.ledger_of(Button(jobid=parent.jobid, button=label, **fields), parent=parent)


def direct(world: World, directive: str, count: int = 1) -> None:
    world.control("next", directive=directive, channel=world.channel, count=count)


def presses(world: World) -> list[dict[str, Any]]:
    return [job for job in world.jobs() if job["command"].startswith("button:")]


def files_of(outcome: Outcome) -> list[str]:
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert outcome.message is not None
    return [file.filename for file in outcome.message.attachments]


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("loading", ["yes", "no"])
async def test_a_result_is_found_in_whatever_way_it_is_delivered(world: World, result: str, loading: str) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, f"seconds=0.3 ack=0.1 result={result} loading={loading}")
    ledger = press(world, parent)

    outcome = await play(discord, ledger)

    [pressed] = presses(world)
    assert pressed["command"] == "button:U1"
    assert files_of(outcome) == [file["filename"] for file in pressed["files"]]
    assert ledger.lease.remote_id == pressed["reference"]
    assert ledger.events == ["S", "A"]


@pytest.mark.parametrize("label", ["🔀", "ReDo"])
async def test_what_is_below_a_presss_result_is_pressed_in_turn(world: World, label: str) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "seconds=0.1", 2)
    first = press(world, parent, "V4")
    again = kept(first, "create", await play(discord, first)).model_copy(update={"prompt": parent.prompt})

    outcome = await play(discord, press(world, again, label))

    assert [job["command"] for job in presses(world)] == ["button:V4", f"button:{label}"]
    assert files_of(outcome) == [file["filename"] for file in presses(world)[1]["files"]]


@pytest.mark.parametrize(("outcome", "status"), [("failed", "failed"), ("moderated", "moderated")])
async def test_a_refusal_of_the_bots_is_the_jobs_end(world: World, outcome: str, status: str) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, f"seconds=0.2 ack=0.1 outcome={outcome}")

    ended = await play(discord, press(world, parent))

    assert isinstance(ended, Ended)
    assert ended.status == status


async def test_a_button_that_opens_a_form_fails_and_says_so(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "modal=yes")
    ledger = press(world, parent, "V1")

    ended = await play(discord, ledger)

    assert isinstance(ended, Ended)
    assert ended.status == "failed"
    assert ended.error == (
        "not started: the bot did not answer the submission in its channel; "
        "the button probably opened a form, which is not filled in"
    )
    assert ledger.events == ["S"]
    assert [job["outcome"] for job in presses(world)] == ["modal"]


async def test_a_button_that_opens_no_form_is_pressed_although_a_prompt_came_with_it(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)

    ended = await play(discord, press(world, parent, "V1", prompt="a dog"))

    assert isinstance(ended, Ended)
    assert (ended.status, len(presses(world))) == ("completed", 1)


async def test_what_cannot_be_pressed_fails_before_a_submission(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    ledger = press(world, parent, "U9")

    ended = await play(discord, ledger)

    error = f"discord: button U9 of message {parent.messageId} is not there, or disabled"
    assert ended == Ended(status="failed", error=error)
    assert ledger.events == []
    assert presses(world) == []


async def test_a_message_that_is_gone_fails_the_press_before_a_submission(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    gone = parent.model_copy(update={"messageId": str(int(parent.messageId) - 1)})
    ledger = press(world, gone)

    ended = await play(discord, ledger)

    assert isinstance(ended, Ended)
    assert ended.error == f"discord: message {gone.messageId} with button U1 is not in its channel any more"
    assert ledger.events == []


async def test_a_message_of_another_application_is_not_pressed(world: World) -> None:
    parent = await completed(world, world.discord())
    ledger = press(world, parent)

    ended = await play(world.discord(discord_application_id="42"), ledger)

    assert isinstance(ended, Ended)
    assert ended.error is not None
    assert ended.error.endswith(", not 42's")
    assert ledger.events == []


async def test_ten_presses_of_one_message_at_once_each_get_the_file_of_their_own(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    for n in (9, 2, 7, 4, 10, 1, 6, 12, 3, 8):
        direct(world, f"seconds={n / 10} ack=0.1 result={('edit', 'followup')[n % 2]}")
    ledgers = [press(world, parent, label) for label in ("U1", "U1", "U2", "U3", "U4", "V1", "V1", "V2", "V3", "V4")]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    made = {job["reference"]: [file["filename"] for file in job["files"]] for job in presses(world)}
    ends = [job["finished_ms"] for job in presses(world)]
    assert ends != sorted(ends)
    assert {ledger.lease.remote_id for ledger in ledgers} == made.keys()
    assert len(made) == 10
    for ledger, outcome in zip(ledgers, outcomes, strict=True):
        assert files_of(outcome) == made[str(ledger.lease.remote_id)]


async def test_a_message_that_goes_while_its_button_is_pressed_is_no_fault_of_the_account(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "submit=10008")

    outcome = await play(discord, press(world, parent))

    assert outcome == Ended(status="failed", error="discord: the message whose button is pressed is not there any more")


@pytest.mark.parametrize("seconds", [0.2, 2.5], ids=["before it is known", "after"])
async def test_a_reply_that_names_no_interaction_is_followed_by_its_own_id(world: World, seconds: float) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, f"seconds={seconds} ack=0.1 named=no")
    ledger = press(world, parent)

    outcome = await play(discord, ledger)

    [pressed] = presses(world)
    assert ledger.events == ["S", "A"]
    assert ledger.lease.remote_id != pressed["reference"]
    assert files_of(outcome) == [file["filename"] for file in pressed["files"]]


async def test_two_presses_at_once_whose_replies_name_nothing_keep_apart(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "seconds=4 ack=0.1 named=no")
    direct(world, "seconds=2.5 ack=0.1 named=no")
    ledgers = [press(world, parent, label) for label in ("U1", "U2")]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    made = {job["command"]: [file["filename"] for file in job["files"]] for job in presses(world)}
    assert [files_of(outcome) for outcome in outcomes] == [made["button:U1"], made["button:U2"]]


@pytest.mark.parametrize("loading", ["yes", "no"])
async def test_an_edit_of_the_pressed_message_is_its_presss_answer(world: World, loading: str) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, f"seconds=0.5 ack=0.1 result=pressed loading={loading}")
    ledger = press(world, parent)

    outcome = await play(discord, ledger)

    [pressed] = presses(world)
    assert files_of(outcome) == [file["filename"] for file in pressed["files"]]
    assert ledger.lease.remote_id == parent.messageId


@pytest.mark.parametrize(("outcome", "status"), [("failed", "failed"), ("moderated", "moderated")])
async def test_a_refusal_in_the_pressed_message_is_the_jobs_end(world: World, outcome: str, status: str) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, f"seconds=0.4 ack=0.1 result=pressed outcome={outcome}")

    ended = await play(discord, press(world, parent))

    assert isinstance(ended, Ended)
    assert ended.status == status


@pytest.mark.parametrize("lengths", [(2.5, 5), (4, 1)], ids=["in order", "the second would be first"])
async def test_of_two_presses_that_the_message_itself_answers_the_second_waits_for_the_first(
    world: World, lengths: tuple[float, float]
) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    for seconds in lengths:
        direct(world, f"seconds={seconds} ack=0.1 result=pressed loading=no")

    first, second = await asyncio.gather(*(play(discord, press(world, parent, label)) for label in ("U1", "U2")))

    [submitted] = presses(world)
    assert files_of(first) == [file["filename"] for file in submitted["files"]]
    assert isinstance(second, Ended)
    assert "button U2 of message" in (second.error or "")  # what shows the first's result has other buttons
    assert "is not there" in (second.error or "")


async def test_presses_whose_results_name_nothing_end_as_ambiguous_and_never_as_each_others(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "seconds=0.8 ack=0.1 result=message", 2)

    outcomes = await asyncio.gather(*(play(discord, press(world, parent, label)) for label in ("U1", "U2")))

    for outcome in outcomes:
        assert isinstance(outcome, Ended)
        assert outcome.error is not None
        assert outcome.error.startswith("ambiguous: ")


async def test_a_press_and_its_command_run_side_by_side_and_keep_apart(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord, kind=CreateSingle)
    direct(world, "seconds=0.7 ack=0.1 result=followup", 2)
    pressing = press(world, parent, "ReDo")
    creating = world.ledger_of(CreateSingle(prompt=PROMPT, style="Realistic"))

    outcomes = await asyncio.gather(play(discord, pressing), play(discord, creating))

    made = {job["reference"]: [file["filename"] for file in job["files"]] for job in world.jobs()}
    assert [files_of(outcome) for outcome in outcomes] == [
        made[str(pressing.lease.remote_id)],
        made[str(creating.lease.remote_id)],
    ]


@pytest.mark.parametrize("is_accepted", [False, True], ids=["looked up", "adopted"])
async def test_another_worker_finds_what_a_press_that_was_sent_became(world: World, is_accepted: bool) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "seconds=0.8 ack=0.1")
    ledger = press(world, parent)
    running_ = asyncio.create_task(play(discord, ledger))
    while not (ledger.lease.remote_id if is_accepted else presses(world)):  # noqa: ASYNC110 (it is in another process)
        await asyncio.sleep(0.02)
    successor = ledger.redelivered()
    running_.cancel()
    if not is_accepted:
        successor._lease = replace(successor._lease, remote_id=None, state="U")
        successor.step = "lookup"
        successor._gates.claims.clear()

    outcome = await play(world.discord(), successor)

    [pressed] = presses(world)
    assert files_of(outcome) == [file["filename"] for file in pressed["files"]]
    assert successor.lease.remote_id == pressed["reference"]


async def test_a_token_that_died_hands_the_press_back(world: World) -> None:
    discord = world.discord()
    parent = await completed(world, discord)
    direct(world, "submit=401")

    outcome = await play(discord, press(world, parent))

    assert getattr(outcome, "disable", None) == "check"
    assert presses(world) == []


async def test_the_oracle_and_we_agree_on_the_one_job_of_a_channel(world: World) -> None:
    outcome = await world.play("seconds=0.1", prompt=PROMPT)

    assert_completed_with_own_file(world, outcome)
