"""reap: take back what dead owners left, and end what is over its time."""

from __future__ import annotations

import pytest

from tests.support.fleet import FAR_MS, PAST_MS, Fleet


def test_nothing_to_do_is_told(fleet: Fleet) -> None:
    assert fleet.reap() == [0, 0, 0, 0]


@pytest.mark.parametrize("state", ["R", "C", "S", "U", "A", "D"])
def test_the_first_strike_only_suspects(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", state)
    fleet.expire("j1")
    before_ms = fleet.now_ms()

    assert fleet.reap() == [0, 0, 0, 0]
    assert (fleet.state("j1"), fleet.token("j1"), "suspect" in fleet.lease("j1")) == (state, token, True)
    second_ms = fleet.score("j1", "expiry")
    assert second_ms is not None
    assert second_ms >= before_ms + fleet.times.strike_ms
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]


@pytest.mark.parametrize(("state", "becomes"), [("C", "R"), ("S", "U"), ("U", "U"), ("A", "A"), ("D", "D")])
def test_the_second_strike_redelivers_with_a_new_token(fleet: Fleet, state: str, becomes: str) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", state)

    assert fleet.strike_twice("j1") == [1, 0, 0, 0]
    lease = fleet.lease("j1")
    assert (lease["state"], lease["execution"], "suspect" in lease) == (becomes, "", False)
    assert int(lease["token"]) > int(old)
    assert fleet.queue()[0] == f"j1-{lease['token']}"
    assert (fleet.used("c1"), fleet.record("j1")["redeliveries"]) == (["j1"], "1")
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]


def test_a_renewal_between_the_strikes_clears_them(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    fleet.expire("j1")
    fleet.reap()
    fleet.renew("j1")
    fleet.expire("j1")

    assert fleet.reap() == [0, 0, 0, 0]
    assert fleet.token("j1") == token


def test_a_delivery_still_queued_is_extended_not_pushed_again(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "R")

    for _ in range(10):
        assert fleet.strike_twice("j1") == [0, 0, 0, 0]

    assert fleet.queue() == [f"j1-{token}"]
    expires_ms = fleet.score("j1", "expiry")
    assert expires_ms is not None
    assert expires_ms > fleet.now_ms()
    assert fleet.record("j1")["redeliveries"] == "0"


def test_an_id_lost_on_its_way_to_a_worker_is_minted_anew(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "R")
    fleet.store.client.lmove(fleet.queue_key, f"{fleet.queue_key}:intermediate")

    assert fleet.strike_twice("j1") == [1, 0, 0, 0]
    assert fleet.queue() == [f"j1-{fleet.token('j1')}"]
    assert fleet.token("j1") != old
    assert fleet.store.client.llen(f"{fleet.queue_key}:intermediate") == 0


@pytest.mark.parametrize(("state", "becomes"), [("C", "F"), ("S", "D"), ("U", "D"), ("A", "D")])
def test_the_sixth_owner_in_a_row_that_dies_at_once_ends_the_job(fleet: Fleet, state: str, becomes: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("waits")
    for _ in range(5):
        assert fleet.die_after("j1", 0) == [1, 0, 0, 0]
        fleet.claim("j1")

    assert fleet.die_after("j1", 4999) == [0, 1, 0, 0]
    assert (fleet.state("j1"), fleet.status("j1")) == (becomes, "failed")
    assert fleet.record("j1")["error"] == "Its worker died 6 times in a row"
    assert (fleet.state("waits"), fleet.score("j1", "expiry")) == ("R" if becomes == "F" else "P", None)
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]


@pytest.mark.parametrize("state", ["S", "U", "A", "D"])
def test_the_death_of_an_owner_who_lived_with_a_submitted_job_is_not_its_doing(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.store.client.hset(fleet.key("job", "j1"), "redeliveries", 5)

    for _ in range(10):
        assert fleet.die_after("j1", 5000) == [1, 0, 0, 0]
        fleet.claim("j1")

    assert fleet.record("j1")["redeliveries"] == "0"
    assert fleet.state("j1") == ("U" if state == "S" else state)


def test_every_death_counts_before_the_submission_however_long_the_owner_lived(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    for _ in range(5):
        fleet.die_after("j1", FAR_MS)
        fleet.claim("j1")

    assert fleet.die_after("j1", FAR_MS) == [0, 1, 0, 0]
    assert fleet.status("j1") == "failed"


def test_how_long_an_owner_lived_is_counted_to_his_last_renewal(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    claimed_ms = int(fleet.lease("j1")["claimed_ms"])
    fleet.renew("j1")
    heard_ms = (fleet.score("j1", "expiry") or 0) - fleet.times.ttl_ms

    assert claimed_ms <= heard_ms <= fleet.now_ms()
    expired_ms = fleet.now_ms() - 1
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": expired_ms})
    fleet.reap()
    assert fleet.lease("j1")["heard_ms"] == str(expired_ms - fleet.times.ttl_ms)


def test_a_first_strike_that_was_given_elsewhere_counts_as_a_death_at_once(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("lease", "j1"), "suspect", fleet.now_ms())
    fleet.expire("j1")

    assert fleet.reap() == [1, 0, 0, 0]
    assert fleet.record("j1")["redeliveries"] == "1"


def test_each_owner_is_counted_from_his_own_claim(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("lease", "j1"), "claimed_ms", PAST_MS)
    fleet.strike_twice("j1")

    before_ms = fleet.now_ms()
    fleet.claim("j1")

    assert int(fleet.lease("j1")["claimed_ms"]) >= before_ms
    assert fleet.claim("j1")[0] == "same"


@pytest.mark.parametrize("state", ["R", "C", "U", "A", "D"])
def test_an_id_lost_before_anybody_took_it_up_counts_against_nobody(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    if state != "R":
        fleet.yield_("j1")

    for _ in range(8):
        fleet.lose("j1")
        assert fleet.strike_twice("j1") == [1, 0, 0, 0]

    assert fleet.record("j1")["redeliveries"] == "0"
    assert fleet.queue()[0] == f"j1-{fleet.token('j1')}"


@pytest.mark.parametrize("state", ["U", "A", "D"])
def test_while_every_worker_is_away_a_submitted_job_waits_in_the_queue(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.strike_twice("j1")
    token = fleet.token("j1")

    for _ in range(10):
        assert fleet.strike_twice("j1") == [0, 0, 0, 0]

    assert (fleet.queue()[0], fleet.token("j1"), fleet.state("j1")) == (f"j1-{token}", token, state)
    assert fleet.claim("j1")[0] == {"U": "lookup", "A": "adopt", "D": "watch"}[state]


def test_a_poisoned_draining_job_is_held_until_its_time(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")
    fleet.store.client.hset(fleet.key("job", "j1"), "redeliveries", 5)

    assert fleet.strike_twice("j1") == [0, 0, 0, 0]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.queue()) == ("D", "cancelled", [fleet.queue()[0]])

    fleet.pass_deadline("j1")
    assert fleet.reap() == [0, 0, 1, 0]
    assert fleet.used("c1") == []


def test_the_fifth_redelivery_is_still_one(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("job", "j1"), "redeliveries", 4)

    assert fleet.strike_twice("j1") == [1, 0, 0, 0]


@pytest.mark.parametrize("pin", ["", "c1"])
def test_a_waiting_job_over_its_deadline_fails(fleet: Fleet, pin: str) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    fleet.submit("j1", pin=pin, deadline_ms=FAR_MS)
    fleet.pass_deadline("j1")

    assert fleet.reap() == [0, 1, 0, 0]
    assert (fleet.status("j1"), fleet.pending(pin)) == ("failed", [])
    assert fleet.record("j1")["error"] == "No account took the job before its deadline"
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]


@pytest.mark.parametrize("state", ["R", "C"])
def test_a_job_never_submitted_over_its_deadline_frees_its_slot(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state, deadline_ms=FAR_MS)
    fleet.submit("j2")
    fleet.pass_deadline("j1")

    assert fleet.reap() == [0, 1, 0, 0]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.state("j2")) == ("F", "failed", "R")


def test_a_clock_that_jumped_over_lease_and_deadline_at_once_takes_nobodys_grace(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.expire("j1")
    fleet.pass_deadline("j1")

    assert fleet.reap() == [0, 0, 0, 0]
    assert fleet.renew("j1") == ["ok"]
    assert fleet.status("j1") == "started"


@pytest.mark.parametrize("state", ["P", "R", "C"])
def test_the_longest_wait_ends_what_was_not_submitted(fleet: Fleet, state: str) -> None:
    fleet.submit("j1", max_wait_ms=FAR_MS)
    if state != "P":
        fleet.put("c1")
    if state == "C":
        fleet.claim("j1")
    assert fleet.state("j1") == state
    fleet.pass_deadline("j1")

    assert fleet.reap() == [0, 1, 0, 0]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.pending()) == ("F", "failed", [])


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_the_longest_wait_does_not_end_what_was_submitted(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.submit("j1", max_wait_ms=1000)
    fleet.claim("j1")
    fleet.mark_submitting("j1")
    if state != "S":
        (fleet.mark_unknown if state == "U" else fleet.mark_accepted)("j1")

    assert fleet.score("j1", "deadlines") == int(fleet.lease("j1")["deadline_ms"])


@pytest.mark.parametrize("state", ["S", "U", "A"])
def test_a_submitted_job_over_its_deadline_has_30_s_of_grace_then_drains(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")
    fleet.pass_deadline("j1")
    before_ms = fleet.now_ms()

    assert fleet.reap() == [0, 0, 0, 0]
    graced_ms = fleet.score("j1", "deadlines")
    assert graced_ms is not None
    assert graced_ms >= before_ms + fleet.times.grace_ms
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]

    fleet.pass_deadline("j1")
    assert fleet.reap() == [0, 1, 0, 0]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.state("j2")) == ("D", "failed", "P")
    assert fleet.score("j1", "deadlines") == int(fleet.lease("j1")["deadline_ms"]) + fleet.times.hold_ms
    assert fleet.again_changes_nothing() == [0, 0, 0, 0]


def test_a_late_end_is_held_from_the_moment_it_was_given_up(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("lease", "j1"), "deadline_ms", PAST_MS)
    fleet.pass_deadline("j1")
    fleet.reap()
    before_ms = fleet.now_ms()
    fleet.pass_deadline("j1")

    fleet.reap()

    held_until_ms = fleet.score("j1", "deadlines")
    assert held_until_ms is not None
    assert held_until_ms >= before_ms + fleet.times.hold_ms


def test_a_draining_slot_is_forced_free_when_the_hold_is_over(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "D")
    fleet.submit("j2")
    fleet.pass_deadline("j1")

    assert fleet.reap() == [0, 0, 1, 0]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.state("j2")) == ("F", "cancelled", "R")
    assert fleet.settle("j1", token=token) == ["stale"]


def test_more_says_that_there_is_more(fleet: Fleet) -> None:
    for index in range(130):
        fleet.submit(f"j{index}", deadline_ms=FAR_MS)
        fleet.pass_deadline(f"j{index}")

    assert (fleet.reap(), fleet.reap()) == ([0, 128, 0, 1], [0, 2, 0, 0])


def test_an_expiry_that_lost_its_lease_is_dropped(fleet: Fleet) -> None:
    fleet.store.client.zadd(fleet.key("expiry"), {"ghost": PAST_MS})

    assert fleet.reap() == [0, 0, 0, 0]
    assert fleet.score("ghost", "expiry") is None


def test_the_wait_behind_32_that_fit_nowhere_ends_when_one_is_given_up(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1")
    for index in range(32):
        fleet.submit(f"narrow-{index}", limit=1, deadline_ms=FAR_MS)
    fleet.submit("wide")
    fleet.pass_deadline("narrow-3")

    fleet.reap()

    assert fleet.channel("wide") == "c1"
