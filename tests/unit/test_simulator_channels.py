from __future__ import annotations

import pytest

from simulator.channels import LAG_MAX_S, Channel, Message


def ids(page: list[Message]) -> list[int]:
    return [message.id for message in page]


def channel_of(*message_ids: int) -> Channel:
    channel = Channel()
    for message_id in message_ids:
        channel.post(Message(message_id, {}))
    return channel


def test_a_page_is_newest_first() -> None:
    assert ids(channel_of(1, 2, 3).newest(2)) == [3, 2]


def test_after_returns_those_that_follow_most_closely_not_the_newest() -> None:
    assert ids(channel_of(1, 2, 3, 4, 5).after(1, 2)) == [3, 2]


def test_before_returns_those_that_precede_most_closely() -> None:
    assert ids(channel_of(1, 2, 3, 4, 5).before(5, 2)) == [4, 3]


def test_after_and_before_leave_the_named_message_out_and_need_no_such_message() -> None:
    channel = channel_of(10, 20, 30)

    assert ids(channel.after(10, 100)) == ids(channel.after(15, 100)) == [30, 20]
    assert ids(channel.before(30, 100)) == ids(channel.before(25, 100)) == [20, 10]


def test_around_holds_the_named_message_and_its_neighbours() -> None:
    channel = channel_of(1, 2, 3, 4, 5)

    assert ids(channel.around(3, 1)) == [3]
    assert ids(channel.around(3, 3)) == [4, 3, 2]
    assert ids(channel.around(1, 3)) == [2, 1]


def test_pages_by_after_meet_every_message_once() -> None:
    channel, last = channel_of(*range(1, 96)), 0
    seen: list[int] = []
    while page := ids(channel.after(last, 10)):
        seen += reversed(page)
        last = page[0]

    assert seen == list(range(1, 96))


def test_a_deleted_message_is_in_no_page() -> None:
    channel = channel_of(1, 2, 3)

    channel.delete(2)
    channel.delete(2)

    assert ids(channel.newest(100)) == [3, 1]
    assert channel.message(2) is None


def test_a_channel_can_be_told_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr("simulator.channels.time.monotonic", lambda: now_s)
    channel = Channel()
    edited, deleted = (Message(number, {"content": "first"}, posted_s=100.0 + number) for number in (1, 2))
    for message in (edited, deleted):
        channel.post(message)
    now_s = 103.0
    edited.edit({"content": "second"})
    now_s = 104.0
    edited.edit({"content": "third"})
    channel.delete(deleted.id)

    told = {
        instant_s: [(message.id, message.body["content"]) for message in channel.as_of(instant_s).newest(9)]
        for instant_s in (100.5, 102.5, 103.5, 104.5)
    }

    assert told == {
        100.5: [],
        102.5: [(2, "first"), (1, "first")],
        103.5: [(2, "first"), (1, "second")],
        104.5: [(1, "third")],
    }


def test_what_was_long_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("simulator.channels.time.monotonic", lambda: now_s)
    message = Message(1, {"content": "first"}, posted_s=0.0)
    for number in range(5):
        now_s = number * LAG_MAX_S
        message.edit({"content": str(number)})

    assert len(message._former) == 2
