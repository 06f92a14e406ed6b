"""What a relay makes of its session's events; the session is a test's, and says what the test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from dispatcher.checks import Checks
from dispatcher.errors import StoreUnavailable
from tests.support.desk import until
from tests.support.discord_messages import raw_message
from tests.support.memory import memory_store
from workers.upstream.discord.feed import Feed, Spot, spot_of
from workers.upstream.discord.gateway import relay
from workers.upstream.discord.gateway.events import Event, MessageTold, SessionDown, SessionUp
from workers.upstream.discord.gateway.relay import Relay

TOKEN = "a-token"
OWN, OTHER = "5", "6"


class CountingFeed(Feed):
    """Counts what it is told; while ``is_away``, it cannot be told anything."""

    told: int = 0
    renewed: int = 0
    is_away: bool = False

    async def tell_messages(self, spot: Spot, *args: Any) -> bool:
        self.told += 1
        return await self._unless_away(super().tell_messages(spot, *args))

    async def tell_fed(self, spot: Spot, *, for_s: float) -> bool:
        self.renewed += 1
        return await self._unless_away(super().tell_fed(spot, for_s=for_s))

    async def want_list(self, spot: Spot) -> bool:
        return await self._unless_away(super().want_list(spot))

    async def _unless_away(self, telling: Any) -> bool:
        if self.is_away:
            telling.close()
            raise StoreUnavailable("it is away")
        return cast("bool", await telling)


class Stage:
    """A relay, its feed, and a watcher's question at one channel."""

    def __init__(self) -> None:
        self.store = memory_store()
        self.feed = CountingFeed(self.store, worker="w", life_s=30)
        self.say: Callable[[Event], None] | None = None
        self.relay: Relay | None = None

    def open(self) -> Relay:
        async def nowhere() -> str:
            return ""

        self.relay = Relay(self.feed, TOKEN, find=nowhere, check=str, checks=cast("Checks", None), retry_s=60)
        return self.relay

    async def watch(self) -> None:
        await self.feed.ask(spot_of(TOKEN, OWN), known=0, since=0, name="", turn=0)

    async def forget_watchers(self) -> None:
        await self.store.client.delete(self.store.keys.of("look_needs", *str(spot_of(TOKEN, OWN)).split(":")))

    def hear(self, event: Event) -> None:
        assert self.say is not None
        self.say(event)

    async def close(self) -> None:
        if self.relay is not None:
            await self.relay.close()
        await self.store.close()


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    opened = Stage()

    class Told:
        """In a session's place: has the test say what it hears."""

        def __init__(self, *_: Any, take: Callable[[Event], None], **__: Any) -> None:
            opened.say = take

        async def run(self) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(relay, "Session", Told)
    monkeypatch.setattr(relay, "FED_S", 0.3)
    await opened.watch()
    opened.open()
    await until(lambda: opened.say)
    yield opened
    await opened.close()


def told(channel: str = OWN, message_id: int = 10, **more: Any) -> MessageTold:
    return MessageTold(message_id, channel, raw_message(message_id, **more), is_new=True)


async def fed(stage: Stage) -> Relay:
    """Have the watched channel count as fed."""
    stage.hear(told())
    assert stage.relay is not None
    opened = stage.relay
    await until(lambda: opened.is_watched)
    return opened


async def test_a_session_that_ends_while_the_store_is_away_feeds_nobody_any_more(stage: Stage) -> None:
    opened = await fed(stage)
    stage.feed.is_away = True
    stage.hear(SessionDown("cut"))
    await until(lambda: not opened.is_watched)

    stage.feed.is_away = False
    renewed = stage.feed.renewed
    stage.hear(SessionUp("another", is_resumed=False))
    stage.hear(told(OTHER))
    await until(lambda: stage.feed.told == 2)

    assert not opened.is_watched
    assert stage.feed.renewed == renewed


async def test_what_is_fed_is_renewed_however_much_is_told_of_other_channels(stage: Stage) -> None:
    opened = await fed(stage)
    renewed = stage.feed.renewed

    async def chatter() -> None:
        message_id = 100
        while True:
            message_id += 1
            stage.hear(told(OTHER, message_id))
            await asyncio.sleep(0.01)

    chattering = asyncio.create_task(chatter())
    await until(lambda: stage.feed.renewed > renewed + 2)
    assert opened.is_watched
    await stage.forget_watchers()
    await until(lambda: not opened.is_watched)
    chattering.cancel()


async def test_what_people_write_is_passed_over(stage: Stage) -> None:
    stage.hear(told(author={"id": "1"}))
    opened = await fed(stage)

    assert opened.is_watched
    assert stage.feed.told == 1
