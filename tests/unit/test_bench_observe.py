"""The figures of `bench.observe`: what is made of an oracle's word and of job records."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bench.observe import asked, lateness, sessions, summed, table
from dispatcher import Job

BEGAN_MS = 1_795_377_600_000


def job(n: int, *, settled_ms: int) -> Job:
    at = datetime.fromtimestamp(settled_ms / 1000, UTC)
    named: dict[str, Any] = {"id": f"j{n}", "jobid": f"job:j{n}", "user": 1, "kind": "create_single", "verb": "create"}
    return Job(**named, status="completed", created=at, updated=at, finished=at, request={}, prompt=f"take {n}")


def oracle(**more: Any) -> dict[str, Any]:
    jobs = [
        {"prompt": "take 0", "submitted_ms": BEGAN_MS, "finished_ms": BEGAN_MS + 6000},
        {"prompt": "take 1", "submitted_ms": BEGAN_MS, "finished_ms": BEGAN_MS + 8000},
        {"prompt": "take 2", "submitted_ms": BEGAN_MS, "finished_ms": None},
    ]
    requests = {"messages": 6, "interactions": 3, "cdn": 0}
    return {"jobs": jobs, "requests": requests, "sessions": {}, "troubles": {"messages 429": 1}, **more}


def user(*, identified: int, resumed: int = 0, peak: int = 1) -> dict[str, int]:
    return {"open": 0, "peak": peak, "identified": identified, "resumed": resumed}


def test_a_slot_is_lost_from_the_upstreams_end_to_the_settlement() -> None:
    figures = lateness([job(0, settled_ms=BEGAN_MS + 6500), job(1, settled_ms=BEGAN_MS + 9500)], oracle())

    assert figures == {
        "settle_p50_s": 1.0,
        "settle_p99_s": 1.5,
        "settle_max_s": 1.5,
        "slot_seconds_lost": 2.0,
        "lost_share": 0.125,
    }


def test_opened_sockets_count_as_requests_beside_those_that_the_oracle_counts() -> None:
    figures = asked(oracle(sessions={"u": user(identified=1, resumed=2)}), finished=2)

    assert figures == {
        "requests_per_job": 6.0,
        "lists_per_job": 3.0,
        "requests": {"messages": 6, "interactions": 3, "connects": 3},
        "limited": {"messages 429": 1},
    }


@pytest.mark.parametrize(
    ("users", "wanted", "warnings"),
    [
        ({}, 0, []),
        ({"u": user(identified=1)}, 1, []),
        ({"u": user(identified=0)}, 1, ["0 of 1 tokens had a session"]),
        ({"u": user(identified=2, peak=2)}, 1, ["a token had 2 sessions at once"]),
        ({"u": user(identified=1)}, 0, ["1 of 0 tokens had a session"]),
    ],
)
def test_a_mode_is_doubted_whose_sessions_were_not_there(
    users: dict[str, Any], wanted: int, warnings: list[str]
) -> None:
    assert sessions(oracle(sessions=users), wanted=wanted)["warnings"] == warnings


def test_rounds_are_summed_up_by_median_and_compared() -> None:
    rounds: list[dict[str, dict[str, Any]]] = [
        {"poll": {"lists_per_job": n}, "gateway": {"lists_per_job": n / 4}} for n in (8, 2, 4)
    ]

    summary = summed(rounds)

    assert summary["poll"]["lists_per_job"] == {"median": 4, "least": 2, "most": 8}
    assert summary["gateway_to_poll"] == {"lists_per_job": 0.25}
    assert table(summary).splitlines()[-1] == "| lists_per_job | 4 (2 to 8) | 1 (0.5 to 2) | 0.25 |"
