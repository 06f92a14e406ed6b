"""dispatch: grant what waits, re-admit whose cooling has ended."""

from __future__ import annotations

import itertools
import random

import pytest

from tests.support.fleet import PAST_MS, Fleet


def free_by_hand(fleet: Fleet, *channels: str) -> None:
    """Give the channels room without refilling, as a lost refill would leave them."""
    for channel in channels:
        fleet.store.client.hset(fleet.key("account", fleet.pool, channel), "max_jobs", 10)
        fleet.store.client.zadd(fleet.key("free", fleet.pool), {channel: len(fleet.used(channel))})


def test_nothing_to_do_is_told(fleet: Fleet) -> None:
    assert fleet.dispatch() == [0, 0, "0"]


def test_a_waiting_job_is_granted(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("j1")
    fleet.submit("j2")
    free_by_hand(fleet, "c1")

    assert fleet.dispatch() == [1, 0, "0"]
    assert fleet.channel("j2") == "c1"
    assert fleet.again_changes_nothing() == [0, 0, "0"]


def test_grants_stop_at_the_limit_of_the_account(fleet: Fleet) -> None:
    for index in range(5):
        fleet.submit(f"j{index}")

    fleet.put("c1", 3)
    fleet.dispatch()

    assert (fleet.used("c1"), fleet.pending()) == (["j0", "j1", "j2"], ["j3", "j4"])


def test_every_grant_has_a_token_larger_than_all_before(fleet: Fleet) -> None:
    fleet.put("c1", 10)
    for index in range(10):
        fleet.submit(f"j{index}")

    tokens = [int(fleet.token(f"j{index}")) for index in range(10)]

    assert tokens == sorted(set(tokens))


def test_a_token_is_not_below_the_clock_though_the_last_one_was_lost(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.submit("j1")
    before_ms = fleet.now_ms()
    fleet.store.client.set(fleet.key("fence"), PAST_MS)

    fleet.submit("j2")

    assert int(fleet.token("j2")) >= before_ms
    fleet.settle("j1")
    fleet.cancel("j1")


def test_the_earliest_return_of_a_cooling_account_is_told(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)

    grants, more, next_ms = fleet.dispatch()

    assert (grants, more) == (0, 0)
    assert int(next_ms) == int(fleet.account("c1")["cooling_until_ms"])
    assert fleet.state("j1") == "P"


def test_an_account_that_has_cooled_is_re_admitted_and_granted_from(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)
    fleet.end_cooling("c1")

    assert fleet.dispatch(pool="") == [1, 0, "0"]
    assert (fleet.channel("j1"), fleet.free()) == ("c1", ["c1"])


def test_what_has_cooled_stays_so_when_the_clock_is_set_back(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)
    fleet.end_cooling("c1")

    fleet.dispatch(pool="")

    left = [name for name in fleet.account("c1") if name.startswith("cooling_")]
    assert left == ["cooling_began_ms", "cooling_repeats"]


def test_an_account_that_still_cools_is_due_again(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C")
    fleet.handback("j1", cool_ms=60_000)
    until_ms = int(fleet.account("c1")["cooling_until_ms"])
    fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:c1": PAST_MS})

    assert fleet.dispatch() == [0, 0, str(until_ms)]
    assert fleet.dispatch() == [0, 0, str(until_ms)]


def test_an_account_that_has_cooled_serves_its_pinned_jobs(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.bring("j1", "C", channel="c1")
    fleet.handback("j1", cool_ms=60_000)
    fleet.end_cooling("c1")

    assert fleet.dispatch(pool="")[0] == 1
    assert fleet.channel("j1") == "c1"


def test_an_account_deleted_while_it_cooled_is_forgotten_when_due(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.remove("c1")
    fleet.handback("j1", cool_ms=60_000)
    fleet.end_cooling("c1")

    assert fleet.dispatch() == [0, 0, "0"]
    assert fleet.free() == []


def test_eight_pinned_jobs_go_first_then_one_of_those_who_wait_for_any(fleet: Fleet) -> None:
    fleet.put("c1")
    fleet.submit("holder")
    for index in range(12):
        fleet.submit(f"pinned-{index}", pin="c1")
    for index in range(2):
        fleet.submit(f"any-{index}")

    served, holder = [], "holder"
    while fleet.pending() or fleet.pending("c1"):
        fleet.cancel(holder)
        holder = fleet.used("c1")[0]
        served.append(holder.partition("-")[0])

    assert served == ["pinned"] * 8 + ["any"] + ["pinned"] * 4 + ["any"]


def test_pinned_jobs_beyond_eight_go_on_when_nobody_else_fits(fleet: Fleet) -> None:
    fleet.put("c1", 10)
    fleet.bring("a", "A")
    fleet.submit("narrow", limit=1)

    for index in range(9):
        fleet.submit(f"pinned-{index}", pin="c1")

    assert len(fleet.used("c1")) == 10
    assert fleet.pending() == ["narrow"]


def test_a_pinned_job_beyond_eight_is_served_when_the_others_find_room_elsewhere(fleet: Fleet) -> None:
    fleet.put("c1", 10)
    for index in range(10):
        fleet.submit(f"pinned-{index}", pin="c1")
    fleet.submit("late", pin="c1")
    fleet.submit("any")

    fleet.put("c2", 2)
    fleet.cancel("pinned-0")

    assert (fleet.channel("late"), fleet.channel("any")) == ("c1", "c2")


def test_what_256_grants_leave_over_is_granted_by_the_next_call(fleet: Fleet) -> None:
    for index in range(40):
        fleet.put(f"c{index}", 10)
        fleet.stand(f"c{index}", "paused")
    for index in range(300):
        fleet.submit(f"j{index}")
    for index in range(40):
        fleet.store.client.hset(fleet.key("account", fleet.pool, f"c{index}"), "state", "active")
        fleet.store.client.zadd(fleet.key("free", fleet.pool), {f"c{index}": 0})

    first, second = fleet.dispatch(), fleet.dispatch()

    assert (first[:2], second[:2]) == ([256, 1], [44, 0])


def test_pinned_jobs_that_256_grants_leave_over_are_granted_by_the_next_call(fleet: Fleet) -> None:
    for index in range(40):
        channel = f"c{index}"
        fleet.put(channel, 10)
        fleet.stand(channel, "paused")
        for number in range(7):
            fleet.submit(f"{channel}-{number}", pin=channel)
        fleet.store.client.hset(fleet.key("account", fleet.pool, channel), "state", "active")
        fleet.store.client.zadd(fleet.key("due"), {f"{fleet.pool}:{channel}": PAST_MS})

    first, second = fleet.dispatch(), fleet.dispatch()

    assert (first[:2], second[:2]) == ([256, 1], [24, 0])


@pytest.mark.parametrize("state", ["paused", "disabled"])
def test_a_stopped_account_is_granted_nothing(fleet: Fleet, state: str) -> None:
    fleet.put("c1")
    fleet.stand("c1", state, "why")
    fleet.submit("j1")

    assert fleet.dispatch() == [0, 0, "0"]


@pytest.mark.parametrize("seed", range(4))
def test_pinned_jobs_and_those_for_any_account_both_advance_however_long_both_wait(fleet: Fleet, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (repeatable on purpose)
    limits = {"c1": 1, "c2": 3}
    for channel, limit in limits.items():
        fleet.put(channel, limit)
    accepted = itertools.count()
    served: dict[str, list[str]] = {channel: [] for channel in limits}
    held: dict[str, set[str]] = {channel: set() for channel in limits}

    for _ in range(150):
        for kind in ("any", *limits):  # both lines are never empty
            while len(fleet.pending("" if kind == "any" else kind)) < 2:
                fleet.submit(f"{kind}-{next(accepted)}", pin="" if kind == "any" else kind)
        for channel in limits:
            fresh = [job for job in fleet.used(channel) if job not in held[channel]]
            held[channel].update(fresh)
            served[channel] += ["any" if job.startswith("any") else "pinned" for job in fresh]
        channel = chance.choice(sorted(limits))
        job = chance.choice(fleet.used(channel))
        fleet.claim(job)
        fleet.settle(job)

    for kinds in served.values():
        rows = [(kind, len(list(row))) for kind, row in itertools.groupby(kinds[12:])]  # the first fill has no order
        assert max(length for kind, length in rows if kind == "pinned") == 8
        assert {length for kind, length in rows if kind == "any"} == {1}
