"""account_checked: what a check found, and what follows for the account."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


def disabled(fleet: Fleet, revive: str = "check") -> None:
    """The account was refused by its upstream, and a job waits."""
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.handback("j1", "401", disable=revive, requeues_max="")


def test_an_account_that_could_work_again_comes_back_and_is_granted_from_in_the_same_step(fleet: Fleet) -> None:
    disabled(fleet)
    _, check_id = fleet.check("c1")

    assert fleet.checked("c1", "ok", check=check_id) == ["ok", "active"]

    account = fleet.account("c1")
    assert (account["state"], account["reason"], account["revive"]) == ("active", "", "")
    assert (fleet.state("j1"), fleet.score(f"{fleet.pool}:c1", "checks")) == ("R", None)
    told = fleet.hash("check", fleet.pool, "c1")
    assert (told["verdict"], told["state"]) == ("ok", "active")
    assert fleet.again_changes_nothing() == ["ok", "active"]


def test_what_only_its_operator_can_mend_stays_disabled(fleet: Fleet) -> None:
    disabled(fleet, "operator")

    assert fleet.checked("c1", "ok") == ["ok", "disabled"]
    assert fleet.account("c1")["reason"] == "401"


@pytest.mark.parametrize("state", ["paused", "draining", "disabled"])
def test_what_its_operator_stopped_stays_as_it_is(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.stand("c1", state, "holiday")

    assert fleet.checked("c1", "ok") == ["ok", state]
    assert fleet.account("c1")["reason"] == "holiday"


@pytest.mark.parametrize(("revive", "is_checked"), [("check", True), ("operator", False)])
def test_an_active_account_that_is_refused_stops_with_the_reason(fleet: Fleet, revive: str, is_checked: bool) -> None:
    fleet.put("c1")

    assert fleet.checked("c1", "rejected", "403: no member", revive=revive) == ["ok", "disabled"]

    account = fleet.account("c1")
    assert (account["reason"], account["revive"], fleet.free()) == ("403: no member", revive, [])
    assert (fleet.score(f"{fleet.pool}:c1", "checks") is not None) == is_checked
    assert fleet.again_changes_nothing() == ["ok", "disabled"]


def test_a_disabled_account_refused_again_keeps_its_reason_and_its_next_check(fleet: Fleet) -> None:
    disabled(fleet)
    due_ms = fleet.score(f"{fleet.pool}:c1", "checks")

    assert fleet.checked("c1", "rejected", "another") == ["ok", "disabled"]
    assert (fleet.account("c1")["reason"], fleet.score(f"{fleet.pool}:c1", "checks")) == ("401", due_ms)


def test_a_captcha_is_told_over_what_a_check_could_judge(fleet: Fleet) -> None:
    disabled(fleet)

    fleet.checked("c1", "rejected", "captcha", revive="operator")

    assert (fleet.account("c1")["reason"], fleet.account("c1")["revive"]) == ("captcha", "operator")
    assert fleet.score(f"{fleet.pool}:c1", "checks") is None
    assert fleet.checked("c1", "ok") == ["ok", "disabled"]


@pytest.mark.parametrize("state", ["active", "paused", "disabled"])
def test_trouble_on_the_way_changes_nothing(fleet: Fleet, state: str) -> None:
    disabled(fleet)
    if state != "disabled":
        fleet.stand("c1", state)
    _, check_id = fleet.check("c1")

    assert fleet.checked("c1", "unclear", "no answer", check=check_id) == ["ok", state]
    told = fleet.hash("check", fleet.pool, "c1")
    assert (told["verdict"], told["reason"], told["state"]) == ("unclear", "no answer", state)


@pytest.mark.parametrize("verdict", ["ok", "rejected"])
def test_a_secret_that_was_replaced_meanwhile_is_not_judged(fleet: Fleet, verdict: str) -> None:
    disabled(fleet)
    _, check_id = fleet.check("c1")

    assert fleet.checked("c1", verdict, check=check_id, secret="an-older-version") == ["ok", "disabled"]
    assert fleet.hash("check", fleet.pool, "c1")["verdict"] == "unclear"
    fleet.stand("c1", "active")
    assert fleet.checked("c1", verdict, check=check_id, secret="an-older-version") == ["ok", "active"]


def test_the_answer_of_a_check_that_a_later_one_replaced_is_not_its_answer(fleet: Fleet) -> None:
    disabled(fleet)
    _, first = fleet.check("c1")
    _, second = fleet.check("c1", join_ms=0)

    fleet.checked("c1", "unclear", "late", check=first)
    assert "verdict" not in fleet.hash("check", fleet.pool, "c1")
    fleet.checked("c1", "ok", check=second)
    fleet.checked("c1", "rejected", "again", check=second)

    assert fleet.hash("check", fleet.pool, "c1")["verdict"] == "ok"


def test_a_check_that_is_not_known_any_more_still_serves_the_account(fleet: Fleet) -> None:
    disabled(fleet)

    assert fleet.checked("c1", "ok", check="check-c1-1") == ["ok", "active"]
    assert fleet.hash("check", fleet.pool, "c1") == {}


@pytest.mark.parametrize("when", ["never", "drains"])
def test_an_account_that_is_gone_is_missing(fleet: Fleet, when: str) -> None:
    if when == "drains":
        fleet.put("c1")
        fleet.bring("j1", "A")
        fleet.remove("c1")

    assert fleet.checked("c1", "ok") == ["missing"]
    assert fleet.account("c1").get("state", "deleted") == "deleted"


def test_an_account_that_returns_while_it_cools_cools_on(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.handback("j1", "401", disable=True, cool_ms=60_000, requeues_max="")

    assert fleet.checked("c1", "ok") == ["ok", "active"]
    assert (fleet.free(), fleet.state("j1")) == ([], "P")


def test_what_its_operator_disabled_after_us_stays_disabled(fleet: Fleet) -> None:
    disabled(fleet)
    fleet.stand("c1", "disabled", "by hand")

    assert fleet.checked("c1", "ok") == ["ok", "disabled"]
    assert fleet.account("c1")["reason"] == "by hand"
