"""mark A: the upstream's id is known."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize("state", ["S", "U"])
def test_the_remote_id_makes_it_accepted_and_started(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    assert fleet.mark_accepted("j1", "r1", message="{}") == ["ok", "A"]
    assert (fleet.state("j1"), fleet.lease("j1")["remote"], fleet.status("j1")) == ("A", "r1", "started")
    assert (fleet.record("j1")["message"], fleet.submitting("c1")) == ("{}", [])
    assert fleet.again_changes_nothing() == ["ok", "A"]


def test_progress_is_recorded_without_a_line_of_history(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    lines = fleet.history("j1")

    assert fleet.mark_accepted("j1", status="progress", message="half") == ["ok", "A"]
    assert (fleet.status("j1"), fleet.record("j1")["message"]) == ("progress", "half")
    assert (fleet.history("j1"), fleet.listed("progress"), fleet.listed("started")) == (lines, ["j1"], [])


def test_who_adopts_a_job_in_progress_does_not_set_it_back_to_started(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.mark_accepted("j1", status="progress", message="half")
    fleet.yield_("j1")
    fleet.claim("j1", execution="e2")

    fleet.mark_accepted("j1", status="started", message="more")

    assert (fleet.status("j1"), fleet.record("j1")["message"]) == ("progress", "more")


def test_another_id_for_the_same_job_is_an_alarm(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.mark_accepted("j1", "r1")

    assert fleet.mark_accepted("j1", "r2") == ["other", "r1"]
    assert fleet.lease("j1")["remote"] == "r1"
    fleet.again_changes_nothing()


def test_an_interaction_belongs_to_the_first_job_that_claimed_it(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.mark_accepted("j1", "r1")
    fleet.bring("j2", "S")

    assert fleet.mark_accepted("j2", "r1") == ["claimed", "j1"]
    assert (fleet.state("j2"), fleet.submitting("c1")) == ("S", ["j2"])
    fleet.again_changes_nothing()


def test_an_interaction_stays_claimed_after_its_job_ended(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.mark_accepted("j1", "r1")
    fleet.settle("j1")
    fleet.bring("j2", "S")

    assert fleet.mark_accepted("j2", "r1") == ["claimed", "j1"]


def test_a_draining_job_keeps_draining_and_takes_its_id(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.cancel("j1")

    assert fleet.mark_accepted("j1", "r1", status="progress", message="late") == ["ok", "D"]
    assert (fleet.lease("j1")["remote"], fleet.status("j1"), fleet.submitting("c1")) == ("r1", "cancelled", [])
    assert "message" not in fleet.record("j1")
    fleet.again_changes_nothing()


def test_what_is_over_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "F")

    assert fleet.mark_accepted("j1", "r1", token=token) == ["stale"]
    assert fleet.state("j1") == "F"
    fleet.again_changes_nothing()


def test_an_old_token_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "A")
    fleet.yield_("j1")

    assert fleet.mark_accepted("j1", status="progress", token=old) == ["stale"]
    assert fleet.status("j1") == "started"


def test_it_extends_the_lease_and_clears_its_strike(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.expire("j1")
    fleet.reap()

    fleet.mark_accepted("j1")

    expires_ms = fleet.score("j1", "expiry")
    assert expires_ms is not None
    assert expires_ms > fleet.now_ms()
    assert "suspect" not in fleet.lease("j1")
