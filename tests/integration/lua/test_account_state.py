"""account_state: active, paused, or disabled with the reason."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize("state", ["paused", "draining", "disabled"])
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


def test_a_draining_account_is_paused_when_its_last_slot_has_come_back(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    fleet.bring("j1", "A")
    fleet.bring("j2", "D")
    fleet.stand("c1", "draining", "moves")

    fleet.settle("j1")
    assert fleet.account("c1")["state"] == "draining"
    fleet.settle("j2")

    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"]) == ("paused", "moves")


def test_an_idle_account_has_drained_at_once(fleet: Fleet) -> None:
    fleet.put("c1")

    fleet.stand("c1", "draining", "moves")

    assert fleet.account("c1")["state"] == "paused"
    assert fleet.again_changes_nothing() == ["ok", "paused"]


def test_an_account_resumed_at_its_daily_cap_is_counted_again_by_the_gate(fleet: Fleet) -> None:
    fleet.put("c1", daily_cap=1)
    fleet.bring("j1", "A")
    fleet.settle("j1")
    fleet.bring("j2", "C")
    fleet.mark_submitting("j2")
    fleet.put("c1", daily_cap=5)
    assert fleet.state("j2") == "P"

    fleet.stand("c1", "active")

    assert fleet.state("j2") == "R"
    fleet.claim("j2")
    assert fleet.mark_submitting("j2")[0] == "ok"


# --- an account's life while its jobs are in every state --------------------------------------------------------

STATES = ("R", "C", "S", "U", "A", "D")
CHANGES = ("paused", "draining", "disabled", "removed", "token")


def change(fleet: Fleet, what: str) -> None:
    match what:
        case "removed":
            fleet.remove("c1")
        case "token":
            fleet.put("c1", 2, secret="another")
        case _:
            fleet.stand("c1", what, "why")


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("state", STATES)
def test_no_change_of_an_account_touches_a_job_that_holds_a_slot(fleet: Fleet, state: str, what: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", state)
    lease, record = fleet.lease("j1"), fleet.record("j1")

    change(fleet, what)

    assert (fleet.lease("j1"), fleet.record("j1"), fleet.used("c1")) == (lease, record, ["j1"])
    assert fleet.renew("j1") == ["ok"]


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("pin", ["", "c1"])
def test_a_job_that_waits_goes_on_waiting_and_one_pinned_to_a_deleted_account_fails(
    fleet: Fleet, pin: str, what: str
) -> None:
    fleet.put("c1", 1)
    fleet.bring("j0", "A")
    fleet.bring("j1", "P", channel=pin)

    change(fleet, what)

    is_failed = what == "removed" and pin == "c1"
    assert fleet.state("j1") == ("F" if is_failed else "R" if what == "token" else "P")


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_over_stays_over(fleet: Fleet, what: str) -> None:
    fleet.put("c1", 1)
    fleet.bring("j1", "F")
    before = fleet.record("j1")

    change(fleet, what)

    assert fleet.record("j1") == before


GATE = {
    "paused": ["pending", "account paused"],
    "disabled": ["pending", "account disabled"],
    "removed": ["pending", "account deleted"],
}


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("state", STATES)
def test_the_gate_meets_the_change_in_a_claimed_job_and_in_no_other(fleet: Fleet, state: str, what: str) -> None:
    fleet.put("c1", 2)
    token = fleet.bring("j1", state)
    change(fleet, what)

    reply = fleet.mark_submitting("j1", token=token)

    if state == "C":
        assert reply == GATE.get(what, reply)
        assert (fleet.state("j1"), fleet.record("j1")["requeues"]) == ("P" if what in GATE else "S", "0")
        assert what in GATE or reply[0] == "ok"
    else:
        assert reply[0] == {"S": "ok", "R": "rolled_back"}.get(state, "stale")
        assert fleet.state("j1") == state


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("state", ["S", "U", "A", "D"])
def test_what_is_submitted_ends_as_ever_and_its_slot_comes_back_once(fleet: Fleet, state: str, what: str) -> None:
    fleet.put("c1", 1)
    fleet.bring("j1", state)
    fleet.submit("j2")
    change(fleet, what)
    if state in "SU":
        assert fleet.mark_accepted("j1") == ["ok", "A"]

    assert fleet.settle("j1") == ["ok", "cancelled" if state == "D" else "completed"]

    assert fleet.state("j1") == "F"
    assert (fleet.used("c1"), fleet.state("j2")) == ((["j2"], "R") if what == "token" else ([], "P"))
    assert fleet.account("c1").get("state") == {"draining": "paused", "removed": None, "token": "active"}.get(
        what, what
    )


def test_a_token_changed_after_the_grant_is_the_one_that_is_submitted_with(fleet: Fleet) -> None:
    fleet.put("c1", 2, secret="old")
    fleet.bring("j1", "C")
    fleet.bring("j2", "S")
    fleet.put("c1", 2, secret="new")
    fleet.mark_accepted("j2")

    fleet.mark_submitting("j1")

    assert [fleet.lease(job)["secret_version"] for job in ("j1", "j2")] == ["v-new", "v-old"]
