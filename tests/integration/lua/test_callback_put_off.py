"""callback_put_off: what was not heard is told again later, and each attempt counts once."""

from __future__ import annotations

from tests.support.callbacks import ended, id_of, make_due, put_off, take, under_way, waiting
from tests.support.fleet import Fleet


def test_what_was_not_heard_comes_again_after_the_pause(fleet: Fleet) -> None:
    ended(fleet, "j1")
    take(fleet)

    assert put_off(fleet, "j1", delay_ms=5000, error="it took too long") == ["ok"]
    assert 4000 < waiting(fleet)["j1"] <= 5000
    kept = fleet.hash("callback", "j1")
    assert (kept["id"], kept["attempts"], kept["error"]) == ("j1-final", "1", "it took too long")
    assert fleet.again_changes_nothing() == ["stale"]


def test_the_first_failure_begins_the_time_of_trying(fleet: Fleet) -> None:
    ended(fleet, "j1")
    take(fleet)
    put_off(fleet, "j1")
    first_ms = fleet.hash("callback", "j1")["first_ms"]
    make_due(fleet, "j1")
    take(fleet)

    put_off(fleet, "j1", attempts=1)

    kept = fleet.hash("callback", "j1")
    assert (kept["attempts"], kept["first_ms"]) == ("2", first_ms)


def test_the_end_that_came_meanwhile_is_not_put_off(fleet: Fleet) -> None:
    under_way(fleet, "j1")
    told = id_of(fleet, "j1")
    fleet.settle("j1")

    assert fleet.run("callback_put_off", "j1", told, 0, 5000, "no answer") == ["stale"]
    assert waiting(fleet)["j1"] <= 0


def test_a_callback_that_is_gone_does_not_come_back(fleet: Fleet) -> None:
    ended(fleet, "j1")
    fleet.run("callback_done", "j1", "j1-final")

    assert fleet.run("callback_put_off", "j1", "j1-final", 0, 5000, "no answer") == ["stale"]
    assert waiting(fleet) == {}
