"""yield: a worker that stops hands its deliveries to whoever takes them next."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize(("state", "becomes"), [("C", "R"), ("U", "U"), ("A", "A"), ("D", "D")])
def test_a_delivery_is_minted_anew_and_goes_first(fleet: Fleet, state: str, becomes: str) -> None:
    fleet.put("c1", 2)
    old = fleet.bring("j1", state)
    fleet.submit("j2")

    assert fleet.yield_("j1") == ["ok"]
    lease = fleet.lease("j1")
    assert (lease["state"], lease["execution"], lease["owner"]) == (becomes, "", "")
    assert int(lease["token"]) > int(old)
    assert fleet.queue()[0] == f"j1-{lease['token']}"
    assert fleet.used("c1") == ["j1", "j2"]
    assert fleet.again_changes_nothing() == ["stale"]


def test_what_is_known_of_the_upstream_goes_along(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    before = fleet.lease("j1")

    fleet.yield_("j1")

    kept = ("remote", "submitted_ms", "deadline_ms", "channel", "secret_version")
    assert {name: fleet.lease("j1")[name] for name in kept} == {name: before[name] for name in kept}


def test_one_whose_request_is_under_way_comes_later(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "S")

    assert fleet.yield_("j1") == ["later"]
    assert (fleet.state("j1"), fleet.token("j1")) == ("S", token)
    fleet.again_changes_nothing()


@pytest.mark.parametrize("state", ["F", "P"])
def test_what_is_not_held_is_stale(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    if state == "P":
        fleet.stand("c1", "paused")
    token = fleet.bring("j1", state)

    assert fleet.run("yield", 15_000, "j1", token, "C", "", "e1") == ["stale"]
    assert fleet.token("j1") == "0"


def test_a_yield_is_no_redelivery_of_a_dead_owner(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    for index in range(7):
        fleet.yield_("j1")
        fleet.claim("j1", execution=f"e{index}")

    assert (fleet.record("j1")["redeliveries"], fleet.record("j1")["deliveries"]) == ("0", "8")
    assert fleet.state("j1") == "A"


def test_verdicts_come_in_the_order_of_the_questions(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    fleet.bring("j1", "A")
    fleet.bring("j3", "A")
    fleet.bring("j2", "S")
    known = fleet.known("j1", "j2", "j3")
    fleet.settle("j3")

    assert fleet.run("yield", 15_000, *known) == ["ok", "later", "stale"]
