"""reassert: an owner tells a store that lost writes what it holds; and how owners are told that it did, rolled back."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.leases import Holding
from tests.support.callbacks import URL, take
from tests.support.fleet import Fleet
from tests.support.rollback import Kept, end_learning, holding, keep, known, put_back, reassert
from tests.support.snapshot import snapshot

STEPS = {
    "R": ("claim", "C"),
    "C": ("mark_submitting", "S"),
    "S": ("mark_unknown", "U"),
    "U": ("mark_accepted", "A"),
    "A": ("cancel", "D"),
}
"""What brings a job from each state to the next one."""
RANKS = "RCSUAD"
BEHIND = [(found, held) for held in "CSUAD" for found in RANKS[: RANKS.index(held)]]


def bring_on(fleet: Fleet, job: str, state: str) -> None:
    """Bring a leased job to a later state."""
    while (at := fleet.state(job)) != state:
        step, following = STEPS[at]
        getattr(fleet, step)(job)
        assert fleet.state(job) == following


def waiting(fleet: Fleet, job: str) -> None:
    """A job that waits for a slot that is free as soon as its account is active again."""
    fleet.put("c1")
    fleet.stand("c1", "paused")
    fleet.submit(job)


def renewed(fleet: Fleet, *known: str) -> str:
    [verdict] = fleet.run("renew", fleet.times.ttl_ms, *known)
    return str(verdict)


def taken(fleet: Fleet, *jobs: str) -> None:
    """RQ's queue gives the jobs' ids to workers."""
    for job in jobs:
        fleet.lose(job)


def all_of(job: str, values: dict[str, Any]) -> dict[str, Any]:
    """What a snapshot has of one job: its keys and its places, without its history."""
    kept: dict[str, Any] = {}
    for key, value in values.items():
        if key == f"job:{job}":
            kept[key] = {name: told for name, told in value.items() if name not in {"history", "updated_ms"}}
        elif key == f"lease:{job}" or (key.startswith("claimed:") and value == job):
            kept[key] = value
        elif isinstance(value, dict) and job in value:
            kept[key] = value[job]
        elif isinstance(value, set) and job in value:
            kept[key] = True
    return kept


# --- what the store lost, and what the owner knows ---------------------------------------------------------


def test_an_idempotency_key_that_was_lost_with_its_job_is_known_again(fleet: Fleet) -> None:
    fleet.put("c1")
    before = keep(fleet.store)
    fleet.submit("j1", key="once")
    bring_on(fleet, "j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert fleet.submit("j2", key="once")[0] == "learning"
    assert reassert(fleet, held) == ["ok", "A"]

    assert fleet.submit("j3", key="once")[0] == "exists"
    assert 0 < fleet.store.client.pttl(fleet.store.keys.of("idempotency", "1", "once")) <= 86_400_000


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_a_job_that_the_store_never_heard_of_is_put_back_whole(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    before = keep(fleet.store)
    fleet.submit("j1", deadline_ms=300_000)
    bring_on(fleet, "j1", state)
    held, whole = holding(fleet, "j1"), all_of("j1", snapshot(fleet.store).settled())
    put_back(fleet.store, before)

    assert renewed(fleet, *known(held)) == "rolled_back"
    assert reassert(fleet, held) == ["ok", state]
    assert fleet.again_changes_nothing() == ["ok", state]

    taken(fleet, "j1")
    assert all_of("j1", snapshot(fleet.store).settled()) == whole
    assert renewed(fleet, *known(held)) == "ok"
    assert fleet.history("j1")[-1] == f"reasserted {state} {held.lease.delivery.token}"


def adopted(fleet: Fleet, state: str) -> tuple[Holding, Kept]:
    """A job found in a state and taken up there; and the store as it was just before."""
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.yield_("j1")
    before = keep(fleet.store)
    fleet.claim("j1", execution="first")
    return holding(fleet, "j1"), before


@pytest.mark.parametrize("state", ["U", "A", "D"])
def test_who_took_a_running_job_up_tells_it_again_and_stays_its_owner(fleet: Fleet, state: str) -> None:
    held, before = adopted(fleet, state)
    put_back(fleet.store, before)

    assert fleet.claim("j1", execution="second")[0] == "wait"
    assert renewed(fleet, *known(held)) == "rolled_back"
    assert reassert(fleet, held) == ["ok", state]
    end_learning(fleet.store)
    assert fleet.claim("j1", execution="second") == ["stale"]
    assert renewed(fleet, *known(held)) == "ok"


@pytest.mark.parametrize("state", ["U", "A", "D"])
def test_who_was_silent_while_the_store_learned_makes_way_for_the_next(fleet: Fleet, state: str) -> None:
    held, before = adopted(fleet, state)
    put_back(fleet.store, before)
    fleet.renew()
    end_learning(fleet.store)

    assert fleet.claim("j1", execution="second")[0] in {"adopt", "lookup", "watch"}
    assert renewed(fleet, *known(held)) == "lost"
    assert reassert(fleet, held) == ["lost"]
    assert fleet.lease("j1")["execution"] == "second"


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_a_job_that_the_store_thinks_waits_is_out_of_its_line_again(fleet: Fleet, state: str) -> None:
    waiting(fleet, "j1")
    before = keep(fleet.store)
    fleet.stand("c1", "active")
    bring_on(fleet, "j1", state)
    held, whole = holding(fleet, "j1"), all_of("j1", snapshot(fleet.store).settled())
    put_back(fleet.store, before)

    assert renewed(fleet, *known(held)) == "rolled_back"
    assert reassert(fleet, held) == ["ok", state]

    taken(fleet, "j1")
    assert all_of("j1", snapshot(fleet.store).settled()) == whole
    assert (fleet.pending(), fleet.used("c1")) == ([], ["j1"])


@pytest.mark.parametrize(("found", "state"), BEHIND)
def test_a_lease_found_in_an_earlier_state_is_brought_on(fleet: Fleet, found: str, state: str) -> None:
    fleet.put("c1")
    fleet.submit("j1", deadline_ms=300_000)
    bring_on(fleet, "j1", found)
    before = keep(fleet.store)
    bring_on(fleet, "j1", state)
    held, whole = holding(fleet, "j1"), all_of("j1", snapshot(fleet.store).settled())
    put_back(fleet.store, before)

    assert renewed(fleet, *known(held)) == "rolled_back"
    assert fleet.state("j1") == found
    assert reassert(fleet, held) == ["ok", state]

    assert len(fleet.queue()) == (found != "R")  # nobody took the id here; from R on nobody may
    taken(fleet, "j1")
    assert all_of("j1", snapshot(fleet.store).settled()) == whole


@pytest.mark.parametrize("state", ["C", "A"])
def test_an_older_grant_elsewhere_gives_its_slot_back(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    first = fleet.bring("j1", "A")
    fleet.put("c2")
    fleet.stand("c1", "paused")
    before = keep(fleet.store)
    fleet.handback("j1")
    bring_on(fleet, "j1", "S")
    if state == "A":
        fleet.mark_accepted("j1", "another")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert renewed(fleet, *known(held)) == "rolled_back"
    assert reassert(fleet, held) == ["ok", held.lease.state]

    taken(fleet, "j1")
    assert (fleet.used("c1"), fleet.used("c2")) == ([], ["j1"])
    assert renewed(fleet, "j1", first, "A", "remote-j1", "e1") == "lost"
    assert fleet.store.client.ttl(fleet.key("rq", "job", f"j1-{first}")) > 0


def test_a_redelivery_that_was_lost_takes_the_lease_from_its_predecessor(fleet: Fleet) -> None:
    fleet.put("c1")
    first = fleet.bring("j1", "A")
    before = keep(fleet.store)
    fleet.strike_twice("j1")
    fleet.claim("j1", execution="e2")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert reassert(fleet, held) == ["ok", "A"]

    taken(fleet, "j1")
    assert renewed(fleet, *known(held)) == "ok"
    assert renewed(fleet, "j1", first, "A", "remote-j1", "e1") == "lost"


def test_a_known_id_of_a_draining_job_is_told_again(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.cancel("j1")
    before = keep(fleet.store)
    fleet.mark_accepted("j1", "r1")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert renewed(fleet, *known(held)) == "rolled_back"
    assert reassert(fleet, held) == ["ok", "D"]
    assert fleet.store.client.get(fleet.key("claimed", fleet.pool, "r1")) == "j1"
    assert fleet.submitting("c1") == []


def test_the_end_of_a_draining_job_that_was_lost_with_its_callback_is_owed_again_under_the_same_id(
    fleet: Fleet,
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("job", "j1"), "reply_url", URL)
    before = keep(fleet.store)
    fleet.cancel("j1")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert take(fleet) == ["ok", 0]
    reassert(fleet, held)

    assert [callback_id for _, callback_id, *_ in take(fleet)[2:]] == ["j1-final"]


# --- who may not -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_a_newer_delivery_keeps_the_job(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    held = holding(fleet, "j1")
    fleet.strike_twice("j1")

    assert reassert(fleet, held) == ["lost"]
    assert fleet.again_changes_nothing() == ["lost"]


@pytest.mark.parametrize("end", ["settle", "handback", "cancel"])
def test_what_was_given_back_is_lost_and_no_sign_of_lost_writes(fleet: Fleet, end: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    held = holding(fleet, "j1")
    fleet.stand("c1", "paused")
    getattr(fleet, end)("j1")

    assert renewed(fleet, *known(held)) == "lost"
    assert reassert(fleet, held) == ["lost"]
    assert fleet.again_changes_nothing() == ["lost"]
    assert fleet.learning() == ""


@pytest.mark.parametrize("owner_knows", ["C", "S", "U", "A"])
def test_an_owner_that_knows_less_than_the_store_changes_nothing(fleet: Fleet, owner_knows: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", owner_knows)
    held = holding(fleet, "j1")
    bring_on(fleet, "j1", "D")

    assert renewed(fleet, *known(held)) == "ok"
    assert reassert(fleet, held) == ["ok", "D"]
    assert fleet.again_changes_nothing() == ["ok", "D"]
    assert fleet.learning() == ""


def test_a_record_of_an_older_version_has_no_token_and_is_no_sign_of_lost_writes(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    held = holding(fleet, "j1")
    fleet.settle("j1")
    fleet.store.client.hdel(fleet.key("job", "j1"), "token")

    assert renewed(fleet, *known(held)) == "lost"


@pytest.mark.parametrize(("state", "verdict"), [("C", ["lost"]), ("S", ["ok", "D"]), ("A", ["ok", "D"])])
def test_a_job_cancelled_before_its_owner_spoke_drains_if_it_was_submitted(
    fleet: Fleet, state: str, verdict: list[str]
) -> None:
    waiting(fleet, "j1")
    before = keep(fleet.store)
    fleet.stand("c1", "active")
    bring_on(fleet, "j1", state)
    held = holding(fleet, "j1")
    put_back(fleet.store, before)
    fleet.cancel("j1")

    assert reassert(fleet, held) == verdict
    assert fleet.again_changes_nothing() == verdict

    taken(fleet, "j1")
    assert fleet.status("j1") == "cancelled"
    assert fleet.used("c1") == ([] if verdict == ["lost"] else ["j1"])


# --- beside others ---------------------------------------------------------------------------------------


def test_other_owners_slots_stay_even_above_the_limit(fleet: Fleet) -> None:
    fleet.put("c1")
    before = keep(fleet.store)
    fleet.bring("j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before, by_another_server=False)
    fleet.bring("j2", "A")

    assert reassert(fleet, held) == ["ok", "A"]

    taken(fleet, "j1", "j2")
    assert set(fleet.used("c1")) == {"j1", "j2"}
    assert fleet.free() == []


def test_an_account_that_is_missing_is_not_invented_and_its_slots_count_when_it_is_back(fleet: Fleet) -> None:
    before = keep(fleet.store)
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert reassert(fleet, held) == ["ok", "A"]
    assert (fleet.account("c1"), fleet.used("c1")) == ({}, ["j1"])

    end_learning(fleet.store)
    assert fleet.run("leave_clean", 10) == 0
    fleet.put("c1", 2)
    taken(fleet, "j1")
    assert fleet.score("c1", "free", fleet.pool) == 1


def test_tokens_go_on_above_the_one_told(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    before = keep(fleet.store)
    fleet.store.client.set(fleet.key("fence"), 2**52)
    token = fleet.bring("j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    reassert(fleet, held)
    end_learning(fleet.store)
    fleet.submit("j2")

    taken(fleet, "j1")
    assert int(fleet.token("j2")) == int(token) + 1


def test_rqs_hash_of_a_running_delivery_is_there_again_and_not_queued(fleet: Fleet) -> None:
    fleet.put("c1")
    before = keep(fleet.store)
    fleet.bring("j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    reassert(fleet, held)

    taken(fleet, "j1")
    delivery = fleet.hash("rq", "job", f"j1-{held.lease.delivery.token}")
    assert (delivery["status"], fleet.queue()) == ("started", [])


# --- every call of an owner ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["mark_submitting", "mark_unknown", "mark_accepted", "settle", "handback"])
@pytest.mark.parametrize("found", ["nothing", "R"])
def test_every_call_of_an_owner_finds_the_loss_and_opens_the_window(fleet: Fleet, call: str, found: str) -> None:
    fleet.put("c1")
    before = keep(fleet.store)
    fleet.submit("j1")
    if found == "R":
        before = keep(fleet.store)
    bring_on(fleet, "j1", "C" if call == "mark_submitting" else "S")
    held = holding(fleet, "j1")
    put_back(fleet.store, before, by_another_server=False)

    told = getattr(fleet, call)("j1", token=str(held.lease.delivery.token))

    assert told == ["rolled_back"]
    assert fleet.learning() == "an owner knows more than the store"
    reassert(fleet, held)
    assert fleet.state("j1") == held.lease.state
    taken(fleet, "j1")


@pytest.mark.parametrize("call", ["mark_unknown", "mark_accepted"])
def test_a_claimed_lease_of_one_who_submitted_is_a_loss(fleet: Fleet, call: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert getattr(fleet, call)("j1") == ["rolled_back"]
    assert fleet.state("j1") == "C"


def test_a_job_that_runs_on_upstream_is_not_freed_by_a_store_that_thinks_it_was_never_sent(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert fleet.settle("j1", "failed", running=True, known="A") == ["rolled_back"]
    assert fleet.used("c1") == ["j1"]


def test_a_refusal_of_an_accepted_run_is_first_told_whose_run_it_was(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "U")

    assert fleet.handback("j1", known="A", remote="r1", never_sent=True) == ["rolled_back"]
    assert fleet.state("j1") == "U"


@pytest.mark.parametrize("found", ["R", "C", "S", "U"])
def test_nothing_is_yielded_of_which_the_store_knows_less(fleet: Fleet, found: str) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", found)

    assert fleet.run("yield", 15_000, "j1", token, "A", "", "e1") == ["rolled_back"]
    assert (fleet.state("j1"), fleet.token("j1")) == (found, token)


def test_an_owner_that_speaks_while_the_store_learns_does_not_prolong_it(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "C")
    fleet.store.client.set(fleet.key("learning"), "the server changed", px=600_000)

    assert renewed(fleet, "j1", token, "A", "r1", "e1") == "rolled_back"
    assert fleet.learning() == "the server changed"
    assert fleet.store.client.pttl(fleet.key("learning")) > 500_000


def test_the_call_that_opens_the_window_grants_nothing(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    fleet.stand("c1", "paused")
    fleet.submit("waits")
    before = keep(fleet.store)
    fleet.stand("c1", "active")
    fleet.submit("j1")
    bring_on(fleet, "j1", "A")
    held = holding(fleet, "j1")
    put_back(fleet.store, before, by_another_server=False)
    fleet.store.client.hset(fleet.key("account", fleet.pool, "c1"), "state", "active")

    assert reassert(fleet, held) == ["ok", "A"]
    assert (fleet.used("c1"), fleet.pending()) == (["j1"], ["waits"])
