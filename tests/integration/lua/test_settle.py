"""settle: record the outcome and free the slot, in one step, once."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize("status", ["completed", "failed", "moderated"])
@pytest.mark.parametrize("state", ["C", "S", "U", "A"])
def test_an_ended_job_is_final_and_its_slot_serves_the_next(fleet: Fleet, state: str, status: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    assert fleet.settle("j1", status, error="why") == ["ok", status]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.record("j1")["error"]) == ("F", status, "why")
    assert (fleet.used("c1"), fleet.state("j2")) == (["j2"], "R")
    assert fleet.again_changes_nothing() == ["ok", status]


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_a_job_that_the_upstream_still_runs_is_final_and_keeps_its_slot(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    assert fleet.settle("j1", "failed", running=True, error="no progress") == ["ok", "failed"]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.state("j2")) == ("D", "failed", "P")
    assert fleet.score("j1", "deadlines") == int(fleet.lease("j1")["deadline_ms"]) + fleet.times.hold_ms
    assert fleet.again_changes_nothing() == ["ok", "failed"]


def test_a_job_that_was_never_submitted_cannot_still_run(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert fleet.settle("j1", "failed", running=True) == ["ok", "failed"]
    assert (fleet.state("j1"), fleet.used("c1")) == ("F", [])


def test_the_upstreams_end_frees_a_draining_slot_and_keeps_the_status(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")
    fleet.submit("j2")

    assert fleet.settle("j1", "completed", message="late") == ["ok", "cancelled"]
    assert (fleet.state("j1"), fleet.state("j2")) == ("F", "R")
    assert "message" not in fleet.record("j1")
    assert fleet.again_changes_nothing() == ["ok", "cancelled"]


def test_a_draining_job_said_to_run_on_is_held_as_long_as_before(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.settle("j1", "failed", running=True)
    fleet.store.client.zincrby(fleet.key("deadlines"), 30_000, "j1")
    held_until_ms = fleet.score("j1", "deadlines")

    assert fleet.settle("j1", "failed", running=True) == ["ok", "failed"]
    assert (fleet.state("j1"), fleet.score("j1", "deadlines")) == ("D", held_until_ms)


def test_a_job_ended_twice_keeps_the_first_outcome(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    fleet.settle("j1", "completed")

    assert fleet.settle("j1", "failed", token=token) == ["ok", "completed"]
    assert fleet.status("j1") == "completed"


def test_an_old_token_ends_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "A")
    fleet.yield_("j1")

    assert fleet.settle("j1", token=old) == ["stale"]
    assert fleet.state("j1") == "A"
    fleet.again_changes_nothing()


def test_a_cancelled_jobs_owner_is_stale_once_the_slot_is_free(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "C")
    fleet.cancel("j1")

    assert fleet.settle("j1", token=token) == ["stale"]


def test_the_pool_is_served_when_a_pinned_line_is_empty(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.submit("any")
    fleet.submit("pinned", pin="c1")

    fleet.settle("j1")

    assert (fleet.state("pinned"), fleet.state("any")) == ("R", "P")
    fleet.claim("pinned")
    fleet.settle("pinned")
    assert fleet.state("any") == "R"


def test_the_last_slot_of_a_deleted_account_takes_it_along(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.bring("j2", "A")
    fleet.remove("c1")

    fleet.settle("j1")
    assert fleet.account("c1")["state"] == "deleted"
    fleet.settle("j2")
    assert fleet.account("c1") == {}


def test_lists_and_times_follow_the_outcome(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")

    fleet.settle("j1")

    assert (fleet.listed("completed"), fleet.listed("started"), fleet.listed()) == (["j1"], [], ["j1"])
    record = fleet.record("j1")
    assert int(record["created_ms"]) <= int(record["started_ms"]) <= int(record["finished_ms"])
