"""mark S: the only permission to submit."""

from __future__ import annotations

import pytest

from dispatcher.replies import table
from tests.support.fleet import FAR_MS, PAST_MS, Fleet


def test_an_open_gate_permits_and_hands_the_account_as_it_stands(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.put("c1", secret="newer")

    verdict, submitted_ms, account = fleet.mark_submitting("j1")

    assert verdict == "ok"
    assert table(account)["sealed"] == "k1:newer"
    lease = fleet.lease("j1")
    assert (lease["state"], lease["submitted_ms"], lease["secret_version"]) == ("S", submitted_ms, "v-newer")
    assert int(lease["deadline_ms"]) == int(submitted_ms) + FAR_MS


def test_a_job_in_s_is_permitted_with_its_first_instant(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    first = fleet.lease("j1")["submitted_ms"]

    assert fleet.again_changes_nothing()[:2] == ["ok", first]
    assert fleet.record("j1")["attempts"] == "0"


@pytest.mark.parametrize(("upstream_ms", "kept"), [(1_700_000_009_000, "1700000009000"), ("", None)])
def test_a_permission_that_is_asked_for_again_is_looked_up_by_its_last_answer(
    fleet: Fleet, upstream_ms: int | str, kept: str | None
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.put("c1", secret="newer")

    assert fleet.mark_submitting("j1", upstream_ms=upstream_ms)[0] == "ok"

    lease = fleet.lease("j1")
    assert lease.get("upstream_ms") == kept
    assert (lease["upstream_user"], lease["secret_version"]) == ("user-7", "v-newer")


@pytest.mark.parametrize("state", ["U", "A", "D", "F", "P"])
def test_no_other_state_may_submit(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    if state == "P":
        fleet.stand("c1", "paused")
    token = fleet.bring("j1", state)

    assert fleet.mark_submitting("j1", token=token) == ["stale"]
    assert fleet.state("j1") == state
    fleet.again_changes_nothing()


def test_an_old_token_may_not_submit(fleet: Fleet) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "C")
    fleet.yield_("j1")
    fleet.claim("j1", execution="e2")

    assert fleet.mark_submitting("j1", token=old) == ["stale"]
    assert fleet.state("j1") == "C"


@pytest.mark.parametrize(("unanswered", "wait_ms"), [("S", "100"), ("U", "1000")])
def test_while_a_submission_of_the_channel_is_unanswered_others_wait(
    fleet: Fleet, unanswered: str, wait_ms: str
) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", unanswered)
    fleet.bring("j2", "C")

    assert fleet.mark_submitting("j2") == ["wait", wait_ms]
    assert fleet.state("j2") == "C"
    fleet.again_changes_nothing()


def test_as_whom_it_is_submitted_is_kept_for_a_look_up(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")

    lease = table(fleet.claim("j1", execution="e1")[1])
    assert (lease["upstream_user"], lease["upstream_ms"]) == ("user-7", "1700000000123")


def test_a_submission_cancelled_before_its_answer_still_keeps_others_waiting(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.cancel("j1")
    fleet.bring("j2", "C")

    assert fleet.mark_submitting("j2")[0] == "wait"


@pytest.mark.parametrize("answer", ["accepted", "settled", "handed back"])
def test_an_answer_opens_the_gate(fleet: Fleet, answer: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    fleet.bring("j2", "C")

    match answer:
        case "accepted":
            fleet.mark_accepted("j1")
        case "settled":
            fleet.settle("j1", "failed")
        case _:
            fleet.handback("j1")

    assert fleet.mark_submitting("j2")[0] == "ok"


def test_a_submission_that_cannot_be_asked_about_stops_blocking_after_the_window(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "U")
    fleet.bring("j2", "C")
    submitted_ms = fleet.now_ms() - 60_000
    fleet.store.client.zadd(fleet.key("submitting", fleet.pool, "c1"), {"j1": submitted_ms})

    assert fleet.mark_submitting("j2", window_ms=70_000)[0] == "wait"
    assert fleet.mark_submitting("j2", window_ms=60_000)[0] == "ok"
    assert fleet.submitting("c1") == ["j2"]


def test_channels_do_not_wait_for_one_another(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")
    fleet.bring("j1", "S")
    fleet.bring("j2", "C")

    assert fleet.mark_submitting("j2")[0] == "ok"


def test_submissions_of_a_channel_keep_their_distance(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.bring("j2", "C")

    verdict, wait_ms = fleet.mark_submitting("j2", min_interval_ms=60_000)

    assert verdict == "wait"
    assert 0 < int(wait_ms) <= 60_000
    assert fleet.state("j2") == "C"


def test_a_short_cooling_is_waited_for(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.handback("j1", cool_ms=60_000)

    verdict, wait_ms = fleet.mark_submitting("j2", patience_ms=75_000)

    assert verdict == "wait"
    assert 0 < int(wait_ms) <= 75_000
    assert fleet.state("j2") == "C"


def test_a_long_cooling_sends_the_job_to_another_account_uncounted(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.handback("j1", cool_ms=60_000)
    fleet.put("c2", 2)

    assert fleet.mark_submitting("j2") == ["pending", "account cooling"]
    assert (fleet.channel("j2"), fleet.state("j2")) == ("c2", "R")
    assert fleet.record("j2")["requeues"] == "0"


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_a_stopped_account_sends_the_job_back_to_its_place(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.submit("j2")
    score = fleet.record("j1")["score"]
    fleet.stand("c1", state, "why")

    assert fleet.mark_submitting("j1") == ["pending", f"account {state}"]
    assert fleet.pending() == ["j1", "j2"]
    assert fleet.score("j1", "pending", fleet.pool) == int(score)
    assert fleet.used("c1") == []
    assert fleet.again_changes_nothing() == ["stale"]


def test_a_deleted_account_sends_the_job_back(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.remove("c1")

    assert fleet.mark_submitting("j1") == ["pending", "account deleted"]
    assert (fleet.pending(), fleet.account("c1")) == (["j1"], {})


def test_a_job_pinned_to_a_deleted_account_fails(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C", channel="c1")
    fleet.remove("c1")

    assert fleet.mark_submitting("j1") == ["pending", "account deleted"]
    assert (fleet.status("j1"), fleet.record("j1")["error"]) == ("failed", "Its account c1 was deleted")


def test_a_limit_lowered_since_the_grant_sends_the_job_back(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.bring("j2", "C")
    fleet.put("c1", 1)

    assert fleet.mark_submitting("j2") == ["pending", "account over its limit"]
    assert (fleet.used("c1"), fleet.pending()) == (["j1"], ["j2"])


def test_under_a_lowered_limit_as_many_may_submit_as_it_allows(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2", "j3"):
        fleet.bring(job, "C")
    fleet.put("c1", 1)

    told = [fleet.mark_submitting(job)[0] for job in ("j1", "j2", "j3")]

    assert told == ["pending", "pending", "ok"]


def test_the_jobs_own_deadline_is_watched_when_it_is_the_sooner(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S", deadline_ms=FAR_MS // 2)
    fleet.mark_accepted("j1")
    fleet.bring("j2", "S", deadline_ms=FAR_MS * 2)

    assert fleet.score("j1", "deadlines") == int(fleet.record("j1")["deadline_ms"])
    assert fleet.score("j2", "deadlines") == int(fleet.lease("j2")["deadline_ms"])


def test_the_permission_extends_the_lease(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.expire("j1")

    fleet.mark_submitting("j1")

    expires_ms = fleet.score("j1", "expiry")
    assert expires_ms is not None
    assert expires_ms > PAST_MS


def submitted_ago(fleet: Fleet, job: str, ago_ms: int) -> None:
    """The job was permitted that long ago; the store was away since, and the answer lost."""
    instant_ms = fleet.now_ms() - ago_ms
    fleet.store.client.hset(fleet.key("lease", job), "submitted_ms", instant_ms)
    fleet.store.client.zadd(fleet.key("submitting", fleet.pool, "c1"), {job: instant_ms}, xx=True)


def test_who_asks_again_after_half_the_window_is_permitted_anew(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    submitted_ago(fleet, "j1", 40_000)
    first_ms = int(fleet.lease("j1")["submitted_ms"])

    verdict, submitted_ms, _ = fleet.mark_submitting("j1", window_ms=60_000)

    assert (verdict, int(submitted_ms) > first_ms) == ("ok", True)
    assert fleet.score("j1", "submitting", fleet.pool, "c1") == int(submitted_ms)


def test_who_asks_again_so_late_that_another_went_through_waits_for_its_answer(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "S")
    submitted_ago(fleet, "j1", 70_000)
    fleet.bring("j2", "C")
    assert fleet.mark_submitting("j2", window_ms=60_000)[0] == "ok"

    assert fleet.mark_submitting("j1", window_ms=60_000)[0] == "wait"
    fleet.mark_accepted("j2")
    assert fleet.mark_submitting("j1", window_ms=60_000)[0] == "ok"


def test_who_asks_again_late_of_a_stopped_account_goes_back(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    submitted_ago(fleet, "j1", 40_000)
    fleet.stand("c1", "paused")

    assert fleet.mark_submitting("j1", window_ms=60_000) == ["pending", "account paused"]
    assert fleet.pending() == ["j1"]


DAY_MS = 86_400_000


def test_a_draining_account_still_submits_what_it_holds(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.stand("c1", "draining")

    assert fleet.mark_submitting("j1")[0] == "ok"


def test_at_its_daily_cap_an_account_rests_until_the_next_day_and_the_job_goes_back_uncounted(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2", "j3"):
        fleet.bring(job, "C")
    for job in ("j1", "j2"):
        assert fleet.mark_submitting(job, daily_cap=2)[0] == "ok"
        fleet.mark_accepted(job)

    assert fleet.mark_submitting("j3", daily_cap=2) == ["pending", "account at its daily cap"]

    account = fleet.account("c1")
    midnight_ms = (fleet.now_ms() // DAY_MS + 1) * DAY_MS
    assert int(account["cooling_until_ms"]) == fleet.score(f"{fleet.pool}:c1", "due") == midnight_ms
    assert (account["cooling_cause"], account["cooling_reason"]) == ("capped", "its daily cap of 2 is reached")
    assert (account["day_count"], "cooling_repeats" in account) == ("2", False)
    assert (fleet.pending(), fleet.record("j3")["requeues"], fleet.free()) == (["j3"], "0", [])


def test_an_accounts_own_daily_cap_goes_before_the_settings(fleet: Fleet) -> None:
    fleet.put("c1", daily_cap=1)
    fleet.put("c2", daily_cap=0)
    fleet.bring("j1", "A", channel="c1")
    fleet.settle("j1")
    fleet.bring("j2", "C", channel="c1")
    fleet.bring("j3", "A", channel="c2")
    fleet.settle("j3")
    fleet.bring("j4", "C", channel="c2")

    assert fleet.mark_submitting("j2", daily_cap=9)[0] == "pending"
    assert fleet.mark_submitting("j4", daily_cap=1)[0] == "ok"


def test_a_new_day_counts_anew(fleet: Fleet) -> None:
    fleet.put("c1", daily_cap=1)
    fleet.bring("j1", "A")
    fleet.settle("j1")
    fleet.store.client.hincrby(fleet.key("account", fleet.pool, "c1"), "day", -1)
    fleet.bring("j2", "C")

    assert fleet.mark_submitting("j2")[0] == "ok"
    assert (fleet.account("c1")["day_count"], fleet.account("c1")["day"]) == ("1", str(fleet.now_ms() // DAY_MS))


def test_a_permission_repeated_late_is_counted_once(fleet: Fleet) -> None:
    fleet.put("c1", daily_cap=1)
    fleet.bring("j1", "S")
    submitted_ago(fleet, "j1", 40_000)

    assert fleet.mark_submitting("j1", window_ms=60_000)[0] == "ok"
    assert fleet.account("c1")["day_count"] == "1"
