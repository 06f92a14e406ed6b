"""Jobs with a file, from the storage to the bot: the simulator takes the bytes, its oracle says what ran."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.requests import Animate, MemeFace, Request
from dispatcher.storage import Storage
from simulator.process import running
from tests.support.discord_world import World, assert_completed_with_own_file
from tests.support.images import jpeg, png
from tests.support.ledger import MemoryLedger, play
from workers.upstream import Ended, Outcome
from workers.upstream.discord import Discord

Made = Callable[[str], Request]


def animate(directive: str) -> Animate:
    return Animate(image=png(), prompt=f"it (100%) failed [[sim {directive}]]", motion=3, seed_value=7, hd_quality="No")


def meme_face(directive: str) -> MemeFace:
    return MemeFace(face=jpeg(), prompt=f"a hero style: Anime [[sim {directive}]]", aspect_ratio="1:1", seed_value=7)


KINDS = pytest.mark.parametrize("make", [animate, meme_face], ids=["animate", "meme_face"])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return (tmp_path / "results").as_uri()


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


def kept(world: World, request: Request, storage_url: str) -> MemoryLedger:
    """The delivery of a job whose files are in the storage, as a client leaves them there."""
    for upload in request.uploads().values():
        Storage(storage_url).keep(upload)
    return world.ledger_of(request)


def requests(world: World) -> dict[str, int]:
    counted: dict[str, int] = world.oracle()["requests"]
    return counted


async def run(world: World, request: Request, storage_url: str) -> Outcome:
    return await play(world.discord(storage_url=storage_url), kept(world, request, storage_url))


@KINDS
@pytest.mark.parametrize("result", ["edit", "followup", "message"])
async def test_a_result_is_found_in_whatever_way_it_is_delivered(
    world: World, storage_url: str, make: Made, result: str
) -> None:
    outcome = await run(world, make(f"seconds=0.3 ack=0.1 result={result}"), storage_url)

    _, message = assert_completed_with_own_file(world, outcome)
    assert message.buttons == ("🔀", "ReDo")


@pytest.mark.parametrize("options", [{}, {"motion": 3}, {"seed_value": 1, "motion": 3, "hd_quality": "Yes"}])
async def test_an_animation_needs_no_prompt(world: World, storage_url: str, options: dict[str, Any]) -> None:
    world.control("next", directive="seconds=0.3 ack=0.1 result=message", channel=world.channel)

    outcome = await run(world, Animate(image=png(), **options), storage_url)

    assert_completed_with_own_file(world, outcome)


@KINDS
async def test_what_the_bot_would_refuse_costs_no_upload(world: World, storage_url: str, make: Made) -> None:
    before = requests(world)["attachments"]
    discord = world.discord(storage_url=storage_url, discord_options={"seed_value": "seed"})

    outcome = await play(discord, kept(world, make("seconds=0"), storage_url))

    assert isinstance(outcome, Ended)
    assert outcome.status == "failed"
    assert requests(world)["attachments"] == before
    assert world.accepted() == 0


async def test_a_file_that_is_not_in_the_storage_fails_the_job_before_a_submission(
    world: World, storage_url: str
) -> None:
    before = requests(world)["attachments"]
    ledger = world.ledger_of(Animate(image=png("kept elsewhere")))
    Storage(storage_url).keep(Animate(image=png()).image)

    outcome = await play(world.discord(storage_url=storage_url), ledger)

    assert isinstance(outcome, Ended)
    assert outcome.error is not None
    assert outcome.error.startswith("never submitted: its file cannot be read. ")
    assert storage_url in outcome.error
    assert ledger.events == []
    assert requests(world)["attachments"] == before


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        ["127.0.0.1"],
        ["http://127.0.0.1"],
        ["http://localhost"],
        ["discord-attachments-uploads-prd.storage.googleapis.com"],
    ],
)
async def test_bytes_go_to_no_host_that_is_not_trusted(world: World, storage_url: str, hosts: list[str]) -> None:
    before = requests(world)["uploads"]
    ledger = kept(world, Animate(image=png()), storage_url)

    outcome = await play(world.discord(storage_url=storage_url, discord_upload_hosts=hosts), ledger)

    assert isinstance(outcome, Ended)
    assert outcome.error == "discord: files are to go to http://127.0.0.1, which is not in discord_upload_hosts"
    assert ledger.events == []
    assert requests(world)["uploads"] == before


async def test_a_job_that_is_delivered_again_before_its_submission_uploads_again(
    world: World, storage_url: str
) -> None:
    before = requests(world)["uploads"]
    discord = world.discord(storage_url=storage_url)
    ledger = kept(world, Animate(image=png(), prompt="a cat [[sim seconds=0.1]]"), storage_url)
    await discord._sender.prepare(ledger.account, ledger.job)

    outcome = await play(discord, ledger.redelivered())

    assert_completed_with_own_file(world, outcome)
    assert requests(world)["uploads"] == before + 2


async def test_a_job_that_was_accepted_is_adopted_without_another_upload(world: World, storage_url: str) -> None:
    ledger = kept(world, animate("seconds=0.8 ack=0.1"), storage_url)
    first = World.discord(world, storage_url=storage_url)
    before = requests(world)["uploads"]

    async def stop_at_acceptance(remote_id: str, message: Any = None) -> bool:
        await accepted(remote_id, message)
        raise InterruptedError

    accepted = ledger.accepted
    ledger.accepted = stop_at_acceptance  # type: ignore[method-assign]
    with pytest.raises(InterruptedError):
        await play(first, ledger)
    del ledger.accepted

    outcome = await play(world.discord(storage_url=storage_url), ledger.redelivered())

    assert_completed_with_own_file(world, outcome)
    assert requests(world)["uploads"] == before + 1


async def test_whoever_lacks_the_files_storage_sends_other_jobs(world: World, tmp_path: Path) -> None:
    nowhere = Discord(
        world.settings(storage_url=(tmp_path / "none").as_uri()),
        open_secret=lambda account: SecretStr(account.sealed),
        store=world.store,
    )

    outcome = await play(nowhere, world.ledger("seconds=0.1"))

    await nowhere.close()
    assert_completed_with_own_file(world, outcome)
