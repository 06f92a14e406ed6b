"""account_check: have workers check an account, or the disabled ones whose time has come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dispatcher.handoff import CHECK_ACCOUNT
from tests.support.fleet import PAST_MS, Fleet

FIRST_MS = 300_000
LAST_MS = 21_600_000


def disabled(fleet: Fleet, channel: str = "c1", revive: str = "check") -> None:
    """The account was refused by its upstream."""
    fleet.put(channel)
    fleet.bring(f"of-{channel}", "S", channel=channel)
    fleet.handback(f"of-{channel}", "401", disable=revive, requeues_max="")


def next_check_ms(fleet: Fleet, channel: str = "c1") -> int:
    """How long until the account's next check."""
    due_ms = fleet.score(f"{fleet.pool}:{channel}", "checks")
    assert due_ms is not None
    return due_ms - fleet.now_ms()


def let_it_be_due(fleet: Fleet, channel: str = "c1") -> None:
    """The next check's instant passes, and the last check is long over."""
    fleet.store.client.zadd(fleet.key("checks"), {f"{fleet.pool}:{channel}": PAST_MS}, xx=True)
    fleet.store.client.delete(fleet.key("check", fleet.pool, channel))


def rq_hash(fleet: Fleet, check_id: str) -> dict[str, Any]:
    return fleet.hash("rq", "job", check_id)


def test_a_check_is_handed_to_rq_and_its_trace_dies_by_itself(fleet: Fleet) -> None:
    fleet.put("c1")

    verdict, check_id = fleet.check("c1")

    assert verdict == "ok"
    assert fleet.queue() == [check_id]
    assert json.loads(rq_hash(fleet, check_id)["data"]) == [CHECK_ACCOUNT, None, [check_id], {}]
    known = fleet.key("check", fleet.pool, "c1")
    lives = [fleet.store.client.ttl(fleet.key("rq", "job", check_id)), fleet.store.client.ttl(known)]
    assert (0 < lives[0] <= 86_400, 0 < lives[1] <= 600) == (True, True)
    assert fleet.hash("check", fleet.pool, "c1")["id"] == check_id
    assert fleet.again_changes_nothing() == ["ok", check_id]


def test_a_check_is_worth_more_than_the_jobs_that_wait_for_a_worker(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "R")

    _, check_id = fleet.check("c1")

    assert fleet.queue()[0] == check_id


def test_a_check_without_an_answer_is_joined_until_it_is_old(fleet: Fleet) -> None:
    fleet.put("c1")
    first = fleet.check("c1")

    assert fleet.check("c1") == first
    assert fleet.check("c1", join_ms=0) != first


def test_an_answered_check_is_not_joined(fleet: Fleet) -> None:
    fleet.put("c1")
    _, first = fleet.check("c1")
    fleet.checked("c1", "ok", check=first)

    _, second = fleet.check("c1")

    assert second != first
    assert "verdict" not in fleet.hash("check", fleet.pool, "c1")


@pytest.mark.parametrize("state", ["paused", "draining", "disabled"])
def test_an_account_in_any_standing_may_be_checked(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.stand("c1", state)

    assert fleet.check("c1")[0] == "ok"


def test_an_unknown_account_is_missing(fleet: Fleet) -> None:
    assert fleet.check("c9") == ["missing"]
    assert fleet.queue() == []


def test_a_deleted_account_that_drains_is_missing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.remove("c1")

    assert fleet.check("c1") == ["missing"]


def test_a_disabled_account_is_checked_after_five_minutes_and_ever_more_rarely(fleet: Fleet) -> None:
    disabled(fleet)
    assert FIRST_MS - 2000 < next_check_ms(fleet) <= FIRST_MS
    assert fleet.check() == ["ok"]

    pauses = []
    for _ in range(9):
        let_it_be_due(fleet)
        assert len(fleet.check()) == 2
        pauses.append(next_check_ms(fleet))

    expected = [min(LAST_MS, FIRST_MS * 2**n) for n in range(1, 10)]
    assert all(least - 2000 < pause <= least for pause, least in zip(pauses, expected, strict=True))


def test_services_beside_each_other_ask_once(fleet: Fleet) -> None:
    disabled(fleet)
    let_it_be_due(fleet)

    verdict, check_id = fleet.check()

    checks = [delivery for delivery in fleet.queue() if delivery.startswith("check-")]
    assert (verdict, checks) == ("ok", [check_id])
    assert fleet.again_changes_nothing() == ["ok"]


def test_what_only_its_operator_can_mend_is_not_checked(fleet: Fleet) -> None:
    disabled(fleet, revive="operator")

    assert fleet.score(f"{fleet.pool}:c1", "checks") is None
    assert fleet.account("c1")["revive"] == "operator"


@pytest.mark.parametrize("change", ["paused", "active", "disabled", "removed"])
def test_an_operators_word_ends_the_checks(fleet: Fleet, change: str) -> None:
    disabled(fleet)

    if change == "removed":
        fleet.remove("c1")
    else:
        fleet.stand("c1", change)

    assert fleet.score(f"{fleet.pool}:c1", "checks") is None


def test_one_that_is_due_by_mistake_is_forgotten(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.store.client.zadd(fleet.key("checks"), {f"{fleet.pool}:c1": PAST_MS, "1:discord:c9": PAST_MS})

    assert fleet.check() == ["ok"]
    assert fleet.store.client.exists(fleet.key("checks")) == 0
    assert fleet.account("c9") == {}


def test_so_many_are_asked_for_in_one_call(fleet: Fleet) -> None:
    for index in range(3):
        disabled(fleet, f"c{index}")
        let_it_be_due(fleet, f"c{index}")

    assert [len(fleet.check(batch=2)) - 1 for _ in range(3)] == [2, 1, 0]


def test_a_success_makes_the_checks_frequent_again_and_a_check_alone_does_not(fleet: Fleet) -> None:
    disabled(fleet)
    let_it_be_due(fleet)
    _, check_id = fleet.check()
    fleet.checked("c1", "ok", check=check_id)
    assert fleet.account("c1")["probes"] == "1"
    disabled_ms = int(fleet.account("c1")["disabled_ms"])
    while fleet.now_ms() <= disabled_ms:
        pass

    fleet.cancel("of-c1")
    fleet.bring("good", "A")
    fleet.settle("good")

    assert "probes" not in fleet.account("c1")
    fleet.bring("bad", "S")
    fleet.handback("bad", "401", disable=True, requeues_max="")
    assert FIRST_MS - 2000 < next_check_ms(fleet) <= FIRST_MS
