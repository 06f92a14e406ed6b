"""callback_done: a callback that was heard leaves the outbox, and no other does."""

from __future__ import annotations

from tests.support.callbacks import bury, dead, ended, id_of, take, under_way, waiting
from tests.support.fleet import Fleet


def test_what_was_heard_is_out_of_the_outbox(fleet: Fleet) -> None:
    ended(fleet, "j1")
    take(fleet)

    assert fleet.run("callback_done", "j1", "j1-final") == ["ok"]
    assert waiting(fleet) == {}
    assert not fleet.store.client.exists(fleet.key("callback", "j1"))
    assert fleet.again_changes_nothing() == ["stale"]


def test_the_end_that_came_while_progress_was_told_stays(fleet: Fleet) -> None:
    under_way(fleet, "j1")
    take(fleet)
    told = id_of(fleet, "j1")
    fleet.settle("j1")

    assert fleet.run("callback_done", "j1", told) == ["stale"]
    assert waiting(fleet)["j1"] <= 0
    assert id_of(fleet, "j1") == "j1-final"


def test_a_dead_letter_that_was_heard_after_all_is_no_dead_letter(fleet: Fleet) -> None:
    ended(fleet, "j1")
    bury(fleet, "j1")

    fleet.run("callback_done", "j1", "j1-final")

    assert dead(fleet) == []
