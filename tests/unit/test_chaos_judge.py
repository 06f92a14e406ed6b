"""The chaos suite's judge sees each broken promise, and blames nobody else."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from chaos import judge
from chaos.eye import Glance
from chaos.kinds import KINDS, LEAST, plan
from chaos.load import Entry
from chaos.scale import FULL
from chaos.strike import Strike, grants_again
from chaos.switches import SWITCHES, packages_without
from dispatcher.models import Job

CHANNEL = "1197013797467000000"


def entry(prompt: str, status: str, *, error: str = "", files: tuple[str, ...] = ()) -> Entry:
    attachments = [{"id": "1", "filename": name, "url": f"http://sim/{name}"} for name in files]
    record = {
        "id": f"id-{prompt}",
        "user": "1",
        "pool": "1:discord",
        "kind": "create_single",
        "status": status,
        "created_ms": "1",
        "updated_ms": "1",
        "priority": "0",
        "error": error,
        "request": json.dumps({"prompt": prompt}),
        "message": json.dumps({"messageId": "1", "attachments": attachments}) if files else "",
    }
    return Entry(key=f"key-{prompt}", prompt=prompt, job_id=f"id-{prompt}", job=Job.from_record(record))


def oracle(
    *runs: tuple[str, int, int | None], limit: int = 1, breaches: int = 0, duplicates: int = 0
) -> dict[str, Any]:
    """Runs are prompt, submitted and finished, in seconds."""
    return {
        "totals": {"accepted": len(runs), "duplicates": duplicates},
        "accounts": {CHANNEL: {"limit": limit, "breaches": breaches}},
        "jobs": [
            {
                "n": n,
                "account": CHANNEL,
                "prompt": prompt,
                "submitted_ms": start * 1000,
                "finished_ms": None if end is None else end * 1000,
                "outcome": None if end is None else "completed",
                "files": [{"filename": f"{prompt}.mp4"}],
            }
            for n, (prompt, start, end) in enumerate(runs, 1)
        ],
    }


def judged(entries: list[Entry], told: dict[str, Any], *strikes: Strike, slots_held: int = 0) -> dict[str, Any]:
    part = judge.Part(name="main", entries=entries, channels=[CHANNEL], deadline_s=30, hold_s=30, slots_held=slots_held)
    return judge.judge([part], told, strikes)


def test_a_run_in_which_all_is_well_breaks_nothing() -> None:
    figures = judged([entry("a", "completed", files=("a.mp4",))], oracle(("a", 0, 5)))

    assert judge.broken(figures) == []


def test_a_finished_video_whose_job_failed_is_lost() -> None:
    figures = judged([entry("a", "failed", error="whatever")], oracle(("a", 0, 5)))

    assert len(figures["lost"]) == 1


def test_a_video_that_took_longer_than_the_deadline_is_not_lost() -> None:
    failed = entry("a", "failed", error="Not finished before its deadline")

    figures = judged([failed], oracle(("a", 0, 31)))

    assert judge.broken(figures) == []
    assert figures["outlived"] == 1


def test_a_cancelled_job_may_have_its_video_made() -> None:
    assert judged([entry("a", "cancelled")], oracle(("a", 0, 5)))["lost"] == []


def test_a_job_without_an_end_is_lost() -> None:
    assert len(judged([entry("a", "progress")], oracle(("a", 0, None)))["lost"]) == 1


def test_another_jobs_file_is_a_wrong_file() -> None:
    entries = [entry("a", "completed", files=("b.mp4",))]

    assert len(judged(entries, oracle(("a", 0, 5), ("b", 0, 5), limit=2))["wrong_files"]) == 1


@pytest.mark.parametrize("name", ["breaches", "duplicates"])
def test_what_the_oracle_counts_is_told(name: str) -> None:
    done = [entry(prompt, "completed", files=(f"{prompt}.mp4",)) for prompt in "ab"]

    figures = judged(done, oracle(("a", 0, 5), ("b", 1, 6), **{name: 1}))

    assert judge.broken(figures) == [f"{name}: 1"]


def test_a_slot_that_is_held_at_the_end_is_leaked() -> None:
    assert judge.broken(judged([], oracle(), slots_held=2)) == ["leaked: 2"]


@pytest.mark.parametrize(("age_s", "apart"), [(61, 1), (59, 0)])
def test_a_breach_is_by_design_only_past_deadline_and_hold(age_s: int, apart: int) -> None:
    figures = judged([], oracle(("old", 0, 100), ("new", age_s, 110), breaches=1))

    assert figures["breaches_by_design"] == apart
    assert figures["breaches"] == 1 - apart


def test_an_unknown_outcome_needs_a_fault_of_its_own_that_hit_its_submission() -> None:
    failed = [entry(prompt, "failed", error="not started: no answer") for prompt in "abc"]
    hit_two = Strike(kind="kill worker in S", n=1, jobs_in_s=("id-a", "id-b"))

    figures = judged(failed, oracle(), hit_two)

    assert len(figures["unknown"]) == 1
    assert len(figures["unexplained"]) == 2


def test_a_failure_of_another_kind_is_broken() -> None:
    figures = judged([entry("a", "failed", error="Refused 21 times")], oracle())

    assert judge.broken(figures) == ["other_failures: 1"]


def recovered(kind: str, n: int, began_s: float, took_s: float | None, *, in_flight: int = 50, **more: float) -> Strike:
    return Strike(kind=kind, n=n, at_ms=int(began_s * 1000), recovered_s=took_s, in_flight=in_flight, **more)  # type: ignore[arg-type]  # only delays_s comes


@pytest.mark.parametrize(
    ("others", "own_s"),
    [
        ([], 40),
        ([recovered("kill store", 2, 110, 14)], 26),
        ([recovered("kill store", 2, 95, 10)], 35),
        ([recovered("kill store", 2, 130, 20)], 30),
        ([recovered("kill store", 2, 90, 60)], 0),
        ([recovered("kill store", 2, 110, 14), recovered("cut link", 3, 120, 6)], 24),
        ([recovered("kill store", 2, 80, 14)], 40),
        ([recovered("kill dispatcher", 2, 110, 14)], 40),
        ([recovered("step store clock", 2, 110, 0.5, delays_s=18)], 22),
        ([recovered("step store clock", 2, 110, 0.5)], 40),
    ],
)
def test_a_recovery_is_not_blamed_for_the_halt_of_another_fault(others: list[Strike], own_s: float) -> None:
    struck = [recovered("kill worker in A", 1, 100, 40), *others]

    row = judge.recoveries(struck, in_flight_min=50, ttl_s=23, learning_s=12)["kill worker in A"]

    assert (row["max_s"], row["own_s"], row["bound_s"]) == (40, own_s, 30)
    assert bool(judge.broken({"recovery": {"kill worker in A": row}})) == (own_s > 30)


@pytest.mark.parametrize(
    ("other", "at_s", "late"),
    [
        ("freeze worker", 110, 0),
        ("half-close", 112, 0),
        ("half-close", 99, 1),
        ("kill worker in R", 139, 1),
        ("freeze worker", 99, 1),
        ("kill dispatcher", 110, 1),
    ],
)
def test_jobs_whose_new_delivery_may_be_lost_have_twice_the_time(other: str, at_s: float, late: int) -> None:
    struck = [recovered("kill worker in A", 1, 100, 29), recovered(other, 2, at_s, 1)]

    row = judge.recoveries(struck, in_flight_min=50, ttl_s=8, learning_s=12)["kill worker in A"]

    assert row["late"] == late


def test_a_full_run_tells_what_it_did_not_strike_often_enough() -> None:
    enough = {kind.name: kind.least for kind in KINDS}
    figures: dict[str, Any] = {
        "faults": 300,
        "faults_by_kind": enough,
        "worker_kills_in_state": dict.fromkeys("RCSAU", 10),
        "jobs": {"completed": 4000, "failed": 1000},
    }
    assert judge.shortfalls(figures) == []

    figures |= {"faults_by_kind": enough | {"hang": 14, "fail back": 0}, "jobs": {"completed": 4999}, "faults": 299}
    figures["worker_kills_in_state"]["U"] = 9

    assert judge.broken({"shortfalls": judge.shortfalls(figures)}) == [
        "too little: faults of kind hang: 14 of 15",
        "too little: faults of kind fail back: 0 of 1",
        "too little: worker kills in U: 9 of 10",
        "too little: faults: 299 of 300",
        "too little: jobs: 4999 of 5000",
    ]


@pytest.mark.parametrize(
    ("fence", "waiting", "free", "is_recovered"),
    [(7, 5, 1, False), (8, 5, 1, True), (7, 0, 1, True), (7, 5, 0, True)],
)
def test_a_store_grants_again_when_it_mints_or_owes_nothing(
    fence: int, waiting: int, free: int, is_recovered: bool
) -> None:
    def glance(fence: int, *, is_learning: bool = False) -> Glance:
        nobody: frozenset[str] = frozenset()
        return Glance({}, fence, is_learning, nobody, nobody, waiting, free)

    recovered_at = grants_again()
    assert not recovered_at(glance(5))
    assert not recovered_at(glance(7, is_learning=True))

    assert recovered_at(glance(fence)) is is_recovered


def test_an_outage_is_not_excused_by_itself() -> None:
    row = judge.recoveries([recovered("kill store", 1, 100, 40)], in_flight_min=50, ttl_s=8, learning_s=12)[
        "kill store"
    ]

    assert row["own_s"] == 40


@pytest.mark.parametrize(("took_s", "own_s"), [(17.2, 0), (17.7, 0), (33, 15.3)])
def test_a_clock_that_was_set_back_is_timed_from_when_it_has_caught_up(took_s: float, own_s: float) -> None:
    struck = [recovered("step store clock", 1, 100, took_s, delays_s=17.7)]

    row = judge.recoveries(struck, in_flight_min=50, ttl_s=8, learning_s=12)["step store clock"]

    assert (row["own_s"], row["late"]) == (own_s, own_s > row["bound_s"])


def test_a_fault_that_struck_too_few_or_never_healed_is_told_apart() -> None:
    struck = [
        recovered("cancel", 1, 0, 1),
        recovered("cancel", 2, 9, 2, in_flight=49),
        recovered("cancel", 3, 20, None),
    ]

    row = judge.recoveries(struck, in_flight_min=50, ttl_s=8, learning_s=12)["cancel"]

    assert (row["faults"], row["in_flight_min"], row["max_s"], row["never"]) == (2, 50, 2, 1)


def test_a_full_plan_has_every_kind_often_enough_and_fails_over_before_it_fails_back() -> None:
    order = plan(KINDS, faults=FULL.faults, dice=random.Random(1))  # noqa: S311 (a plan, no secret)

    assert len(order) >= 300
    assert all(order.count(kind.name) >= kind.least for kind in KINDS)
    assert {kind.least for kind in KINDS if not kind.name.startswith("kill worker")} == {1, LEAST}
    assert order.index("fail over") < order.index("fail back")


def test_a_short_plan_has_different_kinds() -> None:
    order = plan([kind for kind in KINDS if kind.least > 1], faults=8, dice=random.Random(1))  # noqa: S311 (as above)

    assert len(set(order)) == len(order) == 8


@pytest.mark.parametrize("rule", SWITCHES)
def test_every_rule_is_where_its_switch_takes_it_away(rule: str) -> None:
    with packages_without(SWITCHES[rule]) as folder:
        assert (folder is None) == bool(SWITCHES[rule].settings)
