"""handback: a definite refusal sends the job back to its place; the account cools or stops."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


@pytest.mark.parametrize("state", ["C", "S", "A"])
def test_a_refused_job_returns_to_its_place(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    assert fleet.handback("j1", "429", cool_ms=60_000) == ["pending"]
    assert (fleet.pending(), fleet.status("j1"), fleet.used("c1")) == (["j1", "j2"], "created", [])
    assert (fleet.record("j1")["refused_by"], fleet.record("j1")["requeues"]) == ("c1", "1")
    assert fleet.again_changes_nothing() == ["stale"]


def test_a_refused_job_goes_on_elsewhere_in_the_same_step(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.put("c2")

    assert fleet.handback("j1", cool_ms=60_000) == ["pending"]
    assert fleet.channel("j1") == "c2"


def test_a_refused_pinned_job_waits_for_its_own_account(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")
    fleet.bring("j1", "S", channel="c1")

    fleet.handback("j1", cool_ms=60_000)

    assert (fleet.pending("c1"), fleet.free()) == (["j1"], ["c2"])


def test_an_unknown_submission_comes_back_only_if_it_was_never_sent(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "U")

    assert fleet.handback("j1") == ["stale"]
    assert fleet.state("j1") == "U"
    assert fleet.handback("j1", never_sent=True, cool_ms=60_000) == ["pending"]
    assert (fleet.state("j1"), fleet.submitting("c1")) == ("P", [])


def test_a_draining_job_that_was_refused_frees_its_slot(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "D")
    fleet.submit("j2")

    assert fleet.handback("j1") == ["ok", "cancelled"]
    assert (fleet.state("j1"), fleet.state("j2")) == ("F", "R")
    assert fleet.again_changes_nothing() == ["stale"]


def test_nobody_hands_back_what_is_over(fleet: Fleet) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "F")

    assert fleet.handback("j1", token=token) == ["stale"]
    assert fleet.state("j1") == "F"


def test_an_old_token_hands_nothing_back(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "A")
    fleet.yield_("j1")

    assert fleet.handback("j1", token=old, disable=True, cool_ms=60_000) == ["stale"]
    assert (fleet.state("j1"), fleet.account("c1")["state"]) == ("A", "active")
    fleet.again_changes_nothing()


@pytest.mark.parametrize("state", ["C", "S", "A"])
def test_refused_too_often_the_job_fails(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.store.client.hset(fleet.key("job", "j1"), "requeues", 2)

    assert fleet.handback("j1", "429", requeues_max=2) == ["failed"]
    assert (fleet.status("j1"), fleet.used("c1"), fleet.free()) == ("failed", [], ["c1"])
    assert fleet.record("j1")["error"] == "Refused 3 times, last by c1: 429"
    assert fleet.again_changes_nothing() == ["stale"]


def test_the_last_return_that_is_allowed_is_a_return(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert fleet.handback("j1", requeues_max=1) == ["pending"]
    fleet.claim("j1")
    assert fleet.handback("j1", requeues_max=1) == ["failed"]


def test_an_uncounted_return_costs_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert fleet.handback("j1", requeues_max="") == ["pending"]
    assert (fleet.record("j1")["requeues"], "refused_by" in fleet.record("j1")) == ("0", False)


def test_who_refused_is_remembered_in_order(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)
    fleet.put("c2")
    fleet.claim("j1")

    fleet.handback("j1", cool_ms=60_000)

    assert fleet.record("j1")["refused_by"] == "c1 c2"


def test_the_account_cools_and_is_due_again(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    before_ms = fleet.now_ms()

    fleet.handback("j1", cool_ms=60_000)

    until_ms = int(fleet.account("c1")["cooling_until_ms"])
    assert until_ms >= before_ms + 60_000
    assert (fleet.score(f"{fleet.pool}:c1", "due"), fleet.free()) == (until_ms, [])


def test_a_cooling_is_only_ever_extended(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.handback("j1", cool_ms=600_000)
    until_ms = fleet.account("c1")["cooling_until_ms"]

    fleet.handback("j2", cool_ms=1000)

    assert fleet.account("c1")["cooling_until_ms"] == until_ms
    assert fleet.score(f"{fleet.pool}:c1", "due") == int(until_ms)


def test_a_refused_account_is_disabled_with_the_reason(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")

    assert fleet.handback("j1", "401 Unauthorized", disable=True, requeues_max="") == ["pending"]
    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"]) == ("disabled", "401 Unauthorized")
    assert (fleet.pending(), fleet.free()) == (["j1"], [])


def test_a_paused_account_stays_its_owners(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.stand("c1", "paused", "holiday")

    fleet.handback("j1", "401", disable=True)

    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"]) == ("paused", "holiday")


def test_a_job_pinned_to_an_account_deleted_meanwhile_fails(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A", channel="c1")
    fleet.remove("c1")

    assert fleet.handback("j1", cool_ms=60_000) == ["failed"]
    assert (fleet.status("j1"), fleet.account("c1")) == ("failed", {})


def test_the_deadline_of_the_wait_is_watched_again(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A", deadline_ms=500_000)
    fleet.bring("j2", "A")

    fleet.handback("j1", cool_ms=60_000)
    fleet.handback("j2", cool_ms=60_000)

    assert fleet.score("j1", "deadlines") == int(fleet.record("j1")["pending_deadline_ms"])
    assert fleet.score("j2", "deadlines") is None


def test_an_upstreams_words_stay_one_line_of_history(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    fleet.handback("j1", "too many\njobs\r\n\tnow", cool_ms=60_000)

    assert fleet.history("j1")[-1] == "returned too many jobs   now"


def test_history_keeps_the_last_32_lines(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    for _ in range(20):
        fleet.handback("j1", requeues_max="")
        fleet.claim("j1")

    lines = fleet.history("j1")

    assert len(lines) == 32
    assert (lines[-1], "accepted" in lines) == ("claimed C", False)


def test_a_refused_run_keeps_its_remote_id_so_that_the_next_run_is_not_taken_for_it(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.mark_submitting("j1")
    fleet.mark_accepted("j1", "remote-1")
    fleet.handback("j1")

    fleet.bring("j1", "C")
    fleet.mark_submitting("j1")

    assert fleet.mark_accepted("j1", "remote-1") == ["claimed", "refused"]
    assert fleet.mark_accepted("j1", "remote-2") == ["ok", "A"]


def test_a_job_makes_three_accounts_cool_and_no_further_one(fleet: Fleet) -> None:
    """One bad prompt must not cool the pool."""
    fleet.put("c0")
    fleet.bring("j1", "C")
    for index in range(1, 4):
        fleet.handback("j1", cools="said")
        fleet.put(f"c{index}")
        fleet.claim("j1")
    for _ in range(2):
        fleet.handback("j1", cools="said")
        fleet.claim("j1")

    assert fleet.record("j1")["refused_by"] == "c0 c1 c2 c3 c3"
    assert ["cooling_repeats" in fleet.account(f"c{index}") for index in range(4)] == [True, True, True, False]


def test_who_refused_the_job_first_may_cool_for_it_again(fleet: Fleet) -> None:
    """An account that stands alone rests ever longer, instead of refusing twenty times in a row."""
    fleet.put("c1")
    fleet.submit("j1")
    for _ in range(5):
        fleet.end_cooling("c1")
        fleet.dispatch()
        while fleet.now_ms() <= int(fleet.account("c1").get("cooling_began_ms", 0)):
            pass
        fleet.claim("j1")
        fleet.mark_submitting("j1")
        fleet.handback("j1", cools="said")

    assert fleet.account("c1")["cooling_repeats"] == "5"


def test_what_the_upstream_asked_for_is_kept_whoever_was_refused(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.store.client.hset(fleet.key("job", "j1"), "refused_by", "c7 c8 c9 c7")

    fleet.handback("j1", cool_ms=60_000, cools="said")

    assert fleet.account("c1")["cooling_cause"] == "asked"


def test_an_uncounted_refusal_cools_whatever_the_job_went_through(fleet: Fleet) -> None:
    """Nothing else bounds how often it comes back."""
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.store.client.hset(fleet.key("job", "j1"), "refused_by", "c7 c8 c9")

    fleet.handback("j1", cools="suspected", requeues_max="")

    assert fleet.account("c1")["cooling_cause"] == "suspected"


def test_a_draining_account_that_is_refused_is_paused_with_the_reason(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.bring("j2", "C")
    fleet.stand("c1", "draining")

    fleet.handback("j1", "401", disable=True)

    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"]) == ("paused", "401")
    assert fleet.mark_submitting("j2") == ["pending", "account paused"]


def test_an_account_that_its_owner_disabled_keeps_his_reason(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.stand("c1", "disabled", "by hand")

    fleet.handback("j1", "captcha", disable="operator")

    assert (fleet.account("c1")["reason"], fleet.account("c1")["revive"]) == ("by hand", "")


@pytest.mark.parametrize("state", ["C", "S"])
def test_a_token_replaced_since_does_not_pay_for_the_one_that_was_refused(fleet: Fleet, state: str) -> None:
    fleet.put("c1", secret="old")
    fleet.bring("j1", state)
    fleet.put("c1", secret="new")

    assert fleet.handback("j1", "401", disable=True, requeues_max="") == ["pending"]

    assert (fleet.account("c1")["state"], fleet.state("j1")) == ("active", "R")


def test_a_token_replaced_between_claim_and_permission_is_judged_by_what_it_was_sent_with(fleet: Fleet) -> None:
    fleet.put("c1", secret="old")
    fleet.bring("j1", "C")
    fleet.put("c1", secret="new")
    fleet.mark_submitting("j1")

    fleet.handback("j1", "401", disable=True)

    assert fleet.account("c1")["state"] == "disabled"


@pytest.mark.parametrize("state", ["C", "S", "U", "A"])
def test_where_no_return_is_allowed_the_first_refusal_ends_the_job(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    fleet.submit("j2")

    assert fleet.handback("j1", "busy", requeues_max=0, never_sent=True) == ["failed"]
    assert (fleet.state("j1"), fleet.status("j1"), fleet.state("j2")) == ("F", "failed", "R")
    assert fleet.record("j1")["error"] == "Refused 1 times, last by c1: busy"


def test_returns_that_are_not_counted_never_end_a_job(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    for _ in range(30):
        assert fleet.handback("j1", requeues_max="") == ["pending"]
        fleet.claim("j1")

    assert fleet.record("j1")["requeues"] == "0"
    assert fleet.handback("j1", requeues_max=1) == ["pending"]


def test_an_account_whose_calls_may_not_leave_rests_and_nothing_is_held_against_it(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")

    assert fleet.handback("j1", "the address is closed", cool_ms=60_000, cools="held", requeues_max="") == ["pending"]

    account = fleet.account("c1")
    assert (account["state"], account["cooling_cause"], account["cooling_reason"]) == (
        *("active", "held"),
        "the address is closed",
    )
    assert not {"cooling_repeats", "cooling_began_ms"} & account.keys()
    assert 59_000 < int(account["cooling_until_ms"]) - fleet.now_ms() <= 75_000
    assert (fleet.state("j1"), fleet.record("j1")["requeues"], fleet.free()) == ("P", "0", [])
    fleet.again_changes_nothing()


def test_a_rest_of_that_kind_shortens_no_other(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.handback("j1", "429", cool_ms=600_000)

    fleet.handback("j2", "held", cool_ms=60_000, cools="held", requeues_max="")

    assert (fleet.account("c1")["cooling_cause"], fleet.account("c1")["cooling_repeats"]) == ("asked", "1")


def test_what_was_never_sent_because_its_call_was_held_is_no_answer(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "U")
    fleet.settle("j1", "failed")
    fleet.bring("j2", "S")

    fleet.handback("j2", "held", cool_ms=60_000, cools="held", requeues_max="", never_sent=True)

    assert fleet.account("c1")["unknowns"] == "1"
