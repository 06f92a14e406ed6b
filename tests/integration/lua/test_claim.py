"""claim: the first execution of the current token binds the lease; any other is told to go."""

from __future__ import annotations

import pytest

from dispatcher.replies import table
from tests.support.fleet import PAST_MS, Fleet


@pytest.mark.parametrize(
    ("found", "verdict", "becomes"),
    [("R", "start", "C"), ("U", "lookup", "U"), ("A", "adopt", "A"), ("D", "watch", "D")],
)
def test_an_unbound_lease_is_bound_and_the_next_step_told(fleet: Fleet, found: str, verdict: str, becomes: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", found)
    if found != "R":
        fleet.yield_("j1")

    told, lease, record, account, now_ms = fleet.claim("j1", execution="e2", owner="w2")

    assert (told, table(lease)["state"], fleet.state("j1")) == (verdict, becomes, becomes)
    assert (table(lease)["execution"], table(lease)["owner"]) == ("e2", "w2")
    assert (table(record)["id"], table(account)["channel"]) == ("j1", "c1")
    assert int(now_ms) >= int(table(record)["created_ms"])


def test_a_delivery_found_while_submitting_is_looked_up_never_started_again(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.strike_twice("j1")

    assert fleet.claim("j1", execution="e2")[0] == "lookup"
    assert fleet.state("j1") == "U"


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_the_same_execution_is_told_the_same_again(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    told, lease, *_ = fleet.claim("j1", execution="e1")

    assert (told, table(lease)["state"]) == ("same", state)
    fleet.again_changes_nothing()


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_another_execution_of_the_token_is_stale(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    assert fleet.claim("j1", execution="e2") == ["stale"]
    assert fleet.lease("j1")["execution"] == "e1"
    fleet.again_changes_nothing()


@pytest.mark.parametrize("state", ["C", "U", "A", "D"])
def test_an_old_token_is_stale(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", state)
    fleet.yield_("j1")

    assert fleet.claim("j1", token=old) == ["stale"]
    fleet.again_changes_nothing()


def test_a_delivery_of_a_job_that_waits_again_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "C")
    fleet.stand("c1", "paused")
    fleet.mark_submitting("j1")

    assert fleet.claim("j1", token=token) == ["stale"]


def test_a_delivery_of_a_final_job_is_done(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "F")

    assert fleet.claim("j1", token=token) == ["done"]


def test_a_delivery_of_an_unknown_job_is_done(fleet: Fleet) -> None:
    assert fleet.claim("never", token="1") == ["done"]


def test_a_claim_extends_the_lease_and_clears_its_strike(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    fleet.expire("j1")
    fleet.reap()
    assert "suspect" in fleet.lease("j1")

    fleet.claim("j1")

    expires_ms = fleet.score("j1", "expiry")
    assert expires_ms is not None
    assert expires_ms > fleet.now_ms() + fleet.times.ttl_ms - 10_000
    assert "suspect" not in fleet.lease("j1")


def test_a_stale_claim_extends_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.expire("j1")

    fleet.claim("j1", execution="e2")

    assert fleet.score("j1", "expiry") == PAST_MS


@pytest.mark.parametrize(
    ("state", "version"), [("R", "v-new"), ("S", "v-old"), ("U", "v-old"), ("A", "v-old"), ("D", "v-old")]
)
def test_what_was_sent_keeps_the_secret_it_was_sent_with_and_what_is_prepared_has_the_one_in_force(
    fleet: Fleet, state: str, version: str
) -> None:
    fleet.put("c1", secret="old")
    fleet.bring("j1", state)
    fleet.put("c1", secret="new")
    if state != "R":
        fleet.strike_twice("j1")

    fleet.claim("j1", execution="e2")

    assert fleet.lease("j1")["secret_version"] == version


def test_a_claim_tells_when_its_owner_took_the_job_up_and_a_repeat_does_not(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    before_ms = fleet.now_ms()

    fleet.claim("j1")

    assert before_ms <= int(fleet.lease("j1")["claimed_ms"]) <= fleet.now_ms()
    fleet.store.client.hset(fleet.key("lease", "j1"), "claimed_ms", PAST_MS)
    fleet.claim("j1")
    assert fleet.lease("j1")["claimed_ms"] == str(PAST_MS)
