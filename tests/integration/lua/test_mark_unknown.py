"""mark U: the answer to the submission was lost."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


def test_a_submission_whose_answer_was_lost_is_unknown_and_blocks_its_channel(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")

    assert fleet.mark_unknown("j1") == ["ok", "U"]
    assert (fleet.state("j1"), fleet.submitting("c1"), fleet.status("j1")) == ("U", ["j1"], "created")
    assert fleet.again_changes_nothing() == ["ok", "U"]
    assert fleet.history("j1")[-1] == "unknown"


@pytest.mark.parametrize("state", ["U", "A", "D"])
def test_what_is_known_better_stays(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    assert fleet.mark_unknown("j1") == ["ok", state]
    assert fleet.state("j1") == state
    fleet.again_changes_nothing()


def test_what_is_over_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "F")

    assert fleet.mark_unknown("j1", token=token) == ["stale"]
    assert fleet.state("j1") == "F"


def test_an_old_token_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "S")
    fleet.strike_twice("j1")

    assert fleet.mark_unknown("j1", token=old) == ["stale"]


def test_an_account_that_loses_three_answers_in_a_row_is_granted_nothing_more(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2"):
        fleet.bring(job, "U")
        fleet.settle(job, "failed")
    assert fleet.free() == ["c1"]

    fleet.bring("j3", "S")
    assert fleet.mark_unknown("j3") == ["ok", "U"]

    assert (fleet.free(), fleet.account("c1")["cooling_cause"]) == ([], "suspected")
    assert fleet.again_changes_nothing() == ["ok", "U"]
