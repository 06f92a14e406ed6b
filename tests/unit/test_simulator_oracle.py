from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.oracle import Oracle, Record, Submission


def accept(oracle: Oracle, prompt: str, *, account: str = "1", command: str = "create", runs: bool = True) -> Record:
    return oracle.accept(Submission(account, command, prompt, reference="9", runs=runs))


def verdict(oracle: Oracle) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(oracle.report())
    return report


def test_a_submission_at_the_limit_is_a_breach_and_one_below_is_none() -> None:
    oracle = Oracle()
    oracle.declare("1", 2)

    for prompt in ("a", "b", "c"):
        accept(oracle, prompt)

    assert verdict(oracle)["breaches"] == 1
    assert verdict(oracle)["accounts"]["1"] == {
        "limit": 2,
        "running": 3,
        "peak": 3,
        "accepted": 3,
        "breaches": 1,
        "refused": {},
    }


def test_the_place_of_a_finished_job_is_free() -> None:
    oracle = Oracle()
    oracle.declare("1", 1)

    oracle.finish(accept(oracle, "a"), "completed")
    accept(oracle, "b")

    assert verdict(oracle)["breaches"] == 0
    assert verdict(oracle)["accounts"]["1"]["peak"] == 1


def test_a_lowered_limit_judges_later_submissions_only() -> None:
    oracle = Oracle()
    oracle.declare("1", 2)
    first, _ = accept(oracle, "a"), accept(oracle, "b")

    oracle.declare("1", 1)
    before = verdict(oracle)["breaches"]
    oracle.finish(first, "completed")
    accept(oracle, "c")

    assert (before, verdict(oracle)["breaches"]) == (0, 1)


def test_accounts_are_judged_apart_and_an_undeclared_one_never() -> None:
    oracle = Oracle()
    oracle.declare("1", 1)

    accept(oracle, "a")
    for prompt in ("b", "c"):
        accept(oracle, prompt, account="2")

    assert verdict(oracle)["breaches"] == 0
    assert verdict(oracle)["accounts"]["2"]["limit"] is None


def test_a_submission_that_takes_no_place_is_no_breach() -> None:
    oracle = Oracle()
    oracle.declare("1", 0)

    oracle.finish(accept(oracle, "a", runs=False), "modal")

    assert verdict(oracle)["totals"] == {
        "submissions": 1,
        "accepted": 1,
        "duplicates": 0,
        "breaches": 0,
        "running": 0,
    }


@pytest.mark.parametrize("outcome", [None, "completed", "silent", "ephemeral"])
def test_the_same_submission_again_is_a_duplicate_on_whatever_account(outcome: str | None) -> None:
    oracle = Oracle()
    first = accept(oracle, "a")
    if outcome:
        oracle.finish(first, outcome)

    accept(oracle, "a", account="2")

    assert verdict(oracle)["totals"]["duplicates"] == 1


@pytest.mark.parametrize("outcome", ["failed", "moderated", "deleted", "modal"])
def test_the_same_submission_again_is_no_duplicate_after_a_visible_failure(outcome: str) -> None:
    oracle = Oracle()
    oracle.finish(accept(oracle, "a"), outcome)

    accept(oracle, "a")

    assert verdict(oracle)["totals"]["duplicates"] == 0


def test_another_command_or_prompt_is_no_duplicate() -> None:
    oracle = Oracle()

    accept(oracle, "a")
    accept(oracle, "b")
    accept(oracle, "a", command="animate")

    assert verdict(oracle)["totals"]["duplicates"] == 0


def test_refusals_are_counted_by_kind() -> None:
    oracle = Oracle()

    for kind in ("429", "429", "captcha"):
        oracle.refuse("1", kind)
    oracle.refuse(None, "50109")

    assert verdict(oracle)["accounts"]["1"]["refused"] == {"429": 2, "captcha": 1}
    assert verdict(oracle)["totals"]["submissions"] == 4


def test_a_job_is_reported_as_it_stands() -> None:
    oracle = Oracle()
    record = accept(oracle, "a “cat”")

    running = verdict(oracle)["jobs"]
    oracle.finish(record, "completed", ({"filename": "x.mp4", "size": 1},))
    finished = verdict(oracle)["jobs"]

    assert [running[0][name] for name in ("n", "prompt", "outcome", "finished_ms")] == [1, "a “cat”", None, None]
    assert (finished[0]["outcome"], finished[0]["files"]) == ("completed", [{"filename": "x.mp4", "size": 1}])
    assert finished[0]["submitted_ms"] <= finished[0]["finished_ms"]
    assert "jobs" not in json.loads(oracle.report(with_jobs=False))


def test_a_reset_keeps_declared_limits_and_nothing_else() -> None:
    oracle = Oracle()
    oracle.declare("1", 3)
    accept(oracle, "a")
    accept(oracle, "b", account="2")
    oracle.count_request("messages")

    oracle.reset()

    assert list(verdict(oracle)["accounts"]) == ["1"]
    assert verdict(oracle)["accounts"]["1"]["limit"] == 3
    assert set(verdict(oracle)["totals"].values()) == {0}
    assert set(verdict(oracle)["requests"].values()) == {0}
