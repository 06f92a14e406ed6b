"""callback_bury: what is given up is a dead letter for as long as its job is on record."""

from __future__ import annotations

from tests.support.callbacks import bury, dead, ended, put_off, take, waiting
from tests.support.fleet import KEEP_S, PAST_MS, Fleet


def test_what_is_given_up_is_kept_with_its_reason_and_waits_no_more(fleet: Fleet) -> None:
    ended(fleet, "j1")
    take(fleet)
    put_off(fleet, "j1")

    assert bury(fleet, "j1", attempts=1, error="10.0.0.1 is refused") == ["ok"]
    assert (waiting(fleet), dead(fleet)) == ({}, ["j1"])
    kept = fleet.hash("callback", "j1")
    assert (kept["id"], kept["attempts"], kept["error"]) == ("j1-final", "2", "10.0.0.1 is refused")
    assert 0 < fleet.store.client.ttl(fleet.key("callback", "j1")) <= KEEP_S
    assert fleet.again_changes_nothing() == ["stale"]


def test_older_dead_letters_are_forgotten(fleet: Fleet) -> None:
    ended(fleet, "j1")
    fleet.store.client.zadd(fleet.key("callbacks_dead"), {"j0": PAST_MS})

    bury(fleet, "j1")

    assert dead(fleet) == ["j1"]


def test_a_callback_that_another_attempt_already_failed_is_not_given_up_twice(fleet: Fleet) -> None:
    ended(fleet, "j1")
    put_off(fleet, "j1")

    assert bury(fleet, "j1", attempts=0) == ["stale"]
    assert (list(waiting(fleet)), dead(fleet)) == (["j1"], [])
