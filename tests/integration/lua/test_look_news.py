"""look_news: what events bring, beside what is asked for."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store
from tests.support.looks import Spot


@pytest.fixture
def spot(store: Store) -> Spot:
    return Spot(store)


def test_nothing_is_kept_where_nobody_watches(spot: Spot) -> None:
    assert spot.news((101, "p1", "text"), fed_ms=5000, wants_list=1) == ["unwatched"]
    assert not list(spot.store.client.scan_iter(spot.store.keys.of("*")))


def test_a_message_is_news_to_all_and_says_nothing_of_what_is_listed(spot: Spot) -> None:
    spot.granted("n1")
    listed = spot.tell("n1", 101, changed=((101, "p1", "one"),))

    assert spot.news((101, "p2", "edited"), (102, "p3", "new")) == ["ok"]

    told = spot.ask(known=int(listed["version"]))
    assert told.news.keys() == {"edited", "new"}
    assert (told["listed"], told["present"]) == (listed["listed"], "101")


def test_a_message_that_comes_again_is_none(spot: Spot) -> None:
    spot.ask()
    spot.news((101, "p1", "one"))
    before = spot.state()

    assert spot.again() == ["ok"]
    assert spot.state() == before


def test_events_that_come_are_told_for_so_long(spot: Spot) -> None:
    spot.ask()
    assert spot.ask()["fed_ms"] == "0"

    spot.news(fed_ms=5000)

    assert 0 < int(spot.ask()["fed_ms"]) <= 5000
    assert spot.field("version") is None


def test_a_list_of_a_later_turn_is_wanted(spot: Spot) -> None:
    spot.granted("n1")
    spot.news(wants_list=1)
    told = spot.tell("n1")

    assert told["wanted"] == told["listed"] == told["turn"]
    spot.granted("n2")
    told = spot.tell("n2")
    assert int(told["wanted"]) < int(told["listed"])


@pytest.mark.parametrize("wants_list", [0, 1])
def test_a_hint_goes_out_where_there_is_something_to_take(spot: Spot, wants_list: int) -> None:
    spot.ask()
    with spot.hints() as heard:
        spot.news(fed_ms=5000)
        spot.news(*(() if wants_list else ((101, "p1", "text"),)), wants_list=wants_list)

        hint = heard.get_message(timeout=5)

    assert hint is not None
    assert hint["data"] == f"d1:c1 {spot.field('version')}"


def test_what_an_event_made_ends_with_the_watchers_need(spot: Spot) -> None:
    spot.ask(life=5000)

    spot.news((101, "p1", "text"))

    assert 0 < int(spot.store.client.pttl(spot.key("look_messages"))) <= 5000
