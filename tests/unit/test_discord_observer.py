from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from dispatcher.errors import AccountRejected
from tests.support.discord_channel import Channel
from tests.support.discord_messages import raw_message
from tests.support.memory import memory_store
from workers.upstream.discord.watch import Watch


@pytest.fixture
async def channel() -> AsyncIterator[Channel]:
    store = memory_store()
    opened = Channel(store)
    yield opened
    await opened.close()
    await store.close()


async def ids_of(watch: Watch) -> list[int]:
    return [message.id for message in (await watch.next()).messages]


async def test_a_message_is_shown_when_it_is_new_and_when_it_is_edited_and_not_between(channel: Channel) -> None:
    channel.listed = [raw_message(10), raw_message(20)]

    with channel.watch() as watch:
        first, second = await ids_of(watch), await ids_of(watch)
        channel.listed[0]["edited_timestamp"] = "2026-11-22T20:00:01+00:00"
        third = await ids_of(watch)

    assert (first, second, third) == ([10, 20], [], [10])


async def test_a_window_of_many_pages_is_read_whole_and_oldest_first(channel: Channel) -> None:
    channel.listed = [raw_message(n) for n in range(1, 251)]

    with channel.watch(since_id=20) as watch:
        look = await watch.next()

    assert [message.id for message in look.messages] == list(range(21, 251))
    assert look.present == set(range(21, 251))
    assert [url.params["after"] for url in channel.requests[:3]] == ["20", "120", "220"]


async def test_the_window_begins_at_the_oldest_unfinished_jobs_message(channel: Channel) -> None:
    with channel.watch(since_id=50) as younger, channel.watch(since_id=10):
        await younger.next()

    assert channel.requests[0].params["after"] == "10"


async def test_who_comes_later_is_shown_what_others_have_seen_already(channel: Channel) -> None:
    channel.listed = [raw_message(10), raw_message(20)]

    with channel.watch() as early:
        await early.next()
        with channel.watch(since_id=15) as late:
            assert await ids_of(late) == [20]


async def test_several_who_come_later_at_once_are_each_shown_their_whole_window(channel: Channel) -> None:
    channel.listed = [raw_message(10), raw_message(20), raw_message(30)]

    with channel.watch() as early:
        await early.next()
        with (
            channel.watch(since_id=5) as first,
            channel.watch(since_id=15) as second,
            channel.watch(since_id=25) as third,
        ):
            shown = [await ids_of(watch) for watch in (first, second, third)]

    assert shown == [[10, 20, 30], [20, 30], [30]]


async def test_what_came_while_a_job_was_busy_comes_as_one_look(channel: Channel) -> None:
    with channel.watch() as busy, channel.watch() as attentive:
        for message_id in (10, 20):
            channel.listed.append(raw_message(message_id))
            while message_id not in await ids_of(attentive):
                pass

        assert await ids_of(busy) == [10, 20]


async def test_one_poller_serves_every_watch_and_ends_with_the_last(channel: Channel) -> None:
    watches = [channel.watch() for _ in range(50)]
    for watch in watches:
        watch.__enter__()
    await asyncio.gather(*(watch.next() for watch in watches))

    looks = len(channel.requests)
    assert looks <= 2
    for watch in watches:
        watch.__exit__()
    async with asyncio.timeout(10):
        while any(task.get_name() == "poll 5" for task in asyncio.all_tasks()):  # noqa: ASYNC110 (a task that ends)
            await asyncio.sleep(0)


async def test_after_a_rate_limit_and_server_trouble_the_channel_is_read_again(channel: Channel) -> None:
    limited = {"message": "You are being rate limited.", "retry_after": 0.05, "global": False, "code": 0}
    channel.troubles = [httpx.Response(429, json=limited), httpx.Response(200, text="{"), httpx.Response(502)]
    channel.listed = [raw_message(10)]

    with channel.watch() as watch:
        assert await ids_of(watch) == [10]


async def test_a_page_that_a_job_asks_for_is_read_past_a_rate_limit(channel: Channel) -> None:
    limited = {"message": "You are being rate limited.", "retry_after": 0.01, "global": False, "code": 0}
    channel.troubles = [httpx.Response(429, json=limited)]
    channel.listed = [raw_message(10)]

    assert [message.id for message in await channel.watch().before(11)] == [10]
    assert len(channel.requests) == 2


async def test_a_page_that_a_job_asks_for_is_read_past_a_server_error(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.upstream.discord.observer._PAGE_AGAIN_S", 0.0)
    channel.troubles = [httpx.Response(502)]
    channel.listed = [raw_message(10)]

    assert [message.id for message in await channel.watch().before(11)] == [10]


async def test_a_channel_that_may_not_be_read_is_told_to_its_watches(channel: Channel) -> None:
    channel.troubles = [httpx.Response(401, json={"message": "401: Unauthorized", "code": 0})]

    with channel.watch() as watch, pytest.raises(AccountRejected):
        await watch.next()


async def test_a_message_in_an_unknown_shape_is_passed_over_and_still_counts_as_present(channel: Channel) -> None:
    channel.listed = [raw_message(10, content=7), raw_message(20)]

    with channel.watch() as watch:
        look = await watch.next()

    assert [message.id for message in look.messages] == [20]
    assert look.present == {10, 20}


async def test_messages_of_people_are_not_shown(channel: Channel) -> None:
    channel.listed = [raw_message(10, author={"id": "1"})]

    with channel.watch() as watch:
        assert (await watch.next()).messages == ()


async def test_a_fault_of_the_poller_reaches_the_jobs_and_the_next_job_polls_anew(
    channel: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("workers.upstream.discord.feed.fingerprint", lambda _: 1 / 0)
        channel.listed = [raw_message(10)]
        with channel.watch() as watch, pytest.raises(ZeroDivisionError):
            await watch.next()

    with channel.watch() as watch:
        assert await ids_of(watch) == [10]


@pytest.mark.parametrize(
    ("is_hidden", "last_message_id", "expected"),
    [(False, "10", True), (True, "10", False), (True, None, True)],
    ids=["messages are listed", "there are some that are not listed", "there are none"],
)
async def test_an_empty_list_is_believed_only_if_the_channel_knows_of_no_message(
    channel: Channel, is_hidden: bool, last_message_id: str | None, expected: bool
) -> None:
    channel.listed, channel.is_hidden, channel.last_message_id = [raw_message(10)], is_hidden, last_message_id

    assert await channel.watch().is_readable() is expected
