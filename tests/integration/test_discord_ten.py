"""Ten identical prompts at once in one channel, ended in another order than begun, however the bot delivers results.

Every result goes to its own job, by the oracle's word: the file's name and the mark inside it are of the interaction
that the job's submission was. Where the bot's messages do not tell, the job says that they do not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from simulator.process import running
from tests.support.discord_ten import JOBS, play_ten, tally
from tests.support.discord_world import World


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


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
