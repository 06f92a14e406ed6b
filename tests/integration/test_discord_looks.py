"""Several workers watch one channel: it is read as by one, and what one has seen the others know."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from dispatcher.connection import AsyncStore
from dispatcher.errors import AccountRejected
from tests.support.discord_channel import Channel, Worker
from tests.support.discord_messages import raw_message
from workers.upstream.discord.feed import Feed, Turn, spot_of
from workers.upstream.discord.rhythm import Bounds
from workers.upstream.discord.watch import Look, Watch

TURN_MS = 300
LIMITED = {"message": "You are being rate limited.", "retry_after": 0.4, "global": False, "code": 0}


@pytest.fixture
async def channel(async_store: AsyncStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Channel]:
    monkeypatch.setattr("workers.upstream.discord.feed.TURN_MS", TURN_MS)
    monkeypatch.setattr("workers.upstream.discord.observer.TURN_MS", TURN_MS)
    opened = Channel(async_store)
    yield opened
    await opened.close()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (the condition is in other tasks)
            await asyncio.sleep(0.01)


async def look_with(watch: Watch, message_id: int) -> Look:
    """The first look that shows the message."""
    while True:
        look = await watch.next()
        if message_id in {message.id for message in look.messages}:
            return look


async def test_several_workers_read_a_channel_as_often_as_one_would(channel: Channel) -> None:
    workers = [channel.workers[0], *(channel.worker() for _ in range(4))]
    watches = [worker.watch() for worker in workers]
    looks = 0

    with watches[0], watches[1], watches[2], watches[3], watches[4]:
        for _ in range(20):
            await asyncio.gather(*(watch.next() for watch in watches))
            looks += 1

    assert len(channel.requests) <= looks * 3
    assert sum(worker.requests for worker in workers) == len(channel.requests)


async def test_where_one_workers_address_is_closed_another_reads_for_both(channel: Channel) -> None:
    other = channel.worker()
    channel.listed = [raw_message(10)]
    channel.troubles = [httpx.Response(429, text="error code: 1015")]

    with channel.watch() as shut:
        await until(lambda: not channel.troubles)
        with other.watch():
            async with asyncio.timeout(20):
                await look_with(shut, 10)

    assert (channel.workers[0].requests, other.requests > 0) == (1, True)


async def test_what_one_worker_reads_all_are_shown_once(channel: Channel) -> None:
    other = channel.worker()
    channel.listed = [raw_message(10)]
    shown: list[int] = []

    async def collect(watch: Watch) -> None:
        while 20 not in shown:
            shown.extend(message.id for message in (await watch.next()).messages)

    with channel.watch(), other.watch() as watch:
        collecting = asyncio.create_task(collect(watch))
        await until(lambda: shown)
        channel.listed.append(raw_message(20))
        await collecting

    assert shown == [10, 20]


async def test_the_window_begins_at_the_oldest_message_that_any_worker_needs(channel: Channel) -> None:
    other = channel.worker()
    channel.listed = [raw_message(10), raw_message(20)]

    with channel.watch(since_id=15) as younger, other.watch(since_id=5) as older:
        await look_with(older, 10)
        channel.requests.clear()
        await until(lambda: len(channel.requests) >= 3)
        assert {url.params["after"] for url in channel.requests} == {"5"}
        assert 10 not in {message.id for message in (await younger.next()).messages}


async def test_a_reader_that_died_is_replaced(channel: Channel) -> None:
    dead, living = channel.workers[0], channel.worker()
    dead.freeze()

    with dead.watch(), living.watch() as watch:
        await until(lambda: dead.frozen_at)
        channel.listed = [raw_message(10)]
        await look_with(watch, 10)

    assert living.requests


async def test_the_list_of_a_reader_that_froze_makes_nothing_absent(channel: Channel) -> None:
    """It was read before the message came, and is told long after."""
    frozen, living = channel.workers[0], channel.worker()
    frozen.freeze()
    with frozen.watch() as watch, living.watch() as other:
        await until(lambda: frozen.frozen_at)
        channel.listed = [raw_message(10)]
        await look_with(other, 10)
        frozen.thaw()
        shown = await look_with(watch, 10)
        absent = [look for look in [await other.next() for _ in range(5)] if 10 not in look.present]

    assert not absent
    assert shown.present == {10}
    assert frozen.frozen_at[0].json() == []


async def test_no_look_is_shown_that_began_before_the_job_came_or_is_told_younger_than_it_is(channel: Channel) -> None:
    """Each message is made at an instant and listed from then on: a look that lacks it began before that instant."""
    workers = [channel.workers[0], channel.worker(), channel.worker()]
    made_s: dict[int, float] = {}

    async def follow(worker: Worker) -> None:
        for _ in range(10):
            with worker.watch() as watch:
                entered_s = time.monotonic()
                for _ in range(3):
                    look = await watch.next()
                    assert look.started_s >= entered_s - 0.001
                    for message_id, at_s in tuple(made_s.items()):
                        assert message_id in look.present or look.started_s <= at_s

    following = [asyncio.create_task(follow(worker)) for worker in workers]
    number = 0
    while not all(task.done() for task in following):
        number += 1
        channel.listed = [*channel.listed[-20:], raw_message(number)]
        made_s = {n: at_s for n, at_s in made_s.items() if n > number - 20} | {number: time.monotonic()}
        await asyncio.sleep(0.005)
    await asyncio.gather(*following)


async def test_a_refusal_reaches_every_job_of_every_worker_once_and_is_not_asked_for_again(channel: Channel) -> None:
    workers = [channel.workers[0], channel.worker(), channel.worker()]
    watches = [worker.watch() for worker in workers]
    with watches[0], watches[1], watches[2]:
        await asyncio.gather(*(watch.next() for watch in watches))
        channel.troubles = [httpx.Response(403, json={"message": "Missing Access", "code": 50001})]
        await until(lambda: not channel.troubles)
        asked = len(channel.requests)

        async def refused(watch: Watch) -> str:
            while True:
                try:
                    await watch.next()
                except AccountRejected as error:
                    return error.reason

        reasons = await asyncio.gather(*(refused(watch) for watch in watches))
        again = [asyncio.create_task(watch.next()) for watch in watches]
        done, _ = await asyncio.wait(again, timeout=0.5)
        for task in again:
            task.cancel()

    assert all("50001" in reason for reason in reasons)
    assert not done
    assert len(channel.requests) == asked


async def test_a_rate_limit_of_one_worker_is_kept_by_all(channel: Channel) -> None:
    workers = [channel.workers[0], channel.worker()]
    watches = [worker.watch() for worker in workers]
    with watches[0], watches[1]:
        await asyncio.gather(*(watch.next() for watch in watches))
        channel.troubles = [httpx.Response(429, json=LIMITED)]
        await until(lambda: not channel.troubles)
        limited_s, asked = time.monotonic(), len(channel.requests)
        await until(lambda: len(channel.requests) > asked)

    assert time.monotonic() - limited_s >= 0.35


async def test_another_token_sees_with_its_own_eyes(channel: Channel) -> None:
    other = channel.worker()
    with channel.watch() as watch, other.watch(token="another-token") as another:
        channel.listed = [raw_message(10)]
        await asyncio.gather(look_with(watch, 10), look_with(another, 10))

    assert channel.workers[0].requests
    assert other.requests


async def test_a_store_that_lost_all_of_it_is_told_anew(channel: Channel, async_store: AsyncStore) -> None:
    other = channel.worker()
    channel.listed = [raw_message(10)]
    with channel.watch() as watch, other.watch() as another:
        await asyncio.gather(look_with(watch, 10), look_with(another, 10))
        for key in [key async for key in async_store.client.scan_iter(async_store.keys.of("look*"))]:
            await async_store.client.delete(key)
        channel.listed.append(raw_message(20))
        looks = await asyncio.gather(look_with(watch, 20), look_with(another, 20))

    assert all(look.present == {10, 20} for look in looks)


async def test_what_is_told_after_the_store_lost_its_lists_is_shown_with_the_next_one(
    channel: Channel, async_store: AsyncStore
) -> None:
    spot = spot_of("a-token", "5")
    channel.listed = [raw_message(10)]
    edited = raw_message(10, edited_timestamp="2026-11-22T20:00:01+00:00")
    with channel.watch() as watch:
        await look_with(watch, 10)
        for name in ("look", "look_messages"):
            await async_store.client.delete(async_store.keys.of(name, *str(spot).split(":")))
        assert await channel.observers.feed.tell_messages(spot, [edited])
        channel.listed = [edited]
        async with asyncio.timeout(20):
            look = await look_with(watch, 10)

    assert look.present == {10}


async def test_without_hints_looks_come_when_they_are_due(channel: Channel) -> None:
    other = channel.worker()
    for worker in channel.workers:
        await worker.observers.close()
    with channel.watch() as watch, other.watch() as another:
        channel.listed = [raw_message(10)]
        await asyncio.gather(look_with(watch, 10), look_with(another, 10))


async def test_a_list_that_does_not_reach_back_to_a_job_tells_it_of_no_absence(async_store: AsyncStore) -> None:
    channel, spot = Channel(async_store, Bounds(60, 60)), spot_of("a-token", "5")
    channel.listed = [raw_message(10), raw_message(20)]
    another = Feed(async_store, worker="another", life_s=30)
    with channel.watch() as watch:
        await look_with(watch, 20)
        await async_store.client.delete(async_store.keys.of("look_needs", *str(spot).split(":")))
        last = await another.ask(spot, known=0, since=15, name="", turn=0)
        view = await another.ask(spot, known=last.version, since=15, name="a turn", turn=last.turn)
        turn = Turn(name="a turn", known=view.version, since=view.read_since, prints=view.prints)
        assert (view.verdict, view.read_since) == ("read", 15)
        await another.tell_list(spot, [raw_message(20, edited_timestamp="2026-11-22T20:00:01+00:00")], turn=turn)
        edited = await look_with(watch, 20)
        await another.tell_messages(spot, [raw_message(30)])
        look = await look_with(watch, 30)

    await channel.close()
    assert not edited.is_list
    assert not look.is_list


async def test_an_event_reaches_every_worker_and_lists_nothing(async_store: AsyncStore) -> None:
    channel, spot = Channel(async_store, Bounds(0.01, 60)), spot_of("a-token", "5")
    other = channel.worker()
    with channel.watch() as watch, other.watch() as another:
        await asyncio.gather(fed(channel, watch), another.next())
        await until(lambda: is_fed(other) and version_of(other) == version_of(channel.workers[0]))
        asked = len(channel.requests)
        assert await channel.observers.feed.tell_messages(spot, [raw_message(10), raw_message(11, author={"id": "1"})])
        looks = await asyncio.gather(look_with(watch, 10), look_with(another, 10))

    assert all({message.id for message in look.messages} == {10} for look in looks)
    assert not any(look.is_list for look in looks)
    assert len(channel.requests) == asked
    await channel.close()


async def test_events_for_nobody_are_not_kept(channel: Channel) -> None:
    assert not await channel.observers.feed.tell_messages(spot_of("a-token", "5"), [raw_message(10)])


async def fed(channel: Channel, watch: Watch) -> None:
    """Let events of the channel come, known to its first worker; a list was read before."""
    await watch.next()
    await channel.observers.feed.tell_fed(spot_of("a-token", "5"), for_s=60)
    await channel.observers.feed.tell_messages(spot_of("a-token", "5"), [raw_message(3)])
    await until(lambda: is_fed(channel.workers[0]))


def is_fed(worker: Worker) -> bool:
    """Whether it knows that events of the channel come."""
    return worker.observers.of("a-token", "5")._fed_until_s > time.monotonic()


def version_of(worker: Worker) -> int:
    """The version of what it has taken: a list that it has yet to hear of would be shown with the next event."""
    return worker.observers.of("a-token", "5")._version


async def test_where_events_come_a_job_is_shown_its_answer_without_a_list(async_store: AsyncStore) -> None:
    channel, spot = Channel(async_store, Bounds(0.01, 60)), spot_of("a-token", "5")
    other = channel.worker()
    with channel.watch() as first:
        await fed(channel, first)
        asked = len(channel.requests)
        await channel.observers.feed.tell_messages(spot, [raw_message(10), raw_message(11)])
        with channel.watch(5, is_unanswered=True) as new, other.watch(10, is_unanswered=True) as elsewhere:
            looks = [await look_with(new, 10), await look_with(elsewhere, 11)]
            new.answered(remote_id=9, message_id=10)
            await channel.observers.feed.tell_messages(spot, [raw_message(12)])
            looks += [await look_with(new, 12), await look_with(elsewhere, 12)]

    assert [{m.id for m in look.messages} for look in looks] == [{10, 11}, {11}, {12}, {11, 12}]
    assert all(look.present >= {m.id for m in look.messages} for look in looks)
    assert not any(look.is_list for look in looks)
    assert len(channel.requests) == asked
    await channel.close()


async def test_where_events_come_an_answer_that_they_lost_is_found_by_a_list(
    async_store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.rhythm.UNTOLD_S", 0.2)
    channel = Channel(async_store, Bounds(0.01, 60))
    with channel.watch() as first:
        await fed(channel, first)
        channel.listed = [raw_message(10)]
        with channel.watch(5, is_unanswered=True) as new:
            look = await look_with(new, 10)

    assert look.is_list
    assert look.started_s >= new.entered_s
    await channel.close()


async def test_where_events_come_a_job_taken_over_is_shown_a_list_first(async_store: AsyncStore) -> None:
    channel = Channel(async_store, Bounds(0.01, 60))
    with channel.watch() as first:
        await fed(channel, first)
        channel.listed = [raw_message(10)]
        with channel.watch(5) as taken_over:
            look = await taken_over.next()

    assert look.is_list
    assert look.present == {10}
    await channel.close()


async def test_while_events_come_lists_are_read_at_the_ceiling_and_when_one_is_wanted(async_store: AsyncStore) -> None:
    channel = Channel(async_store, Bounds(0.01, 60))
    spot = spot_of("a-token", "5")
    with channel.watch() as watch:
        await watch.next()
        await channel.observers.feed.tell_fed(spot, for_s=60)
        await until(lambda: is_fed(channel.workers[0]))
        await asyncio.sleep(0)
        asked = len(channel.requests)
        await channel.observers.feed.tell_messages(spot, [raw_message(10)])
        while (look := await watch.next()).is_list:
            asked = len(channel.requests)
        assert {message.id for message in look.messages} == {10}
        assert len(channel.requests) == asked

        await channel.observers.feed.want_list(spot)
        while not (await watch.next()).is_list:
            pass
        assert len(channel.requests) == asked + 1
    await channel.close()
