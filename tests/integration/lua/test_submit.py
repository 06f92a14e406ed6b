"""submit: accept a job, once, and lease it a slot in the same step if one is free."""

from __future__ import annotations

import pytest

from dispatcher.models import Job
from dispatcher.replies import table
from tests.support.fleet import FAR_MS, PAST_MS, Fleet
from tests.support.snapshot import snapshot


def test_a_job_is_leased_and_handed_to_rq_in_the_step_that_accepts_it(fleet: Fleet) -> None:
    fleet.put("c1")

    verdict, record = fleet.submit("j1")

    assert verdict == "created"
    assert table(record)["channel"] == "c1"
    assert fleet.state("j1") == "R"
    assert fleet.queue() == [f"j1-{fleet.token('j1')}"]
    assert (fleet.used("c1"), fleet.pending(), fleet.free()) == (["j1"], [], [])


def test_the_record_reads_as_a_job(fleet: Fleet) -> None:
    fleet.put("c1", 3)

    job = Job.from_record(table(fleet.submit("j1", priority=7)[1]))

    assert (job.status, job.channel, job.maxJobs, job.priority, job.deliveries) == ("created", "c1", 3, 7, 1)
    assert job.jobid == "job:j1-user:1-channel:c1-bot:pixverse"


def test_without_room_the_job_waits(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")

    verdict, record = fleet.submit("j2")

    assert verdict == "created"
    assert table(record)["wire_channel"] == "0"
    assert (fleet.state("j2"), fleet.pending(), fleet.listed("created")) == ("P", ["j2"], ["j1", "j2"])


def test_without_any_account_the_job_waits(fleet: Fleet) -> None:
    assert fleet.submit("j1")[0] == "created"
    assert fleet.pending() == ["j1"]


def test_a_known_id_answers_exists_and_changes_nothing(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1", key="k", deadline_ms=FAR_MS)

    verdict, record = fleet.again_changes_nothing()

    assert (verdict, table(record)["id"]) == ("exists", "j1")


def test_the_same_key_and_request_answers_the_first_job(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1", key="a key: with everything in it")

    verdict, record = fleet.submit("j2", key="a key: with everything in it")

    assert (verdict, table(record)["id"]) == ("exists", "j1")
    assert fleet.listed() == ["j1"]


def test_the_same_key_with_another_request_is_a_conflict(fleet: Fleet) -> None:
    fleet.submit("j1", key="k")

    assert fleet.submit("j2", key="k", digest="other") == ["conflict", "j1"]
    assert fleet.listed() == ["j1"]


def test_a_key_whose_job_is_gone_accepts_a_new_one(fleet: Fleet) -> None:
    fleet.submit("j1", key="k")
    fleet.cancel("j1")
    fleet.store.client.delete(fleet.key("job", "j1"))
    for name in ("", "cancelled"):
        fleet.store.client.zrem(fleet.key("jobs", "1", name) if name else fleet.key("jobs", "1"), "j1")

    assert fleet.submit("j2", key="k")[0] == "created"


def test_a_pin_that_is_no_channel_of_the_pool_is_refused(fleet: Fleet) -> None:
    fleet.put("c1")

    assert fleet.submit("j1", pin="c9") == ["no_account"]
    assert fleet.listed() == []


def test_a_pin_to_a_deleted_account_that_still_drains_is_refused(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    fleet.remove("c1")

    assert fleet.submit("j2", pin="c1") == ["no_account"]


def test_larger_priorities_go_first_and_equal_ones_in_order(fleet: Fleet) -> None:
    for job, priority in (("low", -100), ("first", 0), ("top", 100), ("second", 0)):
        fleet.submit(job, priority=priority)

    assert fleet.pending() == ["top", "first", "second", "low"]


def test_a_jobs_own_limit_keeps_it_off_busier_channels(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    fleet.submit("j1")

    fleet.submit("j2", limit=1)
    fleet.submit("j3", limit=2)

    assert (fleet.state("j2"), fleet.channel("j3")) == ("P", "c1")


def test_a_job_that_fits_nowhere_holds_up_none_of_the_next_31(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1")
    for index in range(31):
        fleet.submit(f"narrow-{index}", limit=1)

    fleet.submit("wide")

    assert fleet.channel("wide") == "c1"


def test_a_pinned_job_takes_its_own_channel_though_others_are_free(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")

    fleet.submit("j1", pin="c2")

    assert (fleet.channel("j1"), fleet.free()) == ("c2", ["c1"])


def test_a_pinned_job_waits_for_its_channel_alone(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")
    fleet.stand("c2", "paused")

    fleet.submit("j1", pin="c2")

    assert (fleet.pending("c2"), fleet.pending(), fleet.free()) == (["j1"], [], ["c1"])


def test_the_draw_follows_the_seed_over_all_free_channels(fleet: Fleet) -> None:
    for index in range(4):
        fleet.put(f"c{index}")
    quarter = 2_147_483_646 // 4

    drawn = []
    for index in range(4):
        fleet.submit(f"j{index}", seed=1 + quarter * index + quarter // 2)
        drawn.append(fleet.channel(f"j{index}"))
        fleet.cancel(f"j{index}")

    assert sorted(str(channel) for channel in drawn) == ["c0", "c1", "c2", "c3"]


def test_the_largest_and_the_smallest_seed_draw_a_channel(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")

    fleet.submit("j1", seed=2_147_483_646)
    fleet.submit("j2", seed=1)

    assert {fleet.channel("j1"), fleet.channel("j2")} == {"c1", "c2"}


@pytest.mark.parametrize(
    ("deadline_ms", "max_wait_ms", "sooner_ms"), [(0, 0, None), (5000, 0, 5000), (0, 7000, 7000), (9000, 7000, 7000)]
)
def test_the_sooner_of_deadline_and_longest_wait_is_watched(
    fleet: Fleet, deadline_ms: int, max_wait_ms: int, sooner_ms: int | None
) -> None:
    fleet.submit("j1", deadline_ms=deadline_ms, max_wait_ms=max_wait_ms)

    watched_ms = fleet.score("j1", "deadlines")
    created_ms = int(fleet.record("j1")["created_ms"])
    assert watched_ms == (None if sooner_ms is None else created_ms + sooner_ms)


def test_refuse_accepts_when_a_slot_is_granted(fleet: Fleet) -> None:
    fleet.put("c1")

    assert fleet.submit("j1", mode="refuse")[0] == "created"
    assert fleet.again_changes_nothing()[0] == "exists"


def test_refuse_tells_the_running_jobs_and_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("running", "A")
    fleet.bring("drains", "D")
    before = snapshot(fleet.store).settled()

    reply = fleet.submit("j1", mode="refuse", key="k", deadline_ms=FAR_MS, max_wait_ms=FAR_MS)

    assert reply == ["full", ["running"]]
    assert snapshot(fleet.store).settled() == before


def test_refuse_of_a_pinned_job_looks_at_its_channel_alone(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")
    fleet.submit("j1", pin="c1")

    assert fleet.submit("j2", pin="c1", mode="refuse") == ["full", ["j1"]]
    assert fleet.pending("c1") == []


def test_refuse_says_when_the_first_account_with_room_has_cooled(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.put("c2")
    fleet.bring("j1", "C", channel="c1")
    fleet.bring("j2", "A", channel="c2")
    fleet.handback("j1", cool_ms=60_000)

    verdict, wait_ms = fleet.submit("j3", mode="refuse")

    assert verdict == "throttled"
    assert 0 < int(wait_ms) <= 75_000  # and up to a quarter more
    fleet.cancel("j1")


def test_refuse_is_full_when_the_cooling_account_has_no_room_either(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C", channel="c1")
    fleet.bring("j2", "A", channel="c1")
    fleet.handback("j1", cool_ms=60_000)
    fleet.put("c1", 1)

    assert fleet.submit("j3", mode="refuse") == ["full", ["j2"]]


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_refuse_says_that_no_account_is_usable(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.stand("c1", state, "why")

    assert fleet.submit("j1", mode="refuse") == ["unusable"]
    assert fleet.listed() == []


def test_refuse_grants_whom_it_finds_waiting_before_the_newcomer(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1")
    fleet.submit("narrow", limit=1)

    assert fleet.submit("j2", mode="refuse")[0] == "created"
    assert fleet.pending() == ["narrow"]


def test_pools_do_not_share_accounts(fleet: Fleet) -> None:
    other = Fleet(fleet.store, user=2)
    fleet.put("c1")

    other.submit("j1")

    assert (other.pending(), fleet.free()) == (["j1"], ["c1"])


def test_a_first_draw_among_unequally_used_channels_sees_all_of_them(fleet: Fleet) -> None:
    fleet.put("c1", 5)
    fleet.put("c2", 5)
    for index in range(3):
        fleet.submit(f"pinned-{index}", pin="c1")

    fleet.submit("j1", seed=2_147_483_646)

    assert fleet.channel("j1") == "c1"
    assert fleet.score("c1", "free", fleet.pool) == 4


def test_scores_and_tokens_keep_all_their_digits(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1", priority=-100, deadline_ms=FAR_MS)

    record = fleet.record("j1")

    assert int(record["score"]) == 200 * 2**44 + 1
    assert int(fleet.token("j1")) > 1_700_000_000_000
    assert int(record["deadline_ms"]) > PAST_MS


def test_refuse_is_full_while_an_account_with_room_does_not_cool(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.put("c2", 2)
    fleet.bring("cools", "C", channel="c2")
    fleet.handback("cools", cool_ms=60_000)
    fleet.bring("j1", "A", channel="c1")
    for index in range(32):
        fleet.submit(f"narrow-{index}", limit=1)

    assert fleet.submit("j2", mode="refuse") == ["full", ["j1"]]


def test_refuse_of_a_pinned_job_knows_its_own_accounts_cooling_alone(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.put("c2")
    fleet.bring("j1", "C", channel="c1")
    fleet.handback("j1", cool_ms=60_000)
    fleet.bring("j2", "A", channel="c2")

    assert fleet.submit("j3", pin="c2", mode="refuse") == ["full", ["j2"]]
    assert fleet.submit("j3", pin="c1", mode="refuse")[0] == "throttled"


def test_refuse_tells_no_more_than_about_256_running_jobs(fleet: Fleet) -> None:
    for index in range(30):
        fleet.put(f"c{index}", 10)
    for index in range(300):
        fleet.submit(f"j{index}")

    verdict, running = fleet.submit("late", mode="refuse")

    assert verdict == "full"
    assert 256 <= len(set(running)) < 266
