"""Guests: jobs that bring a token of their own, on channels that nobody, or their own user, has registered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.audit import Audit
from dispatcher.connection import Store
from dispatcher.plan import carry_out
from dispatcher.replies import table
from dispatcher.settings import Settings
from tests.support.fleet import PAST_MS, Fleet
from tests.support.rollback import holding, keep, put_back, reassert
from tests.support.snapshot import breaches, snapshot

STATES = ["P", "R", "C", "S", "U", "A", "D"]
ADMITTED = STATES[1:]


@pytest.fixture(autouse=True)
def _audited(fleet: Fleet, settings: Settings) -> Iterator[None]:
    """Whatever a test did, an audit of all keys finds nothing."""
    yield
    audit = Audit(settings)
    carry_out(fleet.store, audit.everything())
    assert not audit.findings


@pytest.fixture
def others(store: Store) -> Fleet:
    """Another user's pool."""
    return Fleet(store, user=2)


def invite(fleet: Fleet, job: str, channel: str = "c1", *, limit: int = 10, own: str = "", mode: str = "wait") -> str:
    """Submit a guest's job; what the store says of it."""
    verdict, *_ = fleet.submit(job, pin=channel, limit=limit, own=own or f"token-{job}", mode=mode)
    return str(verdict)


def guests(fleet: Fleet) -> set[str]:
    """The channels that guests visit."""
    return set(fleet.store.client.smembers(fleet.key("guests", fleet.pool)))  # type: ignore[arg-type]


def bring(fleet: Fleet, job: str, state: str) -> None:
    """Bring a guest's job to a state; to wait, it finds another one on the channel."""
    if state == "P":
        invite(fleet, "before")
    fleet.bring(job, state, channel="c1", limit=1, own="token")


def assert_no_trace(fleet: Fleet, channel: str = "c1") -> None:
    """Of a visit nothing is left."""
    assert (guests(fleet), fleet.account(channel), fleet.hash("channels")) == (set(), {}, {})
    assert fleet.score(f"{fleet.pool}:{channel}", "due") is None


# --- a visit -----------------------------------------------------------------------------------------------------


def test_a_guests_job_is_leased_on_a_channel_that_nobody_registered(fleet: Fleet) -> None:
    assert invite(fleet, "j1", limit=3) == "created"

    assert (fleet.state("j1"), fleet.used("c1"), guests(fleet)) == ("R", ["j1"], {"c1"})
    assert (fleet.account("c1")["visit"], fleet.account("c1")["state"]) == ("1", "active")
    assert (fleet.record("j1")["masked"], fleet.record("j1")["server"]) == ("tok…", "20")


def test_a_visited_channel_is_in_no_list_and_takes_no_other_job(fleet: Fleet) -> None:
    invite(fleet, "j1")
    fleet.submit("anywhere")

    assert fleet.submit("pinned", pin="c1") == ["no_account"]
    assert (fleet.free(), fleet.pending(), fleet.used("c1")) == ([], ["anywhere"], ["j1"])
    assert fleet.store.client.exists(fleet.key("accounts", fleet.pool)) == 0


def test_a_visited_channel_is_no_account_to_its_user(fleet: Fleet) -> None:
    invite(fleet, "j1")

    assert fleet.stand("c1", "paused") == ["missing"]
    assert fleet.remove("c1") == ["missing"]
    assert fleet.check("c1") == ["missing"]
    assert fleet.checked("c1", "rejected", "401") == ["missing"]


def test_the_token_is_in_no_delivery_and_no_event(fleet: Fleet) -> None:
    invite(fleet, "j1", own="secret-of-mine")

    values = snapshot(fleet.store).values
    assert [key for key, value in values.items() if "secret-of-mine" in str(value)] == ["job:j1"]


@pytest.mark.parametrize("state", STATES)
def test_a_visit_ends_with_its_last_job_and_the_token_with_it(fleet: Fleet, state: str) -> None:
    bring(fleet, "j1", state)

    if state == "P":
        fleet.cancel("before")
    if state == "D":
        fleet.settle("j1")
    else:
        fleet.cancel("j1", at_once=True)

    assert_no_trace(fleet)
    assert not {"own_sealed", "own_digest", "own_version"} & fleet.record("j1").keys()


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_a_cancelled_guest_keeps_slot_token_and_visit_until_its_upstream_ends(fleet: Fleet, state: str) -> None:
    bring(fleet, "j1", state)

    fleet.cancel("j1")

    assert (fleet.state("j1"), guests(fleet), fleet.record("j1")["own_sealed"]) == ("D", {"c1"}, "k1:token")
    fleet.settle("j1")
    assert_no_trace(fleet)


@pytest.mark.parametrize("status", ["completed", "failed", "moderated"])
def test_a_settled_guest_leaves_no_visit(fleet: Fleet, status: str) -> None:
    bring(fleet, "j1", "A")

    assert fleet.settle("j1", status) == ["ok", status]

    assert_no_trace(fleet)
    assert "own_sealed" not in fleet.record("j1")
    assert fleet.again() == ["ok", status]


def test_a_guest_that_failed_is_tried_again_with_its_own_token(fleet: Fleet) -> None:
    bring(fleet, "j1", "A")

    fleet.settle("j1", "failed", attempts_max=2)

    assert (fleet.state("j1"), fleet.record("j1")["own_sealed"]) == ("R", "k1:token")


# --- limits ------------------------------------------------------------------------------------------------------


def test_three_guests_that_allow_one_job_run_one_after_the_other(fleet: Fleet) -> None:
    for job in ("j1", "j2", "j3"):
        invite(fleet, job, limit=1)
    assert (fleet.used("c1"), fleet.pending("c1")) == (["j1"], ["j2", "j3"])

    fleet.cancel("j1")
    assert (fleet.used("c1"), fleet.pending("c1")) == (["j2"], ["j3"])

    fleet.cancel("j2")
    fleet.cancel("j3")
    assert_no_trace(fleet)


def test_of_a_guests_limit_and_an_accounts_the_smaller_counts(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    for job in ("j1", "j2", "j3"):
        invite(fleet, job, limit=9)
    assert fleet.used("c1") == ["j1", "j2"]

    fleet.put("c1", 9)
    invite(fleet, "j4", limit=3)

    assert (fleet.used("c1"), fleet.pending("c1")) == (["j1", "j2", "j3"], ["j4"])


def test_the_gate_sends_a_guest_back_whose_own_limit_was_passed_meanwhile(fleet: Fleet) -> None:
    fleet.bring("narrow", "C", channel="c1", limit=1, own="token")
    invite(fleet, "wide", limit=2)

    assert fleet.mark_submitting("narrow") == ["pending", "account over its limit"]
    assert (fleet.used("c1"), fleet.pending("c1")) == (["wide"], ["narrow"])


def test_a_refused_guest_is_told_who_runs_and_leaves_nothing(fleet: Fleet) -> None:
    invite(fleet, "j1", limit=1)
    before = snapshot(fleet.store).settled()

    verdict, running = fleet.submit("j2", pin="c1", limit=1, own="other", mode="refuse")

    assert (verdict, running) == ("full", ["j1"])
    assert snapshot(fleet.store).settled() == before


def test_a_guest_on_a_visited_channel_that_cools_is_told_for_how_long(fleet: Fleet) -> None:
    bring(fleet, "j1", "S")
    fleet.handback("j1", cool_ms=60_000)
    fleet.cancel("j1")

    verdict, wait_ms = fleet.submit("j2", pin="c1", limit=1, own="other", mode="refuse")

    assert verdict == "throttled"
    assert 0 < int(wait_ms) <= 75_000
    assert fleet.record("j2") == {}


def test_a_visit_that_cools_keeps_no_other_job_waiting_for_it(fleet: Fleet) -> None:
    fleet.put("c2")
    fleet.submit("j0")
    bring(fleet, "j1", "S")
    fleet.handback("j1", cool_ms=60_000)

    assert fleet.submit("j2", mode="refuse") == ["full", ["j0"]]


# --- the own token -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_registered", [False, True])
def test_claim_and_gate_give_the_own_token_and_server(fleet: Fleet, *, is_registered: bool) -> None:
    if is_registered:
        fleet.put("c1", 2)
    invite(fleet, "j1", limit=1, own="mine")

    *_, account, _ = fleet.claim("j1")
    permitted = fleet.mark_submitting("j1")[2]
    permitted_again = fleet.mark_submitting("j1")[2]

    for told in (account, permitted, permitted_again):
        seen = table(told)
        assert (seen["sealed"], seen["secret_version"]) == ("k1:mine", "v-mine")
        assert (seen["masked"], seen["server"], seen["channel"]) == ("min…", "20", "c1")
    assert fleet.lease("j1")["secret_version"] == "v-mine"


def test_beside_a_guest_the_accounts_own_job_has_the_accounts_token(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    invite(fleet, "j1", own="mine")
    fleet.submit("j2")

    *_, account, _ = fleet.claim("j2")

    assert table(account)["sealed"] == "k1:secret-c1"
    assert fleet.record("j2")["masked"] == "sec…"


@pytest.mark.parametrize("state", ["A", "D", "S", "U"])
def test_whoever_takes_a_guest_over_has_its_token(fleet: Fleet, state: str) -> None:
    bring(fleet, "j1", state)
    fleet.strike_twice("j1")

    *_, account, _ = fleet.claim("j1", execution="e2")

    assert table(account)["sealed"] == "k1:token"


@pytest.mark.parametrize("is_registered", [False, True])
@pytest.mark.parametrize("revive", ["check", "operator"])
def test_a_refused_own_token_ends_its_job_alone(fleet: Fleet, revive: str, *, is_registered: bool) -> None:
    if is_registered:
        fleet.put("c1", 2)
    invite(fleet, "well", limit=2)
    fleet.bring("ill", "S", channel="c1", limit=2, own="dead")

    assert fleet.handback("ill", "401", disable=revive, requeues_max="") == ["failed"]

    assert fleet.status("ill") == "failed"
    assert fleet.record("ill")["error"] == "Its own token was refused: 401"
    assert "own_sealed" not in fleet.record("ill")
    assert (fleet.account("c1")["state"], fleet.state("well")) == ("active", "R")
    assert fleet.again() == ["stale"]


@pytest.mark.parametrize(("cool_ms", "cools"), [(60_000, ""), (0, "said"), (0, "suspected"), (60_000, "held")])
def test_what_holds_an_own_token_up_cools_the_visit_and_no_suspicion_is_spent_on_it(
    fleet: Fleet, cool_ms: int, cools: str
) -> None:
    bring(fleet, "j1", "S")

    assert fleet.handback("j1", cool_ms=cool_ms, cools=cools) == ["pending"]

    assert (fleet.state("j1"), guests(fleet)) == ("P", {"c1"})
    assert int(fleet.account("c1")["cooling_until_ms"]) > fleet.now_ms()
    assert fleet.store.client.zcard(fleet.key("suspected", fleet.pool)) == 0
    fleet.end_cooling("c1")
    fleet.dispatch()
    assert fleet.state("j1") == "R"


@pytest.mark.parametrize(("cool_ms", "cools"), [(60_000, ""), (0, "said"), (0, "suspected"), (60_000, "held")])
def test_what_holds_an_own_token_up_leaves_an_account_with_another_alone(
    fleet: Fleet, cool_ms: int, cools: str
) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S", channel="c1", own="mine")

    assert fleet.handback("j1", cool_ms=cool_ms, cools=cools) == ["pending"]
    fleet.submit("j2")

    assert (fleet.state("j1"), fleet.state("j2")) == ("P", "R")
    assert "cooling_until_ms" not in fleet.account("c1")
    rests_until_ms = int(fleet.record("j1")["rest_until_ms"])
    assert rests_until_ms > fleet.now_ms()
    assert fleet.score(f"{fleet.pool}:c1", "due") == rests_until_ms


def test_a_job_that_rests_alone_is_granted_when_that_is_over(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S", channel="c1", own="mine")
    fleet.handback("j1", cool_ms=60_000)
    invite(fleet, "j2", own="another")
    assert (fleet.state("j1"), fleet.state("j2")) == ("P", "R")

    fleet.store.client.hset(fleet.key("job", "j1"), "rest_until_ms", PAST_MS)
    fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c1": PAST_MS})
    fleet.dispatch()

    assert fleet.state("j1") == "R"


def test_a_rest_is_not_forgotten_where_the_account_cools_and_returns_before(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S", channel="c1", own="mine")
    fleet.handback("j1", cool_ms=600_000)
    rest = int(fleet.record("j1")["rest_until_ms"])
    fleet.submit("j2")
    fleet.claim("j2")
    fleet.mark_submitting("j2")
    fleet.handback("j2", cool_ms=5000)

    fleet.end_cooling("c1")
    fleet.dispatch()

    assert (fleet.state("j2"), fleet.state("j1")) == ("R", "P")
    assert fleet.score(f"{fleet.pool}:c1", "due") == rest


def test_rests_without_a_time_grow(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    lengths = []
    fleet.submit("j1", pin="c1", own="mine")
    for _ in range(3):
        fleet.claim("j1")
        began_ms = fleet.now_ms()
        fleet.handback("j1", cools="suspected", requeues_max="")
        lengths.append(int(fleet.record("j1")["rest_until_ms"]) - began_ms)
        fleet.store.client.hset(fleet.key("job", "j1"), "rest_until_ms", PAST_MS)
        fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c1": PAST_MS})
        fleet.dispatch()

    first_ms = fleet.times.cooling_first_ms
    for times, length in zip((1, 2, 4), lengths, strict=True):
        assert times * first_ms <= length <= times * first_ms * 1.25 + 1000


def test_an_own_token_that_is_the_accounts_very_token_speaks_for_it(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S", channel="c1", own="secret-c1")

    fleet.handback("j1", cool_ms=60_000)

    assert int(fleet.account("c1")["cooling_until_ms"]) > fleet.now_ms()


def test_lost_answers_and_successes_of_an_own_token_are_not_the_accounts(fleet: Fleet) -> None:
    fleet.put("c1", 9)
    fleet.store.client.hset(fleet.key("account", fleet.pool, "c1"), mapping={"unknowns": 2, "cooling_repeats": 3})
    fleet.bring("j1", "U", channel="c1", own="mine")
    fleet.mark_accepted("j1")
    fleet.settle("j1", known="A")
    fleet.bring("j2", "A", channel="c1", own="mine")

    assert (fleet.account("c1")["unknowns"], fleet.account("c1")["cooling_repeats"]) == ("2", "3")
    fleet.settle("j2", known="A")
    assert (fleet.account("c1")["unknowns"], fleet.account("c1")["cooling_repeats"]) == ("2", "3")


# --- what a visit remembers --------------------------------------------------------------------------------------


def test_a_visit_that_cools_is_remembered_until_that_is_over(fleet: Fleet, others: Fleet) -> None:
    bring(fleet, "j1", "S")
    fleet.handback("j1", cool_ms=60_000)
    fleet.cancel("j1")
    assert guests(fleet) == {"c1"}

    invite(fleet, "j2")
    assert fleet.state("j2") == "P"
    assert invite(others, "theirs") == "foreign"

    fleet.cancel("j2")
    fleet.end_cooling("c1")
    fleet.dispatch()
    assert_no_trace(fleet)
    assert invite(others, "theirs") == "created"


def test_the_distance_between_submissions_is_kept_over_visits(fleet: Fleet) -> None:
    invite(fleet, "j1")
    fleet.claim("j1")
    fleet.mark_submitting("j1", min_interval_ms=50_000)
    fleet.cancel("j1", at_once=True)

    invite(fleet, "j2")
    fleet.claim("j2")

    verdict, wait_ms = fleet.mark_submitting("j2", min_interval_ms=50_000)
    assert (verdict, 40_000 < int(wait_ms) <= 50_000) == ("wait", True)
    fleet.cancel("j2")
    assert guests(fleet) == {"c1"}


def test_the_daily_count_is_kept_over_visits(fleet: Fleet) -> None:
    for job in ("j1", "j2"):
        invite(fleet, job)
        fleet.claim(job)
        assert fleet.mark_submitting(job, daily_cap=2)[0] == "ok"
        fleet.cancel(job, at_once=True)
    assert guests(fleet) == {"c1"}

    invite(fleet, "j3")
    fleet.claim("j3")

    assert fleet.mark_submitting("j3", daily_cap=2) == ["pending", "account at its daily cap"]
    assert fleet.account("c1")["cooling_cause"] == "capped"


# --- two users ---------------------------------------------------------------------------------------------------


def test_while_a_visit_lasts_the_channel_is_no_other_users(fleet: Fleet, others: Fleet) -> None:
    invite(fleet, "j1")

    assert invite(others, "theirs") == "foreign"
    assert others.put("c1") == ["foreign"]
    assert (others.record("theirs"), guests(others)) == ({}, set())

    fleet.cancel("j1")
    assert invite(others, "theirs") == "created"


def test_another_users_account_takes_no_guest(fleet: Fleet, others: Fleet) -> None:
    others.put("c1")

    assert invite(fleet, "j1", mode="refuse") == "foreign"
    assert fleet.listed() == []


# --- accounts that come and go -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", STATES)
def test_a_channel_registered_meanwhile_becomes_an_account(fleet: Fleet, state: str) -> None:
    bring(fleet, "j1", state)
    used = fleet.used("c1")

    assert fleet.put("c1", 2) == ["created", "v-secret-c1"]

    assert (guests(fleet), "visit" in fleet.account("c1")) == (set(), False)
    assert fleet.used("c1") == used
    assert fleet.record("j1")["own_sealed"] == "k1:token"
    fleet.submit("j2")
    assert fleet.channel("j2") == "c1"
    for job in ("before", "j1", "j2"):
        if fleet.status(job):
            fleet.cancel(job, at_once=True)
    assert fleet.account("c1")["state"] == "active"


def test_a_registration_keeps_what_limits_the_channel(fleet: Fleet) -> None:
    bring(fleet, "j1", "S")
    fleet.handback("j1", cool_ms=60_000)

    fleet.put("c1", 2)
    fleet.submit("j2")

    assert fleet.state("j2") == "P"
    assert fleet.free() == []


@pytest.mark.parametrize("state", STATES)
def test_guests_go_on_where_the_account_is_removed_and_jobs_without_a_token_fail(fleet: Fleet, state: str) -> None:
    fleet.put("c1", 1 if state == "P" else 2)
    if state == "P":
        fleet.submit("before", pin="c1")
    fleet.bring("j1", state, channel="c1", own="token")
    if state != "P":
        fleet.submit("before", pin="c1")
    fleet.submit("behind", pin="c1")

    assert fleet.remove("c1") == ["ok", "0"]

    assert fleet.status("behind") == "failed"
    assert (guests(fleet), fleet.account("c1")["visit"]) == ({"c1"}, "1")
    fleet.dispatch()
    assert fleet.state("j1") == ("R" if state == "P" else state)
    assert fleet.remove("c1") == ["missing"]
    fleet.cancel("before")
    if state != "D":
        fleet.cancel("j1", at_once=True)
    else:
        fleet.settle("j1")
    assert_no_trace(fleet)


def test_the_removed_accounts_secret_goes_with_its_last_job(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("old", "A", channel="c1")
    invite(fleet, "j1")
    fleet.remove("c1")
    invite(fleet, "j2")
    assert fleet.account("c1")["sealed"] == "k1:secret-c1"

    fleet.settle("old")

    assert (fleet.account("c1")["sealed"], guests(fleet)) == ("", {"c1"})


def test_the_gate_sends_a_removed_accounts_own_job_back(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("pinned", "C", channel="c1")
    invite(fleet, "j1")
    fleet.remove("c1")

    assert fleet.mark_submitting("pinned") == ["pending", "account deleted"]
    assert fleet.status("pinned") == "failed"


@pytest.mark.parametrize("revive", ["check", "operator"])
def test_an_account_that_was_disabled_for_its_own_token_takes_guests_alone(fleet: Fleet, revive: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("ill", "S", channel="c1")
    invite(fleet, "waits", limit=1)
    fleet.handback("ill", "401", disable=revive, known="S")

    fleet.submit("j2")

    assert (fleet.account("c1")["state"], fleet.free()) == ("disabled", [])
    assert [fleet.state(job) for job in ("ill", "waits", "j2")] == ["P", "R", "P"]
    fleet.claim("waits")
    assert fleet.mark_submitting("waits")[0] == "ok"
    assert invite(fleet, "full", limit=1, mode="refuse") == "full"
    assert fleet.submit("j3", pin="c1", mode="refuse") == ["unusable"]


@pytest.mark.parametrize("state", ["paused", "draining", "disabled"])
def test_an_account_that_its_operator_stopped_takes_no_guest(fleet: Fleet, state: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("holds", "A", channel="c1")
    fleet.stand("c1", state)

    assert invite(fleet, "j1", mode="refuse") == "unusable"
    invite(fleet, "j2")
    assert fleet.state("j2") == "P"


def test_a_refusal_of_a_removed_accounts_token_stops_no_visit(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("old", "S", channel="c1")
    invite(fleet, "j1", limit=2)
    fleet.remove("c1")

    assert fleet.handback("old", "401", disable=True, known="S", requeues_max="") == ["failed"]

    assert (fleet.account("c1")["state"], fleet.store.client.exists(fleet.key("checks"))) == ("active", 0)


def test_a_paused_account_that_is_removed_lets_its_guests_go_on(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    invite(fleet, "j1")
    assert fleet.state("j1") == "P"

    fleet.remove("c1")
    fleet.dispatch()

    assert fleet.state("j1") == "R"


def test_a_guest_comes_to_a_removed_account_that_drains_and_old_jobs_count(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("old", "A", channel="c1")
    fleet.remove("c1")

    invite(fleet, "narrow", limit=1)
    invite(fleet, "wide", limit=2)

    assert (fleet.state("narrow"), fleet.state("wide"), guests(fleet)) == ("P", "R", {"c1"})
    fleet.cancel("wide")
    fleet.settle("old")
    assert fleet.state("narrow") == "R"


def test_among_many_pinned_jobs_all_without_a_token_fail_and_all_guests_go_on(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    for index in range(150):
        invite(fleet, f"guest-{index}", limit=1)
        fleet.submit(f"other-{index}", pin="c1")

    told = fleet.remove("c1")
    assert told == ["ok", "1"]
    while fleet.reap()[3]:
        pass

    assert {fleet.status(f"other-{index}") for index in range(150)} == {"failed"}
    assert not fleet.store.client.exists(fleet.key("orphaned"))
    fleet.dispatch()
    assert (len(fleet.pending("c1")), fleet.used("c1")) == (149, ["guest-0"])


# --- who dies, and what is lost ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ADMITTED)
def test_a_dead_owners_guest_is_redelivered_and_its_visit_lasts(fleet: Fleet, state: str) -> None:
    bring(fleet, "j1", state)
    if state == "R":
        fleet.lose("j1")

    assert fleet.strike_twice("j1")[0] == 1

    assert guests(fleet) == {"c1"}


@pytest.mark.parametrize("state", ["P", "R", "C"])
def test_a_guest_whose_time_is_up_leaves_no_visit(fleet: Fleet, state: str) -> None:
    if state == "P":
        invite(fleet, "before", limit=1)
    fleet.bring("j1", state, channel="c1", limit=1, deadline_ms=60_000, own="token")
    fleet.pass_deadline("j1")

    fleet.reap()

    assert (fleet.status("j1"), "own_sealed" in fleet.record("j1")) == ("failed", False)
    fleet.cancel("before")
    assert_no_trace(fleet)


def test_a_guest_that_is_held_too_long_is_forced_free_and_leaves_no_visit(fleet: Fleet) -> None:
    bring(fleet, "j1", "D")
    fleet.pass_deadline("j1")

    assert fleet.reap()[2] == 1

    assert_no_trace(fleet)
    assert "own_sealed" not in fleet.record("j1")


@pytest.mark.parametrize("state", ["C", "S", "U", "A", "D"])
def test_an_owner_tells_a_store_that_lost_all_of_it_and_the_visit_is_there_again(fleet: Fleet, state: str) -> None:
    before = keep(fleet.store)
    bring(fleet, "j1", state)
    held = holding(fleet, "j1")
    put_back(fleet.store, before)

    assert reassert(fleet, held) == ["ok", state]

    assert (guests(fleet), fleet.used("c1")) == ({"c1"}, ["j1"])
    assert fleet.record("j1")["own_sealed"] == "k1:token"
    assert fleet.submit("j2", pin="c1") == ["no_account"]
    assert not breaches(snapshot(fleet.store), lost=fleet.lost)


def test_an_owner_of_a_guest_that_was_cancelled_in_what_is_left_keeps_its_token(fleet: Fleet) -> None:
    invite(fleet, "before", limit=1)
    fleet.submit("j1", pin="c1", limit=1, own="token")
    before = keep(fleet.store)
    fleet.cancel("before")
    for step in (fleet.claim, fleet.mark_submitting, fleet.mark_accepted):
        step("j1")
    held = holding(fleet, "j1")
    put_back(fleet.store, before)
    fleet.cancel("j1")
    fleet.cancel("before")
    assert "own_sealed" not in fleet.record("j1")

    assert reassert(fleet, held) == ["ok", "D"]

    assert (fleet.record("j1")["own_sealed"], guests(fleet)) == ("k1:token", {"c1"})
    fleet.settle("j1", known="A")
    assert_no_trace(fleet)


@pytest.mark.parametrize("state", ["C", "A"])
def test_a_guest_that_is_told_again_takes_no_channel_from_who_registered_it_since(
    fleet: Fleet, others: Fleet, state: str
) -> None:
    before = keep(fleet.store)
    bring(fleet, "j1", state)
    held = holding(fleet, "j1")
    put_back(fleet.store, before)
    others.put("c1")

    assert reassert(fleet, held) == ["ok", state]

    assert (fleet.hash("channels"), guests(fleet)) == ({"c1": others.pool}, set())
    assert (fleet.used("c1"), others.account("c1")["state"]) == (["j1"], "active")
    if state == "A":
        fleet.settle("j1", known=state)
    else:
        assert fleet.handback("j1", known=state) == ["failed"]
    assert "own_sealed" not in fleet.record("j1")


def test_a_submission_repeated_changes_nothing(fleet: Fleet) -> None:
    invite(fleet, "j1")

    verdict, record = fleet.again_changes_nothing()

    assert (verdict, table(record)["id"]) == ("exists", "j1")
