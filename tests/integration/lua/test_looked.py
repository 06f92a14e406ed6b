"""looked: what was read, or why it was not, becomes what all workers know."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store
from tests.support.looks import Spot


@pytest.fixture
def spot(store: Store) -> Spot:
    return Spot(store)


def test_a_list_is_known_by_its_turn_its_window_and_all_ids_in_it(spot: Spot) -> None:
    turn = spot.granted("n1")

    told = spot.tell("n1", 101, 102, changed=((102, "p1", "text"),))

    assert (told.verdict, told["listed"], told["since"], told["present"]) == ("ok", turn["turn"], "100", "101,102")
    assert (told.news, spot.kept()) == ({"text": told["version"]}, {"102": "text"})
    assert (told["troubles"], told["trouble"], spot.field("reader")) == ("0", "", "")


def test_told_again_it_changes_nothing(spot: Spot) -> None:
    spot.granted("n1")
    spot.tell("n1", 101, changed=((101, "p1", "text"),))
    before = spot.state()

    assert spot.again()[0] == "ok"
    assert spot.state() == before


def test_a_reader_whose_turn_another_has_is_not_believed(spot: Spot) -> None:
    first = spot.granted("frozen")
    spot.turn_runs_out()
    spot.ask("n2", worker="w2", turn=first["turn"])
    before = spot.state()

    assert spot.tell("frozen", changed=((101, "p1", "old"),)).verdict == "stale"
    assert spot.state() == before
    spot.tell("n2", 101)
    assert spot.tell("frozen").verdict == "stale"


def test_a_reader_that_was_slow_is_believed_where_nobody_has_its_turn(spot: Spot) -> None:
    spot.granted("slow")
    spot.turn_runs_out()

    assert spot.tell("slow", 101).verdict == "ok"


def test_messages_that_are_listed_no_more_are_not_kept(spot: Spot) -> None:
    spot.granted("n1")
    spot.tell("n1", 101, 102, changed=((101, "p1", "one"), (102, "p2", "two")))
    spot.granted("n2")

    told = spot.tell("n2", 102)

    assert (told["present"], spot.kept()) == ("102", {"102": "two"})


def test_what_an_event_brought_while_the_list_was_read_is_newer_than_the_list(spot: Spot) -> None:
    spot.granted("n1")
    spot.tell("n1", 101, changed=((101, "p1", "one"),))
    spot.granted("n2")
    spot.news((101, "p3", "by event"), (102, "p4", "also"))

    spot.tell("n2", 101, changed=((101, "p2", "by list"),))

    assert spot.kept() == {"101": "by event", "102": "also"}
    spot.granted("n3")
    spot.tell("n3", 101, changed=((101, "p5", "by a later list"),))
    assert spot.kept() == {"101": "by a later list"}


def test_troubles_in_a_row_are_counted_until_a_list_is_read(spot: Spot) -> None:
    spot.granted("n1")
    first = spot.trouble("n1", "502", pause_ms=1)
    assert (first.verdict, first["troubles"], first["trouble"]) == ("ok", "1", "502")
    assert spot.again()[0] == "ok"
    assert spot.field("troubles") == "1"
    spot.store.client.hset(spot.key("look"), "pause_until_ms", 0)
    spot.granted("n2")
    assert spot.trouble("n2", "503", pause_ms=1)["troubles"] == "2"
    spot.store.client.hset(spot.key("look"), "pause_until_ms", 0)
    spot.granted("n3")
    told = spot.tell("n3")
    assert (told["troubles"], told["trouble"]) == ("0", "")


@pytest.mark.parametrize("told", ["list", "trouble"])
def test_all_workers_get_a_hint(spot: Spot, told: str) -> None:
    with spot.hints() as heard:
        spot.granted("n1")
        version = (spot.tell("n1") if told == "list" else spot.trouble("n1"))["version"]

        hint = heard.get_message(timeout=5)

    assert hint is not None
    assert hint["data"] == f"d1:c1 {version}"
