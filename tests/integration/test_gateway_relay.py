"""Jobs that are followed by the gateway's events, against the simulator as a process; and what happens without them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dispatcher.connection import AsyncStore
from simulator.accounts import user_id_of
from simulator.process import running
from tests.support.desk import until
from tests.support.discord_world import World
from tests.support.ledger import play
from workers.upstream import Ended, Outcome
from workers.upstream.discord import Discord

PATIENCE_S = 15.0
CALM: dict[str, Any] = {"poll_min_s": 0.1, "poll_max_s": 30, "start_timeout_s": 10}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str, async_store: AsyncStore) -> AsyncIterator[World]:
    opened = World(url)
    await opened.store.close()
    opened.store = async_store
    yield opened
    opened.control("gateway/terms", up=True)
    await opened.close()


async def played(discord: Discord, world: World, directive: str) -> Outcome:
    async with asyncio.timeout(PATIENCE_S):
        return await play(discord, world.ledger(directive))


def sessions(world: World) -> dict[str, int]:
    counts: dict[str, int] = world.oracle()["sessions"].get(user_id_of(world.token), {})
    return counts


async def up(world: World) -> None:
    """Wait until one session of the token is up."""
    await until(lambda: sessions(world).get("open") == 1)


async def opened(world: World) -> Discord:
    """A client whose session is up: a first job opens it."""
    discord = world.discord(observe="gateway", **CALM)
    first = asyncio.create_task(played(discord, world, "seconds=0.2 ack=0.1 outcome=failed"))
    await up(world)
    await first
    return discord


async def test_a_job_is_followed_by_events_and_hardly_a_list(world: World) -> None:
    discord = await opened(world)
    before = world.oracle()["requests"]["messages"]

    outcome = await played(discord, world, "seconds=3 ack=0.1 progress=20")

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert world.oracle()["requests"]["messages"] - before <= 5


async def test_two_workers_have_one_session_of_their_token_and_both_see_its_events(world: World) -> None:
    discord = await opened(world)
    other = world.discord(observe="gateway", **CALM)

    outcomes = await asyncio.gather(
        *(played(each, world, f"seconds=2 ack=0.1 progress={n}") for n, each in enumerate((discord, other), 3))
    )

    assert [isinstance(outcome, Ended) and outcome.status for outcome in outcomes] == ["completed"] * 2
    assert sessions(world)["peak"] == 1


async def test_a_lost_end_is_found_by_a_list_when_the_session_is_cut(world: World) -> None:
    discord = await opened(world)
    job = asyncio.create_task(played(discord, world, "seconds=1 ack=0.1"))
    await until(lambda: len(world.jobs()) > 1)
    world.control("gateway/events", how="drop", count=100, event="MESSAGE_UPDATE", token=world.token)
    await until(lambda: world.jobs()[1]["finished_ms"] is not None)
    world.control("gateway/close", code=4009, token=world.token)

    outcome = await job

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


@pytest.mark.parametrize("is_refused", [False, True])
async def test_without_a_session_jobs_are_followed_by_lists(world: World, is_refused: bool) -> None:
    if is_refused:
        discord = await opened(world)
        world.control("gateway/close", code=4015, token=world.token)
    else:
        world.control("gateway/terms", up=False)
        discord = world.discord(observe="gateway", **CALM)

    outcome = await played(discord, world, "seconds=1 ack=0.1")

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
