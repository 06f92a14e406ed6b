"""pace: no call leaves while anything forbids it, and no faster than its pace."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store
from tests.support.limits import Road

GO = ["go", "0"]
MINUTE_US = 60_000_000


@pytest.fixture
def road(store: Store) -> Road:
    return Road(store)


def waits(reply: list[str]) -> int:
    """The ms that a turn was given, or a call is held for."""
    return int(reply[1])


def test_what_nothing_forbids_leaves_at_once_and_leaves_no_trace(road: Road, store: Store) -> None:
    assert road.ask() == GO
    assert road.again() == GO
    assert list(store.client.scan_iter(f"{store.keys.namespace}:*")) == []


@pytest.mark.parametrize(
    ("scope", "held"),
    [
        ("route", {("messages", "c1", "d1", "here")}),
        (
            "token",
            {
                ("messages", "c1", "d1", "here"),
                ("messages", "c2", "d1", "here"),
                ("me", "-", "d1", "here"),
                ("messages", "c1", "d1", "there"),
            },
        ),
        (
            "address",
            {
                ("messages", "c1", "d1", "here"),
                ("messages", "c2", "d1", "here"),
                ("me", "-", "d1", "here"),
                ("messages", "c1", "d2", "here"),
            },
        ),
    ],
)
def test_a_block_holds_what_it_names_and_nothing_else(
    road: Road, scope: str, held: set[tuple[str, str, str, str]]
) -> None:
    road.tell(scope, 30_000, "slow down")
    calls = [
        ("messages", "c1", "d1", "here"),
        ("messages", "c2", "d1", "here"),
        ("me", "-", "d1", "here"),
        ("messages", "c1", "d2", "here"),
        ("messages", "c1", "d1", "there"),
    ]

    replies = {call: road.ask(call[0], call[1], digest=call[2], egress=call[3]) for call in calls}

    stopped = held | ({("messages", "c1", "d1", "there")} if scope == "route" else set())
    assert {call for call, reply in replies.items() if reply[0] == "held"} == stopped
    for call in stopped:
        _, ms, told, reason = replies[call]
        assert 0 < int(ms) <= 30_000
        assert (told, reason) == (scope, "slow down")


def test_of_several_blocks_the_longest_is_told(road: Road) -> None:
    road.tell("route", 20_000, "the route")
    road.tell("address", 40_000, "the address")
    road.tell("token", 30_000, "the token")

    _, ms, scope, reason = road.ask()

    assert 30_000 < int(ms) <= 40_000
    assert (scope, reason) == ("address", "the address")


def test_a_block_holds_also_what_has_its_turn_already(road: Road) -> None:
    road.ask(interval_us=MINUTE_US)
    road.tell("token", 5000)

    assert road.ask(interval_us=0)[0] == "held"


def test_a_burst_leaves_at_once_and_then_one_a_turn(road: Road) -> None:
    replies = [road.ask(interval_us=1_000_000, burst=3) for _ in range(6)]

    assert replies[:3] == [GO, GO, GO]
    waited = [waits(reply) for reply in replies[3:]]
    assert [reply[0] for reply in replies[3:]] == ["go", "go", "go"]
    for turn, ms in enumerate(waited, start=1):
        assert 1000 * turn - 900 < ms <= 1000 * turn
    assert waited == sorted(set(waited))


def test_a_turn_later_than_the_patience_is_not_taken(road: Road, store: Store) -> None:
    road.ask(interval_us=MINUTE_US)
    before = store.client.get(road.key("pace", "discord", "d1", "messages", "c1"))

    verdict, ms, scope, reason = road.ask(interval_us=MINUTE_US, patience_ms=50_000)

    assert (verdict, scope, reason) == ("held", "pace", "others are before it")
    assert 50_000 < int(ms) <= 60_000
    assert store.client.get(road.key("pace", "discord", "d1", "messages", "c1")) == before
    assert road.ask(interval_us=MINUTE_US, patience_ms=60_000)[0] == "go"


def test_each_route_has_a_pace_of_its_own(road: Road) -> None:
    assert road.ask(interval_us=MINUTE_US) == GO
    assert road.ask(major="c2", interval_us=MINUTE_US) == GO
    assert road.ask(route="channel", interval_us=MINUTE_US) == GO
    assert road.ask(digest="d2", interval_us=MINUTE_US) == GO
    assert road.ask(interval_us=MINUTE_US)[0] == "held"


def test_an_address_paces_all_that_leaves_it(road: Road) -> None:
    assert road.ask(address_us=MINUTE_US, address_burst=2) == GO
    assert road.ask(digest="d2", major="c2", address_us=MINUTE_US, address_burst=2) == GO

    assert road.ask(digest="d3", address_us=MINUTE_US, address_burst=2)[0] == "held"
    assert road.ask(digest="d3", egress="there", address_us=MINUTE_US, address_burst=2) == GO


def test_a_pace_is_forgotten_when_it_is_past(road: Road) -> None:
    road.ask(interval_us=7_000_000, address_us=9_000_000)

    assert 5000 < road.life_ms("pace", "discord", "d1", "messages", "c1") <= 7000
    assert 7000 < road.life_ms("pace", "discord", "here") <= 9000


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("route", ("blocked", "discord", "d1", "messages", "c1")),
        ("token", ("blocked", "discord", "d1")),
        ("address", ("shut", "discord", "here")),
    ],
)
def test_a_block_begins_anew_when_the_clock_is_set_back(
    road: Road, store: Store, scope: str, key: tuple[str, ...]
) -> None:
    road.tell(scope, 30_000, "slow down")
    until_ms, rest = str(store.client.get(road.key(*key))).split(" ", 1)
    store.client.set(road.key(*key), f"{int(until_ms) + 86_400_000} {rest}", px=86_430_000)

    verdict, ms, told, reason = road.ask()

    assert (verdict, int(ms), told, reason) == ("held", 30_000, scope, "slow down")
    assert 28_000 < road.life_ms(*key) <= 30_000
    assert 28_000 < waits(road.ask()) <= 30_000


def test_a_bucket_of_a_clock_that_was_set_back_is_forgotten(road: Road, store: Store) -> None:
    road.tell(bucket=("b1", 0, 30_000))
    bucket = road.key("bucket", "discord", "d1", "b1", "c1")
    store.client.hincrby(bucket, "reset_ms", 86_400_000)

    assert road.ask() == GO
    assert not store.client.exists(bucket)


def test_a_pace_of_a_clock_that_was_set_back_is_forgotten(road: Road, store: Store) -> None:
    seconds, _ = store.client.time()
    ahead_us = (int(seconds) + 86_400) * 1_000_000
    store.client.set(road.key("pace", "discord", "d1", "messages", "c1"), ahead_us, px=1000 * 86_400)

    assert road.ask(interval_us=9_000_000) == GO
    assert road.life_ms("pace", "discord", "d1", "messages", "c1") <= 9000


def test_a_call_that_leaves_takes_its_place_in_the_bucket(road: Road) -> None:
    road.tell(bucket=("b1", 2, 30_000))

    assert road.ask(leaves=False) == GO
    assert [road.ask(), road.ask()] == [GO, GO]
    verdict, ms, scope, reason = road.ask()

    assert (verdict, scope, reason) == ("held", "route", "its bucket is empty")
    assert 0 < int(ms) <= 30_000
    assert road.ask(leaves=False)[0] == "held"


def test_a_bucket_is_parted_by_major_parameter_and_shared_by_its_routes(road: Road) -> None:
    road.tell(bucket=("b1", 5, 30_000))
    road.tell(route="channel", bucket=("b1", 0, 30_000))

    assert road.ask()[0] == "held"
    assert road.ask(major="c2") == GO
    assert road.ask(digest="d2") == GO


def test_a_call_that_waits_for_its_turn_has_not_left(road: Road, store: Store) -> None:
    road.tell(bucket=("b1", 5, 30_000))
    road.ask(interval_us=1_000_000)

    assert waits(road.ask(interval_us=1_000_000)) > 0

    assert store.client.hget(road.key("bucket", "discord", "d1", "b1", "c1"), "remaining") == "4"


def test_asked_twice_it_takes_one_more_turn(road: Road) -> None:
    road.ask(interval_us=1_000_000)
    first = road.ask(interval_us=1_000_000)
    second = road.again()

    assert waits(first) < waits(second) <= 2000
