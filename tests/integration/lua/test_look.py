"""look: who reads a channel, and what all the others take."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store, command
from dispatcher.replies import milliseconds
from tests.support.fleet import FAR_MS, PAST_MS
from tests.support.looks import TURN_MS, Spot

NOW = command("TIME", read=milliseconds)


@pytest.fixture
def spot(store: Store) -> Spot:
    return Spot(store)


def test_one_worker_reads_and_the_others_hear_that_it_does(spot: Spot) -> None:
    first = spot.ask("n1")
    second = spot.ask("n2", worker="w2", turn=first["turn"])

    assert (first.verdict, second.verdict) == ("read", "busy")
    assert first["turn"] == second["turn"] != "0"


def test_asked_again_under_the_same_name_the_turn_is_the_same_and_lasts_anew(spot: Spot) -> None:
    granted = spot.granted()
    spot.turn_runs_out()
    before = spot.state()

    again = spot.ask("n1", turn=granted["turn"])

    assert (again.verdict, again["turn"], again["read_since"]) == ("read", granted["turn"], "100")
    assert spot.state() == before
    assert int(spot.field("until_ms") or 0) > PAST_MS + TURN_MS


def test_a_turn_whose_reader_is_not_heard_of_goes_to_another(spot: Spot) -> None:
    first = spot.granted()
    spot.turn_runs_out()

    second = spot.ask("n2", worker="w2", turn=first["turn"])

    assert second.verdict == "read"
    assert int(second["turn"]) > int(first["turn"])


def test_a_clock_that_was_put_back_makes_no_turn_and_no_pause_longer_than_it_was(spot: Spot) -> None:
    spot.granted()
    spot.store.client.hset(
        spot.key("look"), mapping={"until_ms": 9 * 10**15, "pause_until_ms": 9 * 10**15, "pause_ms": 70}
    )

    assert spot.ask("n2", worker="w2").verdict == "busy"
    assert spot.ask(worker="w2")["pause_ms"] == "70"


def test_who_has_not_heard_of_the_last_turn_does_not_get_the_next(spot: Spot) -> None:
    first = spot.granted()
    spot.tell("n1")

    late = spot.ask("n2", worker="w2", turn="0")

    assert (late.verdict, late["turn"], late["listed"]) == ("newer", first["turn"], first["turn"])
    assert spot.ask("n2", worker="w2", turn=late["turn"]).verdict == "read"


def test_who_wants_no_turn_gets_none(spot: Spot) -> None:
    assert (spot.ask().verdict, spot.ask()["turn"], spot.field("reader")) == ("idle", "0", None)


def test_nobody_reads_in_a_pause(spot: Spot) -> None:
    first = spot.granted()
    spot.trouble("n1", "401")

    held = spot.ask("n2", turn=first["turn"])

    assert (held.verdict, held["trouble"], held["troubled"], held["troubles"]) == ("paused", "401", first["turn"], "1")
    assert 0 < int(held["pause_ms"]) <= FAR_MS
    spot.store.client.hset(spot.key("look"), "pause_until_ms", PAST_MS)
    assert spot.ask("n2", turn=first["turn"]).verdict == "read"


@pytest.mark.parametrize(
    ("one", "other", "oldest"),
    [
        ("99", "100", "99"),
        ("12345678901234567890", "12345678901234567891", "12345678901234567890"),
        ("200", "300", "200"),
    ],
)
def test_a_reader_reads_from_the_oldest_message_that_any_worker_needs(
    spot: Spot, one: str, other: str, oldest: str
) -> None:
    spot.ask(worker="w1", since=one)
    assert spot.granted(worker="w2", since=other)["read_since"] == oldest


def test_what_a_worker_needed_that_is_gone_is_forgotten(spot: Spot) -> None:
    spot.ask(worker="gone", since="1", life=FAR_MS)
    spot.store.client.hset(spot.key("look_needs"), "gone", f"{PAST_MS} 1")

    assert spot.granted(since="100")["read_since"] == "100"
    assert list(spot.store.client.hkeys(spot.key("look_needs"))) == ["w1"]


def test_a_worker_gets_the_messages_that_are_newer_than_what_it_has(spot: Spot) -> None:
    spot.granted("n1")
    old = spot.tell("n1", 101, 102, changed=((101, "p1", '{"a": 1}'), (102, "p2", '{"b":\n2}')))
    spot.granted("n2")
    new = spot.tell("n2", 101, 102, changed=((102, "p3", "edited"),))

    assert spot.ask(known=0).news.keys() == {'{"a": 1}', "edited"}
    assert spot.ask(known=int(old["version"])).news == {"edited": new["version"]}
    assert spot.ask(known=int(new["version"])).news == {}
    assert (new["present"], spot.granted("n3").prints) == ("101,102", {"101": "p1", "102": "p3"})


def test_a_worker_that_knows_more_than_the_store_gets_all_there_is(spot: Spot) -> None:
    spot.granted("n1")
    told = spot.tell("n1", 101, changed=((101, "p1", "text"),))

    assert spot.ask(known=int(told["version"]) + 5).news == {"text": told["version"]}


def test_after_a_loss_no_turn_and_no_version_has_a_number_that_came_before(spot: Spot) -> None:
    before = spot.granted("n1")
    told = spot.tell("n1")
    for kind in ("look", "look_needs", "look_messages"):
        spot.store.client.delete(spot.key(kind))
    while spot.store.do(NOW) <= int(told["version"]):  # no store loses writes and is back within a millisecond
        pass

    assert spot.ask()["turn"] == "0"
    after = spot.granted("n2")
    assert int(after["turn"]) > int(before["turn"])
    assert int(spot.tell("n2")["version"]) > int(told["version"])


def test_all_of_it_ends_by_itself(spot: Spot) -> None:
    spot.granted()
    spot.tell("n1", 101, changed=((101, "p1", "text"),))
    spot.ask(life=5000)

    client = spot.store.client
    assert all(0 < int(client.pttl(spot.key(kind))) <= 5000 for kind in ("look", "look_needs", "look_messages"))
