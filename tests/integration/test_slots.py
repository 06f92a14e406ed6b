"""What each call of Slots sends, by its effect on a real store, and how each answer is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from dispatcher.connection import Call, Store
from dispatcher.errors import LeaseLost, RolledBack, StoreReplyError
from dispatcher.handoff import DeliveryId
from dispatcher.leases import (
    CLAIM_TTL_MS,
    REASON_CHARACTERS,
    Assignment,
    Holding,
    Lease,
    NotYet,
    Permit,
    Returned,
    Unreadable,
)
from dispatcher.models import Message
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.fleet import Fleet

TTL_MS = 1_000_000
HOLD_MS = 3_000_000
HARD_MS = 2_000_000
KEEP_S = 20 * 86_400
MESSAGE = Message(messageId="5", content="done")

Use = Callable[[Slots, Lease], Call[Any]]


class Desk:
    """Slots with durations of their own, so that none is taken for another, and one way to each state of a lease."""

    def __init__(self, store: Store, settings: Settings, **changes: object) -> None:
        durations = {"lease_ttl_s": 1000, "hold_s": 3000, "hard_deadline_s": 2000, "jobs_keep_days": 20}
        wanted = {**durations, "min_interval_ms": 0, "capacity_requeues_max": 1, **changes}
        self.slots = Slots(settings.model_copy(update=wanted))
        self.fleet = Fleet(store)
        self.do = store.do

    def delivery(self, job: str) -> DeliveryId:
        return DeliveryId(job, int(self.fleet.token(job)))

    def claimed(self, job: str) -> Lease:
        """The lease of a granted job, claimed."""
        assigned = self.do(self.slots.claim(self.delivery(job), execution="e1", owner="w1"))
        assert isinstance(assigned, Assignment)
        return assigned.lease

    def submitted(self, job: str) -> Lease:
        """The lease of a granted job, in S."""
        lease = self.claimed(job)
        permit = self.do(self.slots.mark_submitting(lease))
        assert isinstance(permit, Permit)
        return lease.in_state("S", submitted_ms=permit.submitted_ms)

    def accepted(self, job: str) -> Lease:
        """The lease of a granted job, in A."""
        lease = self.submitted(job)
        assert self.do(self.slots.mark_accepted(lease, f"remote-{job}")) is True
        return lease.in_state("A", remote_id=f"remote-{job}")

    def unknown(self, job: str) -> Lease:
        """The lease of a granted job, in U."""
        lease = self.submitted(job)
        self.do(self.slots.mark_unknown(lease))
        return lease.in_state("U")

    @contextmanager
    def extends(self, job: str) -> Iterator[None]:
        """What happens inside gives the job's lease its whole time from now."""
        self.fleet.expire(job)
        before_ms = self.fleet.now_ms()
        yield
        expiry_ms = self.fleet.score(job, "expiry")
        assert expiry_ms is not None
        assert before_ms + TTL_MS <= expiry_ms <= self.fleet.now_ms() + TTL_MS


@pytest.fixture
def desk(store: Store, settings: Settings) -> Desk:
    """Two jobs, each granted a slot of the one account."""
    made = Desk(store, settings)
    made.fleet.put("c1", 2)
    made.fleet.submit("j1")
    made.fleet.submit("j2")
    return made


def newer(lease: Lease) -> Lease:
    """The same lease as a later delivery holds it, of which the store knows nothing."""
    return replace(lease, delivery=DeliveryId(lease.delivery.job_id, lease.delivery.token + 1))


def older(lease: Lease) -> Lease:
    """The same lease as an earlier delivery held it."""
    return replace(lease, delivery=DeliveryId(lease.delivery.job_id, lease.delivery.token - 1))


# --- Granting ------------------------------------------------------------------------------------------


def test_dispatch_grants_what_waits_in_the_pool_that_it_is_given(desk: Desk) -> None:
    fleet = desk.fleet
    fleet.put("c2")
    fleet.store.client.zrem(fleet.key("free", fleet.pool), "c2")
    fleet.submit("j3")
    fleet.store.client.zadd(fleet.key("free", fleet.pool), {"c2": 0})

    assert desk.do(desk.slots.dispatch()) == (0, False, 0)
    assert fleet.pending() == ["j3"]
    before_ms = fleet.now_ms()
    assert desk.do(desk.slots.dispatch(fleet.pool)) == (1, False, 0)
    assert fleet.channel("j3") == "c2"
    assert (fleet.score("j3", "expiry") or 0) >= before_ms + TTL_MS


def test_dispatch_for_no_pool_returns_the_due_and_tells_who_is_due_next(desk: Desk) -> None:
    fleet = desk.fleet
    fleet.put("c2")
    fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c2": 4_000_000_000_000})

    assert "" in desk.slots.dispatch().args
    assert desk.do(desk.slots.dispatch()) == (0, False, 4_000_000_000_000)


def test_dispatch_tells_that_there_is_more_to_do_now(desk: Desk) -> None:
    due = {f"{desk.fleet.pool}:{channel}": 1000 for channel in range(1000, 1300)}
    desk.fleet.store.client.zadd(desk.fleet.key("due"), due)

    assert desk.do(desk.slots.dispatch()) == (0, True, 1000)
    assert desk.do(desk.slots.dispatch()) == (0, False, 0)


# --- A claim -------------------------------------------------------------------------------------------


def test_a_claim_binds_the_lease_and_gives_all_that_its_owner_needs(desk: Desk) -> None:
    delivery = desk.delivery("j1")

    before_ms = desk.fleet.now_ms()
    with desk.extends("j1"):
        assigned = desk.do(desk.slots.claim(delivery, execution="e7", owner="w7"))

    assert isinstance(assigned, Assignment)
    assert (assigned.step, assigned.job.id, assigned.account.channel) == ("start", "j1", "c1")
    assert assigned.account.sealed == "k1:secret-c1"
    assert before_ms <= assigned.claimed_ms <= desk.fleet.now_ms()
    lease = assigned.lease
    assert (lease.delivery, lease.pool, lease.channel, lease.state) == (delivery, "1:discord", "c1", "C")
    held = desk.fleet.lease("j1")
    assert (held["execution"], held["owner"]) == ("e7", "w7")


def test_a_stale_delivery_and_one_whose_job_is_done_are_not_assigned(desk: Desk) -> None:
    delivery = desk.delivery("j1")

    assert desk.do(desk.slots.claim(DeliveryId("j1", delivery.token - 1), execution="e1", owner="w1")) is None
    desk.do(desk.slots.settle(desk.claimed("j1"), "completed"))
    assert desk.do(desk.slots.claim(delivery, execution="e2", owner="w1")) is None


def test_a_record_that_cannot_be_read_is_told_with_its_lease(desk: Desk) -> None:
    desk.fleet.store.client.hset(desk.fleet.key("job", "j1"), "message", '{"messageId": {}}')
    delivery = desk.delivery("j1")

    told = desk.do(desk.slots.claim(delivery, execution="e1", owner="w1"))

    assert isinstance(told, Unreadable)
    assert (told.lease.delivery, told.lease.channel, told.why) == (delivery, "c1", "wrong messageId")


def test_an_account_that_cannot_be_read_is_told_by_its_fields_never_by_their_values(desk: Desk) -> None:
    key = desk.fleet.key("account", desk.fleet.pool, "c1")
    desk.fleet.store.client.hset(key, mapping={"user": "nobody", "max_jobs": "many"})
    delivery = desk.delivery("j1")

    told = desk.do(desk.slots.claim(delivery, execution="e1", owner="w1"))

    assert isinstance(told, Unreadable)
    assert (told.lease.delivery, told.why) == (delivery, "its account: max_jobs, user")


# --- The gate ------------------------------------------------------------------------------------------


def test_a_permit_tells_its_instant_and_its_account_and_starts_the_jobs_time(desk: Desk) -> None:
    lease = desk.claimed("j1")

    before_ms = desk.fleet.now_ms()
    with desk.extends("j1"):
        permit = desk.do(desk.slots.mark_submitting(lease, upstream_user="user-7"))

    assert isinstance(permit, Permit)
    assert before_ms <= permit.submitted_ms <= desk.fleet.now_ms()
    assert (permit.account.channel, permit.account.sealed) == ("c1", "k1:secret-c1")
    held = desk.fleet.lease("j1")
    assert held["upstream_user"] == "user-7"
    assert (int(held["submitted_ms"]), int(held["deadline_ms"])) == (permit.submitted_ms, permit.submitted_ms + HARD_MS)


def test_as_nobody_it_is_submitted_unless_a_user_is_named(desk: Desk) -> None:
    desk.submitted("j1")

    assert desk.fleet.lease("j1")["upstream_user"] == ""


def test_the_gate_tells_how_long_to_wait(store: Store, settings: Settings, desk: Desk) -> None:
    desk.accepted("j1")
    paced = Desk(store, settings, min_interval_ms=600_000)

    told = desk.do(paced.slots.mark_submitting(desk.claimed("j2")))

    assert isinstance(told, NotYet)
    assert 0 < told.wait_ms <= 600_000


def test_the_gate_returns_the_job_of_a_stopped_account_and_says_why(desk: Desk) -> None:
    lease = desk.claimed("j1")
    desk.fleet.stand("c1", "paused")

    assert desk.do(desk.slots.mark_submitting(lease)) == Returned("account paused")
    assert desk.fleet.state("j1") == "P"


# --- What the upstream answered -------------------------------------------------------------------------


def test_an_accepted_job_has_its_id_alone_and_for_long(desk: Desk) -> None:
    lease = desk.submitted("j1")

    with desk.extends("j1"):
        assert desk.do(desk.slots.mark_accepted(lease, "remote-7")) is True

    assert desk.fleet.status("j1") == "started"
    assert "message" not in desk.fleet.record("j1")
    assert (desk.fleet.state("j1"), desk.fleet.lease("j1")["remote"]) == ("A", "remote-7")
    lasts_ms: Any = desk.fleet.store.client.pttl(desk.fleet.key("claimed", desk.fleet.pool, "remote-7"))
    assert CLAIM_TTL_MS - 60_000 < lasts_ms <= CLAIM_TTL_MS


def test_progress_is_recorded_with_its_message(desk: Desk) -> None:
    lease = desk.accepted("j1")

    assert desk.do(desk.slots.mark_accepted(lease, "remote-j1", status="progress", message=MESSAGE)) is True

    assert desk.fleet.status("j1") == "progress"
    assert Message.model_validate_json(desk.fleet.record("j1")["message"]) == MESSAGE


def test_an_id_that_another_job_has_is_refused(desk: Desk) -> None:
    desk.accepted("j1")
    lease = desk.submitted("j2")

    assert desk.do(desk.slots.mark_accepted(lease, "remote-j1")) is False
    assert desk.fleet.state("j2") == "S"


def test_a_second_id_for_one_job_is_another_owners(desk: Desk) -> None:
    lease = desk.accepted("j1")

    with pytest.raises(LeaseLost) as lost:
        desk.do(desk.slots.mark_accepted(lease, "remote-9"))

    assert (lost.value.job_id, lost.value.reason) == ("j1", "other")
    assert desk.fleet.lease("j1")["remote"] == "remote-j1"


def test_a_lost_answer_is_recorded(desk: Desk) -> None:
    desk.unknown("j1")

    assert desk.fleet.state("j1") == "U"


# --- Ownership -----------------------------------------------------------------------------------------


OWNERS_CALLS = pytest.mark.parametrize(
    "use",
    [
        pytest.param(lambda slots, lease: slots.mark_submitting(lease), id="mark_submitting"),
        pytest.param(lambda slots, lease: slots.mark_accepted(lease, "remote-7"), id="mark_accepted"),
        pytest.param(lambda slots, lease: slots.mark_unknown(lease), id="mark_unknown"),
        pytest.param(lambda slots, lease: slots.settle(lease, "completed"), id="settle"),
        pytest.param(lambda slots, lease: slots.handback(lease, "no"), id="handback"),
    ],
)


@OWNERS_CALLS
def test_an_owner_whose_job_has_a_newer_delivery_is_told_so(desk: Desk, use: Use) -> None:
    lease = desk.submitted("j1")

    with pytest.raises(LeaseLost) as lost:
        desk.do(use(desk.slots, older(lease)))

    assert (lost.value.job_id, lost.value.reason) == ("j1", "stale")
    assert desk.fleet.state("j1") == "S"


@OWNERS_CALLS
def test_an_owner_who_knows_more_than_the_store_is_told_so(desk: Desk, use: Use) -> None:
    lease = desk.submitted("j1")

    with pytest.raises(RolledBack) as told:
        desk.do(use(desk.slots, newer(lease)))

    assert told.value.job_id == "j1"
    assert desk.fleet.state("j1") == "S"


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(lambda lease: lease.in_state("A"), id="by its state"),
        pytest.param(lambda lease: replace(lease, remote_id="remote-7"), id="by its id"),
        pytest.param(newer, id="by its token"),
    ],
)
def test_renewing_and_yielding_name_what_the_store_lost(desk: Desk, behind: Callable[[Lease], Lease]) -> None:
    lease = desk.submitted("j1")

    assert desk.do(desk.slots.renew([lease, behind(lease)])) == ["ok", "rolled_back"]
    assert desk.do(desk.slots.yield_([behind(lease)])) == ["rolled_back"]


def test_while_the_store_is_learning_claims_and_new_ids_wait(desk: Desk) -> None:
    lease, delivery = desk.submitted("j1"), desk.delivery("j2")
    desk.fleet.store.client.set(desk.fleet.key("learning"), "a test", px=600_000)

    claim = desk.do(desk.slots.claim(delivery, execution="e1", owner="w1"))
    accepted = desk.do(desk.slots.mark_accepted(lease, "remote-7"))

    assert isinstance(claim, NotYet)
    assert isinstance(accepted, NotYet)
    assert 500_000 < accepted.wait_ms <= claim.wait_ms <= 600_000
    assert (desk.fleet.state("j1"), desk.fleet.state("j2")) == ("S", "R")


def lose(desk: Desk, job: str) -> None:
    """The store loses all that it knew of a job."""
    desk.fleet.store.client.delete(desk.fleet.key("lease", job), desk.fleet.key("job", job))
    for name in (("slots", desk.fleet.pool, "c1"), ("expiry",), ("deadlines",), ("submitting", desk.fleet.pool, "c1")):
        desk.fleet.store.client.zrem(desk.fleet.key(*name), job)


def test_what_a_store_lost_is_as_its_owner_tells_it(desk: Desk) -> None:
    desk.accepted("j1")
    delivery, record = desk.delivery("j1"), desk.fleet.record("j1")
    holding = Holding(Lease.from_fields(delivery, desk.fleet.lease("j1")), record)
    lose(desk, "j1")
    desk.fleet.store.client.delete(desk.fleet.key("claimed", desk.fleet.pool, "remote-j1"))

    before_ms = desk.fleet.now_ms()
    assert desk.do(desk.slots.reassert(holding)) == "A"

    assert Lease.from_fields(delivery, desk.fleet.lease("j1")) == holding.lease
    now = desk.fleet.record("j1")
    assert {name for name in now | record if now.get(name) != record.get(name)} == {"history", "updated_ms"}
    assert (desk.fleet.score("j1", "expiry") or 0) >= before_ms + TTL_MS
    assert sorted(desk.fleet.used("c1")) == ["j1", "j2"]
    lasts_ms: Any = desk.fleet.store.client.pttl(desk.fleet.key("claimed", desk.fleet.pool, "remote-j1"))
    assert CLAIM_TTL_MS - 60_000 < lasts_ms <= CLAIM_TTL_MS


@pytest.mark.parametrize(("bring", "state"), [("claimed", "C"), ("submitted", "S"), ("unknown", "U")])
def test_an_owner_that_tells_again_hears_in_which_state_it_holds_its_lease(desk: Desk, bring: str, state: str) -> None:
    getattr(desk, bring)("j1")
    held = desk.fleet.lease("j1")
    holding = Holding(Lease.from_fields(delivery_of(held), held), desk.fleet.record("j1"))
    lose(desk, "j1")

    assert desk.do(desk.slots.reassert(holding)) == state


def test_a_slot_that_a_store_lost_is_held_again_past_its_jobs_time(desk: Desk) -> None:
    desk.do(desk.slots.settle(desk.accepted("j1"), "failed", still_running=True))
    held, record = desk.fleet.lease("j1"), desk.fleet.record("j1")
    lose(desk, "j1")

    assert desk.do(desk.slots.reassert(Holding(Lease.from_fields(delivery_of(held), held), record))) == "D"

    assert desk.fleet.score("j1", "deadlines") == int(held["deadline_ms"]) + HOLD_MS
    left_s: Any = desk.fleet.store.client.ttl(desk.fleet.key("job", "j1"))
    assert KEEP_S - 60 < left_s <= KEEP_S


def delivery_of(held: dict[str, str]) -> DeliveryId:
    """The delivery that a lease of j1 names."""
    return DeliveryId("j1", int(held["token"]))


def test_what_a_newer_delivery_owns_cannot_be_asserted_again(desk: Desk) -> None:
    lease = desk.submitted("j1")

    with pytest.raises(LeaseLost) as lost:
        desk.do(desk.slots.reassert(Holding(older(lease), desk.fleet.record("j1"))))

    assert (lost.value.job_id, lost.value.reason) == ("j1", "taken over")


def test_renewals_extend_what_is_ours_and_name_what_is_not(desk: Desk) -> None:
    mine, lost = desk.claimed("j1"), older(desk.claimed("j2"))
    desk.fleet.expire("j2")

    with desk.extends("j1"):
        assert desk.do(desk.slots.renew([mine, lost])) == ["ok", "lost"]

    assert (desk.fleet.score("j2", "expiry") or 0) < TTL_MS


def test_yielding_tells_of_each_delivery_what_became_of_it(desk: Desk) -> None:
    yielded, in_flight = desk.claimed("j1"), desk.submitted("j2")

    before_ms = desk.fleet.now_ms()
    told = desk.do(desk.slots.yield_([yielded, in_flight, older(yielded)]))

    assert told == ["ok", "later", "stale"]
    assert int(desk.fleet.token("j1")) > yielded.delivery.token
    assert (desk.fleet.score("j1", "expiry") or 0) >= before_ms + TTL_MS


# --- The end -------------------------------------------------------------------------------------------


def test_a_settled_job_keeps_its_outcome_for_as_long_as_jobs_are_kept_and_frees_its_slot(desk: Desk) -> None:
    lease = desk.accepted("j1")

    told = desk.do(desk.slots.settle(lease, "moderated", message=MESSAGE, error="refused", error_details="all of it"))

    assert told == "moderated"
    record = desk.fleet.record("j1")
    assert (record["status"], record["error"], record["error_details"]) == ("moderated", "refused", "all of it")
    assert Message.model_validate_json(record["message"]) == MESSAGE
    assert desk.fleet.used("c1") == ["j2"]
    left_s: Any = desk.fleet.store.client.ttl(desk.fleet.key("job", "j1"))
    assert KEEP_S - 60 < left_s <= KEEP_S


@pytest.mark.parametrize(("again", "told"), [(None, "failed"), (False, "failed"), (True, "created")])
def test_a_job_that_failed_is_tried_again_only_where_it_is_said_to_be_worth_it(
    store: Store, settings: Settings, again: bool | None, told: str
) -> None:
    patient = Desk(store, settings, max_attempts=2)
    patient.fleet.put("c1")
    patient.fleet.submit("j1")

    lease = patient.accepted("j1")
    failed = patient.slots.settle
    call = failed(lease, "failed") if again is None else failed(lease, "failed", again=again)
    assert patient.do(call) == told


@pytest.mark.parametrize(("upstream_ms", "kept"), [(1_700_000_000_123, "1700000000123"), (None, None)])
def test_a_permit_keeps_what_the_upstreams_clock_said(desk: Desk, upstream_ms: int | None, kept: str | None) -> None:
    desk.do(desk.slots.mark_submitting(desk.claimed("j1"), upstream_ms=upstream_ms))

    assert desk.fleet.lease("j1").get("upstream_ms") == kept


def test_an_outcome_without_words_has_none_on_record(desk: Desk) -> None:
    assert desk.do(desk.slots.settle(desk.accepted("j1"), "completed")) == "completed"

    assert not {"message", "error", "error_details"} & set(desk.fleet.record("j1"))


def test_the_first_outcome_stays(desk: Desk) -> None:
    lease = desk.accepted("j1")
    desk.do(desk.slots.settle(lease, "completed"))

    assert desk.do(desk.slots.settle(lease, "failed")) == "completed"


def test_a_slot_whose_job_still_runs_upstream_is_held_past_the_jobs_time(desk: Desk) -> None:
    lease = desk.accepted("j1")
    deadline_ms = int(desk.fleet.lease("j1")["deadline_ms"])

    assert desk.do(desk.slots.settle(lease, "failed", error="no word of it", still_running=True)) == "failed"

    assert (desk.fleet.state("j1"), desk.fleet.used("c1")) == ("D", ["j1", "j2"])
    assert desk.fleet.score("j1", "deadlines") == deadline_ms + HOLD_MS


# --- The way back --------------------------------------------------------------------------------------


def test_a_refused_job_waits_again_and_its_account_goes_on(desk: Desk) -> None:
    lease = desk.submitted("j1")
    desk.fleet.submit("j3")

    assert desk.do(desk.slots.handback(lease, "busy")) == "pending"

    assert desk.fleet.history("j1")[-2] == "returned busy"  # and leased again: its place is the first
    account = desk.fleet.account("c1")
    assert (account["state"], account.get("cooling_until_ms", "0")) == ("active", "0")
    assert desk.fleet.record("j1")["requeues"] == "1"


def test_the_account_of_a_refused_job_rests_at_least_as_long_as_it_is_told(desk: Desk) -> None:
    lease = desk.submitted("j1")

    before_ms = desk.fleet.now_ms()
    assert desk.do(desk.slots.handback(lease, "429", cool_s=5000)) == "pending"

    assert 5_000_000 in desk.slots.handback(lease, "429", cool_s=5000).args
    cooling_until_ms = int(desk.fleet.account("c1")["cooling_until_ms"])
    assert before_ms + 5_000_000 <= cooling_until_ms <= desk.fleet.now_ms() + 5_000_000 * 1.25


def test_an_account_that_says_it_is_busy_rests_by_our_own_measure(store: Store, settings: Settings) -> None:
    patient = Desk(store, settings, cooling_first_s=400, cooling_max_s=200, suspicion_share_max=0.5)
    patient.fleet.put("c1")
    patient.fleet.submit("j1")

    before_ms = patient.fleet.now_ms()
    patient.do(patient.slots.handback(patient.submitted("j1"), "too many jobs", cools="said"))

    assert {400_000, 200_000, 0.5} < set(patient.slots.handback(Lease(DeliveryId("j1", 7), "p", "c", "C"), "").args)
    cooling_until_ms = int(patient.fleet.account("c1")["cooling_until_ms"])
    assert before_ms + 200_000 <= cooling_until_ms <= patient.fleet.now_ms() + 200_000


def test_an_account_that_leaves_three_in_a_row_without_an_answer_rests(store: Store, settings: Settings) -> None:
    wary = Desk(store, settings, cooling_first_s=400, cooling_max_s=200)
    wary.fleet.put("c1", 3)
    for number, job in enumerate(("j1", "j2", "j3")):
        wary.fleet.submit(job)
        assert wary.fleet.account("c1").get("unknowns", "0") == str(number)
        wary.unknown(job)
        wary.fleet.store.client.delete(wary.fleet.key("submitting", wary.fleet.pool, "c1"))

    cooling_until_ms = int(wary.fleet.account("c1")["cooling_until_ms"])
    assert wary.fleet.now_ms() < cooling_until_ms <= wary.fleet.now_ms() + 200_000


def test_refused_too_often_a_job_fails_unless_the_refusal_was_not_its_own(desk: Desk) -> None:
    for _ in range(3):
        assert desk.do(desk.slots.handback(desk.submitted("j1"), "not this job", counted=False)) == "pending"
    assert desk.fleet.record("j1")["requeues"] == "0"

    assert desk.do(desk.slots.handback(desk.submitted("j1"), "busy")) == "pending"
    assert desk.do(desk.slots.handback(desk.submitted("j1"), "busy")) == "failed"
    assert desk.fleet.status("j1") == "failed"


def test_an_upstreams_words_are_kept_short(desk: Desk) -> None:
    lease = desk.submitted("j1")

    desk.do(desk.slots.handback(lease, "x" * 500))

    assert desk.fleet.history("j1")[-2] == "returned " + "x" * REASON_CHARACTERS


def test_an_account_that_was_rejected_is_stopped_with_the_reason(desk: Desk) -> None:
    lease = desk.submitted("j1")

    desk.do(desk.slots.handback(lease, "401", disable="check"))

    account = desk.fleet.account("c1")
    assert (account["state"], account["reason"]) == ("disabled", "401")


def test_an_unknown_submission_comes_back_only_if_it_never_left(desk: Desk) -> None:
    lease = desk.unknown("j1")

    with pytest.raises(LeaseLost):
        desk.do(desk.slots.handback(lease, "no connection"))
    assert desk.do(desk.slots.handback(lease, "no connection", never_sent=True)) == "pending"


def test_a_refusal_of_a_job_that_has_ended_tells_its_end(desk: Desk) -> None:
    lease = desk.accepted("j1")
    desk.do(desk.slots.settle(lease, "failed", still_running=True))

    assert desk.do(desk.slots.handback(lease.in_state("D"), "gone")) == "failed"
    desk.accepted("j2")
    desk.fleet.cancel("j2")
    held = desk.fleet.lease("j2")
    assert held["state"] == "D"
    given_back = Lease.from_fields(desk.delivery("j2"), held)
    assert desk.do(desk.slots.handback(given_back, "gone")) == "cancelled"


# --- What dead owners left -----------------------------------------------------------------------------


def test_reap_counts_what_it_redelivers(desk: Desk) -> None:
    desk.claimed("j1")
    desk.fleet.expire("j1")
    assert desk.do(desk.slots.reap()) == (0, 0, 0, False)
    desk.fleet.expire("j1")

    before_ms = desk.fleet.now_ms()
    assert desk.do(desk.slots.reap()) == (1, 0, 0, False)

    assert (desk.fleet.score("j1", "expiry") or 0) >= before_ms + TTL_MS


def test_reap_counts_the_jobs_whose_time_is_up(desk: Desk) -> None:
    desk.fleet.submit("j3", deadline_ms=600_000)
    desk.fleet.store.client.zadd(desk.fleet.key("deadlines"), {"j3": 1000})

    assert desk.do(desk.slots.reap()) == (0, 1, 0, False)
    assert desk.fleet.status("j3") == "failed"


def test_reap_counts_the_slots_that_it_forces_free_when_their_hold_is_over(desk: Desk) -> None:
    desk.do(desk.slots.settle(desk.accepted("j1"), "failed", still_running=True))
    desk.fleet.pass_deadline("j1")

    assert desk.do(desk.slots.reap()) == (0, 0, 1, False)
    assert desk.fleet.used("c1") == ["j2"]


def test_reap_tells_that_there_is_more_to_do_now(desk: Desk) -> None:
    gone = {f"gone-{number}": 1000 for number in range(200)}
    desk.fleet.store.client.zadd(desk.fleet.key("expiry"), gone)

    assert desk.do(desk.slots.reap()) == (0, 0, 0, True)
    assert desk.do(desk.slots.reap()) == (0, 0, 0, False)


# --- Answers of another version ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "use"),
    [
        ("dispatch", lambda slots, _: slots.dispatch()),
        ("claim", lambda slots, lease: slots.claim(lease.delivery, execution="e1", owner="w1")),
        ("mark_submitting", lambda slots, lease: slots.mark_submitting(lease)),
        ("mark_accepted", lambda slots, lease: slots.mark_accepted(lease, "remote-7")),
        ("reassert", lambda slots, lease: slots.reassert(Holding(lease, {}))),
        ("settle", lambda slots, lease: slots.settle(lease, "completed")),
        ("handback", lambda slots, lease: slots.handback(lease, "no")),
        ("reap", lambda slots, _: slots.reap()),
    ],
)
@pytest.mark.parametrize("reply", [["from tomorrow"], [], "OK", None])
def test_an_answer_that_this_version_does_not_know_is_told_with_its_script(
    settings: Settings, script: str, use: Use, reply: Any
) -> None:
    lease = Lease(DeliveryId("j1", 7), "1:discord", "c1", "C")

    with pytest.raises(StoreReplyError) as told:
        use(Slots(settings), lease).read(reply)

    assert told.value.script == script
    assert str(told.value).startswith(f"Script {script} answered {reply!r};")
