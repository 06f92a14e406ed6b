"""account_remove: unseen at once; running jobs drain, pinned ones fail."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


def test_an_idle_account_is_forgotten(fleet: Fleet) -> None:
    fleet.put("c1")

    assert fleet.remove("c1") == ["ok", "0"]
    assert (fleet.account("c1"), fleet.free(), fleet.hash("channels"), fleet.hash("secrets")) == ({}, [], {}, {})
    assert fleet.again_changes_nothing() == ["missing"]


def test_an_unknown_account_is_missing(fleet: Fleet) -> None:
    assert fleet.remove("c9") == ["missing"]


@pytest.mark.parametrize("state", ["R", "C", "S", "U", "A", "D"])
def test_a_job_keeps_its_slot_while_its_account_is_deleted(fleet: Fleet, state: str) -> None:
    fleet.put("c1", 2)
    token = fleet.bring("j1", state)

    assert fleet.remove("c1") == ["ok", "0"]
    assert (fleet.state("j1"), fleet.token("j1"), fleet.used("c1"), fleet.free()) == (state, token, ["j1"], [])
    assert fleet.account("c1")["state"] == "deleted"
    assert fleet.again_changes_nothing() == ["missing"]


@pytest.mark.parametrize("state", ["S", "U", "A", "D"])
def test_a_deleted_account_is_forgotten_when_its_last_job_ends(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.remove("c1")

    fleet.settle("j1")

    assert (fleet.account("c1"), fleet.hash("channels")) == ({}, {})


def test_jobs_pinned_to_it_fail_and_others_wait(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("runs")
    fleet.submit("pinned", pin="c1", deadline_ms=60_000)
    fleet.submit("any")

    fleet.remove("c1")

    assert (fleet.status("pinned"), fleet.record("pinned")["error"]) == ("failed", "Its account c1 was deleted")
    assert (fleet.pending("c1"), fleet.pending()) == ([], ["any"])


def test_more_says_that_pinned_jobs_are_left(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    for index in range(258):
        fleet.submit(f"j{index}", pin="c1")

    assert (fleet.remove("c1"), fleet.remove("c1"), fleet.remove("c1")) == (["ok", "1"], ["ok", "0"], ["missing"])
    assert len(fleet.listed("failed")) == 258


@pytest.mark.parametrize("held", [False, True])
def test_the_reaper_ends_the_pinned_jobs_that_whoever_removed_it_left(fleet: Fleet, *, held: bool) -> None:
    fleet.put("c1")
    if held:
        fleet.bring("runs", "A")
    fleet.stand("c1", "paused")
    for index in range(390):
        fleet.submit(f"j{index}", pin="c1")
    fleet.remove("c1")
    if held:
        fleet.settle("runs", known="A")

    assert fleet.reap() == [0, 128, 0, 1]
    assert fleet.reap() == [0, 6, 0, 0]
    assert not fleet.store.client.exists(fleet.key("orphaned"))
    assert fleet.reap() == [0, 0, 0, 0]
    assert len(fleet.listed("failed")) == 390


def test_registered_again_it_keeps_the_pinned_jobs_that_were_left(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    for index in range(258):
        fleet.submit(f"j{index}", pin="c1")
    fleet.remove("c1")

    fleet.put("c1")

    assert fleet.reap() == [0, 0, 0, 0]
    assert (fleet.used("c1"), fleet.pending("c1")) == (["j256"], ["j257"])


def test_its_secret_may_be_used_elsewhere_while_it_drains(fleet: Fleet) -> None:
    fleet.put("c1", secret="same")
    fleet.bring("j1", "A")
    fleet.remove("c1")

    assert fleet.put("c2", secret="same")[0] == "created"


def test_its_channel_is_nobody_elses_while_it_drains(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.remove("c1")
    other = Fleet(fleet.store, user=2)

    assert other.put("c1", secret="other") == ["foreign"]
    fleet.settle("j1")
    assert other.put("c1", secret="other")[0] == "created"
