"""Links to results expire, and are refreshed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    RateLimited,
    RequestRejected,
    UpstreamError,
    UpstreamUnavailable,
)
from simulator.process import running
from tests.support.discord_world import World, assert_completed_with_own_file
from tests.support.ledger import account_of
from tests.support.memory import unhurried
from workers.upstream import Refreshes
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.rest import LINKS_MAX, Rest
from workers.upstream.wire import Wire


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


def got(url: str) -> httpx.Response:
    return httpx.get(url)


async def test_an_expired_link_is_refreshed_and_shows_the_same_file(world: World) -> None:
    discord = world.discord()
    assert isinstance(discord, Refreshes)
    _, message = assert_completed_with_own_file(world, await world.play("seconds=0.1 ack=0"))
    [file] = message.attachments
    before = got(file.url).content
    world.control("links/expire")
    assert got(file.url).status_code == 404

    fresh = await discord.refresh(account_of(world.channel, token=world.token), [file.url])

    assert list(fresh) == [file.url]
    assert got(fresh[file.url]).content == before


async def test_many_links_take_several_calls_and_what_is_none_of_discords_stays(world: World) -> None:
    account = account_of(world.channel, token=world.token)
    urls = [f"http://127.0.0.1/{n}" for n in range(LINKS_MAX + 1)]
    called = world.oracle()["requests"]["refresh_urls"]

    fresh = await world.discord().refresh(account, urls)

    assert fresh == {url: url for url in urls}
    assert world.oracle()["requests"]["refresh_urls"] == called + 2
    assert await world.discord().refresh(account, []) == {}


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [("401", AccountRejected), ("40002", AccountRejected), ("403", RequestRejected), ("429", RateLimited)],
)
async def test_a_refusal_is_told_as_what_it_is_and_is_not_asked_for_again(
    world: World, answer: str, meaning: type[UpstreamError]
) -> None:
    account, discord = account_of(world.channel, token=world.token), world.discord()
    world.control("answers", kind="refresh_urls", answer=answer, retry_after=30)
    with pytest.raises(meaning):
        await discord.refresh(account, ["http://127.0.0.1/x"])
    called = world.oracle()["requests"]["refresh_urls"]

    with pytest.raises(CallHeld):
        await discord.refresh(account, ["http://127.0.0.1/x"])

    assert world.oracle()["requests"]["refresh_urls"] == called


async def test_a_link_that_discord_does_not_refresh_is_left_out() -> None:
    pairs = [{"original": "a", "refreshed": "b"}, {"original": "c", "refreshed": None}, {"original": "d"}, None]
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json={"refreshed_urls": pairs}))
    async with httpx.AsyncClient(transport=answer) as http:
        rest = Rest("http://discord/api/v9", Wire("discord", http), UpstreamClock(), unhurried())

        assert await rest.refreshed_links("a-token", ["a", "c", "d"]) == {"a": "b"}


@pytest.mark.parametrize("body", [[], {}, {"refreshed_urls": None}])
async def test_links_in_an_unknown_shape_are_none(body: object) -> None:
    answer = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with httpx.AsyncClient(transport=answer) as http:
        rest = Rest("http://discord/api/v9", Wire("discord", http), UpstreamClock(), unhurried())

        with pytest.raises(UpstreamUnavailable, match="fresh links came in an unknown shape"):
            await rest.refreshed_links("a-token", ["a"])
