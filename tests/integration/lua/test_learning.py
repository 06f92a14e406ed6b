"""Learning: which changes of the server open the window, and what each script does while it is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.fleet import Fleet
from tests.support.rollback import ANOTHER_SERVER, end_learning
from tests.support.snapshot import snapshot


def change_server(fleet: Fleet) -> None:
    """Whoever comes next finds that another server wrote last."""
    fleet.store.client.set(fleet.key("epoch"), ANOTHER_SERVER)


def open_window(fleet: Fleet) -> None:
    """The server changes, and the next script sees it."""
    change_server(fleet)
    fleet.renew()
    assert fleet.learning()


def left_ms(fleet: Fleet) -> int:
    return int(fleet.store.client.pttl(fleet.key("learning")))


# --- which changes -----------------------------------------------------------------------------------------


def test_a_store_that_never_leased_learns_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")

    assert fleet.learning() == ""
    assert fleet.state("j1") == "R"
    assert len(str(fleet.store.client.get(fleet.key("epoch")))) == 40


def test_a_store_without_leases_may_have_lost_its_first_ones(fleet: Fleet) -> None:
    fleet.put("c1")
    change_server(fleet)

    fleet.submit("j1")

    assert (fleet.learning(), fleet.state("j1")) == ("the server changed", "P")


@pytest.mark.parametrize("script", ["put", "submit", "dispatch", "claim", "gate", "settle", "renew", "yield", "reap"])
def test_whoever_speaks_first_to_another_server_opens_the_window(fleet: Fleet, script: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    change_server(fleet)

    first: dict[str, Callable[[], object]] = {
        "put": lambda: fleet.put("c2"),
        "submit": lambda: fleet.submit("j2"),
        "dispatch": fleet.dispatch,
        "claim": lambda: fleet.claim("j1"),
        "gate": lambda: fleet.mark_submitting("j1"),
        "settle": lambda: fleet.settle("j1"),
        "renew": lambda: fleet.renew("j1"),
        "yield": lambda: fleet.yield_("j1"),
        "reap": fleet.reap,
    }
    first[script]()

    assert fleet.learning() == "the server changed"
    assert 20_000 < left_ms(fleet) <= 25_000


def test_a_store_with_leases_that_does_not_know_its_server_learns(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.delete(fleet.key("epoch"))

    fleet.renew("j1")

    assert fleet.learning() == "the server changed"


def test_one_change_opens_one_window(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    open_window(fleet)
    end_learning(fleet.store)

    fleet.renew("j1")

    assert fleet.learning() == ""


def test_another_change_begins_it_anew(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    open_window(fleet)
    fleet.store.client.pexpire(fleet.key("learning"), 10_000)
    change_server(fleet)

    fleet.renew("j1")

    assert left_ms(fleet) > 20_000


def test_the_window_is_as_long_as_the_store_was_told(fleet: Fleet) -> None:
    fleet.store.client.set(fleet.key("learning_ms"), 600_000)
    fleet.put("c1")
    fleet.bring("j1", "A")

    open_window(fleet)

    assert left_ms(fleet) > 500_000


def test_without_learning_there_is_no_window(fleet: Fleet) -> None:
    fleet.store.client.set(fleet.key("learning_ms"), 0)
    fleet.put("c1")
    fleet.bring("j1", "R")
    change_server(fleet)

    assert fleet.claim("j1")[0] == "start"
    assert fleet.learning() == ""


# --- a stop in order -----------------------------------------------------------------------------------------


def test_a_store_left_clean_opens_no_window_once(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "F")
    taken = fleet.run("leave_clean", 10)
    assert fleet.again_changes_nothing() == taken == 1
    change_server(fleet)

    fleet.renew()
    assert fleet.learning() == ""
    assert not fleet.store.client.exists(fleet.key("clean"))

    change_server(fleet)
    fleet.renew()
    assert fleet.learning() == "the server changed"


@pytest.mark.parametrize("state", ["R", "C", "S", "U", "A", "D"])
def test_a_store_with_a_lease_is_not_clean(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)

    assert fleet.run("leave_clean", 10) == 0
    assert not fleet.store.client.exists(fleet.key("clean"))


def test_a_draining_slot_without_an_owner_is_a_lease(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")
    fleet.strike_twice("j1", redeliveries_max=0)
    assert fleet.score("j1", "expiry") is None

    assert fleet.run("leave_clean", 10) == 0


def test_more_channels_than_can_be_looked_at_are_not_clean(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")

    assert fleet.run("leave_clean", 1) == 0
    assert fleet.run("leave_clean", 2) == 1


def test_a_store_that_learns_is_not_clean(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "F")
    open_window(fleet)

    assert fleet.run("leave_clean", 10) == 0


def test_a_grant_after_the_stop_began_takes_clean_away(fleet: Fleet) -> None:
    fleet.put("c1")
    assert fleet.run("leave_clean", 10) == 1

    fleet.submit("j1")

    assert not fleet.store.client.exists(fleet.key("clean"))


# --- while it is open ----------------------------------------------------------------------------------------


def test_nothing_is_granted_and_all_is_when_it_ends(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    fleet.put("c2", 1)
    fleet.bring("j1", "A", channel="c1")
    open_window(fleet)

    fleet.submit("any")
    fleet.submit("pinned", pin="c2")
    _, more, next_ms = fleet.dispatch()
    fleet.put("c1", 4)
    fleet.stand("c1", "active")
    fleet.settle("j1")

    assert (fleet.state("any"), fleet.state("pinned"), more) == ("P", "P", 0)
    assert abs(int(next_ms) - fleet.now_ms() - left_ms(fleet)) < 1000
    end_learning(fleet.store)
    fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c2": 1})
    fleet.dispatch()
    assert (fleet.state("any"), fleet.channel("pinned")) == ("R", "c2")


def test_whoever_dispatches_is_told_when_to_come_back(fleet: Fleet) -> None:
    fleet.put("c1")
    open_window(fleet)

    grants, more, next_ms = fleet.dispatch()

    assert (grants, more) == (0, 0)
    assert abs(int(next_ms) - fleet.now_ms() - left_ms(fleet)) < 1000


def test_a_channel_kept_for_a_pinned_job_is_due_at_the_windows_end(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    open_window(fleet)

    fleet.submit("pinned", pin="c1")
    fleet.settle("j1")

    due_ms = fleet.score(f"{fleet.pool}:c1", "due")
    assert due_ms is not None
    assert abs(due_ms - fleet.now_ms() - left_ms(fleet)) < 1000
    end_learning(fleet.store)
    fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c1": 1})
    fleet.dispatch(pool="")
    assert fleet.state("pinned") == "R"


def test_an_account_that_has_cooled_is_admitted_after_it(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)
    open_window(fleet)
    fleet.end_cooling("c1")

    assert fleet.dispatch()[0] == 0
    end_learning(fleet.store)

    assert fleet.dispatch()[0] == 1


@pytest.mark.parametrize(
    "asked",
    [
        {"mode": "refuse", "deadline_ms": 1000},
        {"mode": "refuse", "pin": "c1"},
        {"mode": "refuse", "key": "k"},
        {"mode": "wait", "key": "k"},
    ],
)
def test_who_cannot_wait_or_may_be_known_is_told_to_come_back_and_nothing_is_stored(
    fleet: Fleet, asked: dict[str, Any]
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "F")
    open_window(fleet)
    before = snapshot(fleet.store).settled()

    verdict, wait_ms = fleet.submit("j2", **asked)

    assert (verdict, 0 < int(wait_ms) <= 25_000) == ("learning", True)
    assert snapshot(fleet.store).settled() == before


def test_a_delivery_waits_to_be_claimed(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "R")
    open_window(fleet)

    verdict, wait_ms = fleet.claim("j1")

    assert (verdict, 0 < int(wait_ms) <= 25_000) == ("wait", True)
    assert fleet.state("j1") == "R"
    fleet.again_changes_nothing()
    end_learning(fleet.store)
    assert fleet.claim("j1")[0] == "start"


def test_a_claim_made_before_is_told_the_same_and_an_old_one_that_it_is_stale(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "C")
    open_window(fleet)

    assert fleet.claim("j1", execution="e1")[0] == "same"
    assert fleet.claim("j1", execution="e2") == ["stale"]
    assert fleet.claim("j1", token=str(int(token) - 1)) == ["stale"]


@pytest.mark.parametrize("state", ["C", "S"])
def test_nobody_may_submit_not_even_he_who_was_permitted_before(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    open_window(fleet)

    verdict, wait_ms = fleet.mark_submitting("j1")

    assert (verdict, 0 < int(wait_ms) <= 25_000) == ("wait", True)
    assert fleet.state("j1") == state


@pytest.mark.parametrize("state", ["C", "U", "A", "D"])
def test_nothing_is_yielded(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", state)
    open_window(fleet)

    assert fleet.yield_("j1") == ["learning"]
    assert (fleet.state("j1"), fleet.token("j1")) == (state, token)
    fleet.again_changes_nothing()


def test_nobody_is_taken_for_dead_and_no_time_is_up(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    open_window(fleet)
    fleet.pass_deadline("j1")

    assert fleet.strike_twice("j1") == [0, 0, 0, 0]
    assert (fleet.state("j1"), fleet.token("j1"), "suspect" in fleet.lease("j1")) == ("A", token, False)


def test_an_id_new_to_the_store_waits_and_a_known_one_shows_progress(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("known", "A")
    fleet.bring("new", "S")
    open_window(fleet)

    assert fleet.mark_accepted("new")[0] == "wait"
    assert fleet.mark_accepted("known", status="progress", message="{}") == ["ok", "A"]

    assert (fleet.state("new"), fleet.status("known")) == ("S", "progress")
    end_learning(fleet.store)
    assert fleet.mark_accepted("new") == ["ok", "A"]


def test_renewals_lost_answers_ends_and_returns_go_on(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("ends", "returns"):
        fleet.bring(job, "A")
    fleet.bring("unknown", "S")
    open_window(fleet)

    assert fleet.renew("ends", "returns", "unknown") == ["ok", "ok", "ok"]
    assert fleet.mark_unknown("unknown") == ["ok", "U"]
    assert fleet.settle("ends") == ["ok", "completed"]
    assert fleet.handback("returns") == ["pending"]
    assert fleet.used("c1") == ["unknown"]


@pytest.mark.parametrize(("state", "becomes"), [("P", "F"), ("R", "F"), ("C", "F"), ("A", "D")])
def test_a_cancel_works(fleet: Fleet, state: str, becomes: str) -> None:
    fleet.put("c1")
    if state == "P":
        fleet.stand("c1", "paused")
    fleet.bring("j1", state)
    open_window(fleet)

    fleet.cancel("j1")

    assert fleet.state("j1") == becomes
