"""account_state: active, paused, or disabled with the reason."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_a_stopped_account_leaves_free_and_keeps_its_jobs(fleet: Fleet, state: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")

    assert fleet.stand("c1", state, "why") == ["ok", "active"]
    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"]) == (state, "why")
    assert (fleet.free(), fleet.used("c1"), fleet.state("j1")) == ([], ["j1"], "A")
    assert fleet.again_changes_nothing() == ["ok", state]


def test_an_account_that_returns_is_granted_from_in_the_same_step(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.stand("c1", "paused")
    fleet.submit("j1")
    fleet.submit("j2", pin="c1")

    assert fleet.stand("c1", "active") == ["ok", "paused"]
    assert sorted(fleet.used("c1")) == ["j1", "j2"]


def test_an_account_that_returns_while_it_cools_cools_on(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000, disable=True)

    fleet.stand("c1", "active")

    assert (fleet.free(), fleet.state("j1")) == ([], "P")


def test_an_unknown_account_is_missing(fleet: Fleet) -> None:
    assert fleet.stand("c9", "paused") == ["missing"]


def test_a_deleted_account_that_drains_is_missing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.remove("c1")

    assert fleet.stand("c1", "active") == ["missing"]
    assert fleet.account("c1")["state"] == "deleted"
