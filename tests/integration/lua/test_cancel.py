"""cancel: over for the caller at once; a slot whose job may run upstream stays held."""

from __future__ import annotations

import pytest

from dispatcher.replies import table
from tests.support.fleet import FAR_MS, Fleet


@pytest.mark.parametrize("state", ["R", "C"])
def test_a_job_not_yet_submitted_frees_its_slot_at_once(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    verdict, record = fleet.cancel("j1")

    assert (verdict, table(record)["status"]) == ("ok", "cancelled")
    assert (fleet.state("j1"), fleet.state("j2")) == ("F", "R")
    assert fleet.again_changes_nothing()[0] == "ok"


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_a_job_that_may_run_upstream_is_cancelled_and_keeps_its_slot(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    assert table(fleet.cancel("j1")[1])["status"] == "cancelled"
    assert (fleet.state("j1"), fleet.state("j2"), fleet.used("c1")) == ("D", "P", ["j1"])
    assert fleet.score("j1", "deadlines") == int(fleet.lease("j1")["deadline_ms"]) + fleet.times.hold_ms
    fleet.again_changes_nothing()


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_an_operator_may_choose_to_free_the_slot_at_once(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    fleet.cancel("j1", at_once=True)

    assert (fleet.state("j1"), fleet.state("j2")) == ("F", "R")
    fleet.again_changes_nothing()


@pytest.mark.parametrize("pin", ["", "c1"])
def test_a_waiting_job_leaves_its_line(fleet: Fleet, pin: str) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    fleet.submit("j2", pin=pin, deadline_ms=FAR_MS)

    assert fleet.cancel("j2")[0] == "ok"
    assert (fleet.pending(pin), fleet.state("j2"), fleet.listed("cancelled")) == ([], "F", ["j2"])
    fleet.again_changes_nothing()


@pytest.mark.parametrize("pin", ["", "c1"])
def test_who_stood_behind_32_that_fit_nowhere_is_seen_when_one_leaves(fleet: Fleet, pin: str) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1")
    for index in range(32):
        fleet.submit(f"narrow-{index}", pin=pin, limit=1)
    fleet.submit("wide", pin=pin)
    assert fleet.state("wide") == "P"

    fleet.cancel("narrow-5")

    assert fleet.channel("wide") == "c1"


@pytest.mark.parametrize("state", ["F", "D"])
def test_a_final_job_is_told_unchanged(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    status = fleet.status("j1")

    assert table(fleet.cancel("j1", at_once=True)[1])["status"] == status
    assert fleet.state("j1") == state
    fleet.again_changes_nothing()


def test_an_unknown_job_is_missing(fleet: Fleet) -> None:
    assert fleet.cancel("never") == ["missing"]


def test_another_users_job_is_missing(fleet: Fleet) -> None:
    fleet.submit("j1")

    assert fleet.cancel("j1", user=2) == ["missing"]
    assert fleet.cancel("j1", user=1)[0] == "ok"


def test_the_last_slot_of_a_deleted_account_takes_it_along(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.remove("c1")

    fleet.cancel("j1")

    assert fleet.account("c1") == {}


@pytest.mark.parametrize("closed", ["unanswered", "paced"])
def test_a_job_cancelled_while_it_waits_at_the_gate_frees_its_slot_and_may_not_submit(
    fleet: Fleet, closed: str
) -> None:
    fleet.put("c1", 2)
    fleet.bring("first", "S" if closed == "unanswered" else "A")
    token = fleet.bring("j1", "C")
    interval_ms = FAR_MS if closed == "paced" else 0
    assert fleet.mark_submitting("j1", min_interval_ms=interval_ms)[0] == "wait"
    fleet.submit("j2")

    fleet.cancel("j1")

    assert (fleet.state("j1"), fleet.state("j2")) == ("F", "R")
    assert fleet.mark_submitting("j1", token=token) == ["stale"]
    assert sorted(fleet.used("c1")) == ["first", "j2"]
