"""renew: extend leases only while they are ours."""

from __future__ import annotations

import pytest

from tests.support.fleet import PAST_MS, Fleet


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_a_held_lease_is_extended_and_its_strike_cleared(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.expire("j1")
    fleet.reap()
    fleet.expire("j1")

    assert fleet.renew("j1") == ["ok"]
    expires_ms = fleet.score("j1", "expiry")
    assert expires_ms is not None
    assert expires_ms > fleet.now_ms()
    assert (fleet.state("j1"), "suspect" in fleet.lease("j1")) == (state, False)
    assert fleet.again_changes_nothing() == ["ok"]


def test_a_lease_that_is_gone_is_lost_and_not_created_again(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "F")

    assert fleet.run("renew", 15_000, "j1", token, "A", "remote-j1", "e1") == ["lost"]
    assert (fleet.lease("j1"), fleet.score("j1", "expiry")) == ({}, None)


def test_a_lease_whose_expiry_was_evicted_gets_no_new_one(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")
    fleet.store.client.zrem(fleet.key("expiry"), "j1")

    assert fleet.renew("j1") == ["ok"]
    assert fleet.score("j1", "expiry") is None


def test_an_old_token_is_lost_and_extends_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "A")
    fleet.yield_("j1")
    fleet.expire("j1")

    assert fleet.run("renew", 15_000, "j1", old, "A", "remote-j1", "e1") == ["lost"]
    assert fleet.score("j1", "expiry") == PAST_MS


def test_verdicts_come_in_the_order_of_the_questions(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2", "j3"):
        fleet.bring(job, "A")
    known = fleet.known("j1", "j2", "j3")
    fleet.settle("j2")

    assert fleet.run("renew", 15_000, *known) == ["ok", "lost", "ok"]


def test_no_question_no_verdict(fleet: Fleet) -> None:
    assert fleet.run("renew", 15_000) == []
