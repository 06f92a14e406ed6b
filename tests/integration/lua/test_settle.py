"""settle: record the outcome and free the slot, in one step, once."""

from __future__ import annotations

import pytest

from tests.support.fleet import FAR_MS, PAST_MS, Fleet


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


def test_a_job_that_failed_with_an_attempt_left_returns_to_its_place_and_its_slot_serves_it(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("busy")
    fleet.submit("j1")
    fleet.submit("j2")
    for job in ("busy", "j1"):
        fleet.claim(job)
        fleet.mark_submitting(job)
        fleet.mark_accepted(job, message="half done")
        reply = fleet.settle(job, "failed", attempts_max=1 if job == "busy" else 2, error="the bot says: no")

    assert reply == ["ok", "created"]
    record = fleet.record("j1")
    assert (fleet.state("j1"), fleet.state("j2"), record["attempts"]) == ("R", "P", "1")
    assert "returned, to be tried again: the bot says: no" in fleet.history("j1")
    assert not {"message", "started_ms", "error", "finished_ms"} & set(record)
    assert (fleet.listed("created"), fleet.listed("failed")) == (["j1", "j2"], ["busy"])
    assert fleet.again_changes_nothing() == ["ok", "created"]


def test_one_tried_again_waits_for_another_account_and_is_not_timed(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.stand("c1", "paused")

    fleet.settle("j1", "failed", attempts_max=2)

    assert (fleet.pending(), fleet.used("c1"), fleet.score("j1", "deadlines")) == (["j1"], [], None)
    fleet.put("c2")
    assert fleet.channel("j1") == "c2"


def test_attempts_are_bounded(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    told = []
    for run in range(3):
        fleet.claim("j1")
        fleet.mark_submitting("j1")
        fleet.mark_accepted("j1", f"run-{run}")
        told.append(fleet.settle("j1", "failed", attempts_max=3, error=f"no {run}"))

    assert told == [["ok", "created"], ["ok", "created"], ["ok", "failed"]]
    assert (fleet.record("j1")["attempts"], fleet.record("j1")["error"]) == ("3", "no 2")


def test_what_was_handed_back_was_no_attempt(fleet: Fleet) -> None:
    fleet.put("c1")
    for state in ("C", "S", "A"):
        fleet.claim("j1") if fleet.status("j1") else fleet.bring("j1", "C")
        if state in "SA":
            fleet.mark_submitting("j1")
        if state == "A":
            fleet.mark_accepted("j1")
        fleet.handback("j1")
        assert fleet.record("j1")["attempts"] == "0"
    fleet.claim("j1")
    fleet.mark_submitting("j1")
    fleet.mark_accepted("j1", "run-2")

    assert fleet.settle("j1", "failed", attempts_max=2) == ["ok", "created"]


def test_the_run_that_failed_cannot_be_taken_for_the_next_one(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.settle("j1", "failed", attempts_max=2)
    fleet.claim("j1")
    fleet.mark_submitting("j1")

    assert fleet.mark_accepted("j1", "remote-j1") == ["claimed", "refused"]
    assert fleet.mark_accepted("j1", "another") == ["ok", "A"]


@pytest.mark.parametrize("status", ["completed", "moderated"])
def test_only_a_failure_is_tried_again(fleet: Fleet, status: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")

    assert fleet.settle("j1", status, attempts_max=2) == ["ok", status]
    assert fleet.state("j1") == "F"


@pytest.mark.parametrize("state", ["C", "S", "U"])
def test_what_was_not_accepted_is_not_tried_again(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    assert fleet.settle("j1", "failed", attempts_max=2) == ["ok", "failed"]
    assert fleet.state("j1") == "F"


def test_what_still_runs_upstream_is_not_tried_again(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")

    assert fleet.settle("j1", "failed", running=True, attempts_max=2) == ["ok", "failed"]
    assert fleet.state("j1") == "D"


def test_a_job_cancelled_while_it_failed_is_not_tried_again(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")

    assert fleet.settle("j1", "failed", attempts_max=2) == ["ok", "cancelled"]
    assert fleet.state("j1") == "F"


def test_a_job_whose_time_is_up_is_not_tried_again_and_says_why_it_failed(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A", deadline_ms=FAR_MS)
    fleet.store.client.hset(fleet.key("job", "j1"), "pending_deadline_ms", PAST_MS)

    assert fleet.settle("j1", "failed", attempts_max=2, error="the bot says: no") == ["ok", "failed"]
    assert fleet.record("j1")["error"] == "the bot says: no"


def test_a_job_with_time_left_is_tried_again_within_it(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A", deadline_ms=FAR_MS)

    assert fleet.settle("j1", "failed", attempts_max=2) == ["ok", "created"]
    assert fleet.score("j1", "deadlines") == int(fleet.record("j1")["deadline_ms"])


def test_a_job_pinned_to_an_account_that_is_gone_is_not_tried_again_and_says_why_it_failed(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A", channel="c1")
    fleet.remove("c1")

    assert fleet.settle("j1", "failed", attempts_max=2, error="the bot says: no") == ["ok", "failed"]
    assert (fleet.record("j1")["error"], fleet.account("c1")) == ("the bot says: no", {})
