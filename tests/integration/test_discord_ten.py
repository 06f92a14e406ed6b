"""Ten identical prompts at once in one channel, ended in another order than begun, however the bot delivers results.

Every result goes to its own job, by the oracle's word: the file's name and the mark inside it are of the interaction
that the job's submission was. Where the bot's messages do not tell, the job says that they do not.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from simulator.process import running
from tests.support.discord_world import World
from tests.support.ledger import MemoryLedger, play
from workers.upstream import Ended, Outcome

JOBS = 10
LONGEST_S, STEP_S = 6.0, 0.55
"""A submission comes some 0.4 s after the one before it: so all ten run before the first ends, the last begun first."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


async def play_ten(world: World, *variants: str) -> list[tuple[MemoryLedger, Outcome]]:
    """Play ten equal jobs, the nth by the nth variant (around and around); check that they ended out of order."""
    for number in range(JOBS):
        seconds = LONGEST_S - number * STEP_S
        variant = variants[number % len(variants)]
        world.control("next", directive=f"seconds={seconds:g} ack=0.1 {variant}", channel=world.channel)
    discord = world.discord()
    ledgers = [world.ledger() for _ in range(JOBS)]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    ends = [job["finished_ms"] for job in world.jobs()]
    assert max(job["submitted_ms"] for job in world.jobs()) < min(ends)
    assert ends != sorted(ends)
    assert world.accepted() == JOBS
    assert len({ledger.lease.remote_id for ledger in ledgers}) == JOBS
    return list(zip(ledgers, outcomes, strict=True))


async def tally(world: World, played: list[tuple[MemoryLedger, Outcome]]) -> Counter[str]:
    """Count ``own``, ``ambiguous``, ``another's`` and ``else``, by file names and by the marks in the files."""
    files = {job["reference"]: [file["filename"] for file in job["files"]] for job in world.jobs()}
    counts: Counter[str] = Counter()
    async with httpx.AsyncClient() as http:
        for ledger, outcome in played:
            assert isinstance(outcome, Ended)
            if outcome.message is None:
                is_told = (outcome.status, (outcome.error or "").partition(":")[0]) == ("failed", "ambiguous")
                counts["ambiguous" if is_told else "else"] += 1
                continue
            reference = str(ledger.lease.remote_id)
            [attachment] = outcome.message.attachments
            content = (await http.get(attachment.url)).raise_for_status().content
            is_own = [attachment.filename] == files[reference] and content.endswith(f"{reference}/1".encode())
            counts["own" if is_own and outcome.status == "completed" else "another's"] += 1
    return counts


@pytest.mark.parametrize("components", ["v1", "v2"])
@pytest.mark.parametrize("result", ["edit", "followup"])
async def test_ten_equal_prompts_get_their_own_results(world: World, result: str, components: str) -> None:
    played = await play_ten(world, f"result={result} components={components}")

    assert await tally(world, played) == {"own": JOBS}


async def test_ten_equal_prompts_that_the_bot_rewrites_get_their_own_results(world: World) -> None:
    played = await play_ten(world, "rewrite=yes loading=no progress=2")

    assert await tally(world, played) == {"own": JOBS}


@pytest.mark.parametrize("components", ["v1", "v2"])
async def test_ten_equal_prompts_whose_results_name_no_interaction_say_so(world: World, components: str) -> None:
    played = await play_ten(world, f"result=message components={components}")

    assert await tally(world, played) == {"ambiguous": JOBS}


async def test_one_result_among_ten_that_names_no_interaction_is_the_one_that_is_left(world: World) -> None:
    played = await play_ten(world, "result=message", *["result=edit", "result=followup", "components=v2"] * 3)

    assert await tally(world, played) == {"own": JOBS}


async def test_of_ten_mixed_results_those_that_name_no_interaction_say_so(world: World) -> None:
    played = await play_ten(world, "result=edit", "result=message", "result=followup", "result=message components=v2")

    assert await tally(world, played) == {"own": 5, "ambiguous": 5}
