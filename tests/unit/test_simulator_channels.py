from __future__ import annotations

from simulator.channels import Channel, Message


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
