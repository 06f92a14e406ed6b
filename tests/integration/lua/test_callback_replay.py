"""callback_replay: an ended job's callback is made again, under the id it always had."""

from __future__ import annotations

from tests.support.callbacks import HOST, bury, dead, ended, put_off, take, under_way, waiting
from tests.support.fleet import KEEP_S, Fleet


def test_a_dead_letter_is_due_again_as_if_never_tried(fleet: Fleet) -> None:
    ended(fleet, "j1")
    bury(fleet, "j1")

    assert fleet.run("callback_replay", "j1") == ["ok"]
    assert fleet.again() == ["ok"]
    assert dead(fleet) == []
    assert take(fleet) == ["ok", 0, ["j1", "j1-final", "0", "0", HOST]]


def test_one_that_waits_for_its_next_attempt_is_due_now(fleet: Fleet) -> None:
    ended(fleet, "j1")
    put_off(fleet, "j1", delay_ms=900_000)

    fleet.run("callback_replay", "j1")

    assert waiting(fleet)["j1"] <= 0


def test_one_that_was_heard_long_ago_is_made_again_and_forgotten_with_its_job(fleet: Fleet) -> None:
    ended(fleet, "j1")
    fleet.run("callback_done", "j1", "j1-final")

    fleet.run("callback_replay", "j1")

    assert take(fleet)[2][1] == "j1-final"
    assert 0 < fleet.store.client.ttl(fleet.key("callback", "j1")) <= KEEP_S


def test_what_has_no_callback_says_why(fleet: Fleet) -> None:
    under_way(fleet, "j1", on="")
    fleet.submit("j2")
    fleet.cancel("j2")

    assert fleet.run("callback_replay", "j0") == ["missing"]
    assert fleet.run("callback_replay", "j1") == ["not_final", "started"]
    assert fleet.run("callback_replay", "j2") == ["no_url"]
