"""The verdict on gateway sessions: which two at once are excused, and how many may be opened."""

from __future__ import annotations

import random
from typing import Any

import pytest

from chaos import judge
from chaos.kinds import GATEWAY_KINDS, KINDS, plan
from chaos.scale import FULL
from chaos.sessions import OPENED_MIN, judge_sessions
from chaos.strike import Strike

FROZEN = [(10_000, 20_000)]


def oracle(*overlaps: tuple[int, int | None], identified: int = 1) -> dict[str, Any]:
    counts = {"open": 0, "peak": 2 if overlaps else 1, "identified": identified, "resumed": 3}
    return {
        "sessions": {"a-user": counts},
        "session_overlaps": [{"user": "a-user", "from_ms": began, "until_ms": ended} for began, ended in overlaps],
    }


def strike(kind: str, at_ms: int) -> Strike:
    return Strike(kind=kind, at_ms=at_ms)


@pytest.mark.parametrize(
    ("began_ms", "ended_ms", "is_excused"),
    [
        (16_000, 20_500, True),
        (9_000, 12_000, False),
        (16_000, 30_000, False),
        (16_000, None, False),
        (21_000, 22_000, True),
        (22_000, 24_000, False),
    ],
)
def test_two_sessions_at_once_are_excused_while_a_process_stands_still(
    began_ms: int, ended_ms: int | None, is_excused: bool
) -> None:
    figures = judge_sessions(oracle((began_ms, ended_ms)), [], FROZEN)

    assert (figures["doubled"] == []) == is_excused
    assert (judge.broken(figures) == []) == is_excused


@pytest.mark.parametrize(
    ("kind", "began_ms", "ended_ms", "is_excused"),
    [
        ("roll back", 101_000, 104_000, True),
        ("step store clock", 101_000, 104_000, True),
        ("roll back", 101_000, 110_000, False),
        ("roll back", 99_000, 101_000, False),
        ("roll back", 130_000, 131_000, False),
        ("freeze store", 101_000, 104_000, False),
        ("cut link", 101_000, 104_000, False),
    ],
)
def test_two_at_once_are_excused_for_a_moment_after_the_store_forgot(
    kind: str, began_ms: int, ended_ms: int, is_excused: bool
) -> None:
    figures = judge_sessions(oracle((began_ms, ended_ms)), [strike(kind, 100_000)], [])

    assert (figures["doubled"] == []) == is_excused


def test_no_more_sessions_are_opened_than_faults_may_have_ended() -> None:
    faults = [strike(kind, 0) for kind in ("cut sessions", "kill store", "429", "events drop")]
    most = OPENED_MIN + len(FROZEN) + 2

    assert judge_sessions(oracle(identified=most), faults, FROZEN)["opened_too_often"] == []
    assert judge.broken(judge_sessions(oracle(identified=most + 1), faults, FROZEN)) == ["opened_too_often: 1"]


def test_a_full_plan_over_the_gateway_has_every_kind_often_enough() -> None:
    kinds = (*KINDS, *GATEWAY_KINDS)
    faults = FULL.with_more(sum(kind.least for kind in GATEWAY_KINDS)).faults

    order = plan(kinds, faults=faults, dice=random.Random(1))  # noqa: S311 (a plan, no secret)

    assert all(order.count(kind.name) >= kind.least for kind in kinds)
