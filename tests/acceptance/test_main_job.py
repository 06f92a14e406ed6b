"""The main job on real processes, judged by the simulator's oracle: the benches' programs in short form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cancels, fleet, in_flight, kills, observe
from bench.stage import stage
from bench.verdict import is_clean

pytestmark = pytest.mark.timeout(400)


def told(figures: dict[str, Any]) -> str:
    """Every figure: pytest cuts a dictionary short before the one that matters."""
    return json.dumps(figures, indent=1)


def test_no_job_is_lost_doubled_or_over_an_accounts_limit_with_two_workers(tmp_path: Path) -> None:
    with stage(tmp_path, fleet.SETTINGS) as on:
        figures = fleet.run(on, jobs=60, accounts=10, workers=2, seed=3)

    assert is_clean(figures), told(figures)
    assert figures["jobs"] == {"completed": 60}


def test_workers_killed_at_random_lose_nothing_while_another_lives(tmp_path: Path) -> None:
    with stage(tmp_path, kills.SETTINGS) as on:
        figures = kills.run(on, jobs=120, kills=2, seed=5, running_min=20)

    assert kills.is_acceptable(figures), told(figures)
    assert figures["kills"] == 2
    assert figures["redelivered"] > 0


def test_one_worker_carries_every_slot_at_one_instant(tmp_path: Path) -> None:
    with stage(tmp_path) as on:
        figures = in_flight.run(on, jobs=100, accounts=20, seconds=25)

    assert is_clean(figures), told(figures)
    assert figures["running_at_once"] == 100


def test_cancelled_jobs_keep_their_slots_from_those_that_wait(tmp_path: Path) -> None:
    with stage(tmp_path, cancels.SETTINGS) as on:
        figures = cancels.run(on, jobs=40, seconds=10)

    assert cancels.is_acceptable(figures, jobs=40), told(figures)
    assert figures["running_upstream_after_the_cancels"] == figures["slots_held_after_the_cancels"] == 40


def test_watching_by_lists_or_by_the_gateway_brings_every_job_home_with_429s_among_the_answers() -> None:
    play = observe.Play(jobs=36, accounts=6, slots=3, workers=2, seed=3, every=12)

    figures = observe.played(play, observe.MODES)

    for mode in observe.MODES:
        assert observe.is_acceptable(figures[mode], jobs=36), told(figures[mode])
        assert figures[mode]["limited"], told(figures[mode])
    assert figures["gateway"]["lists_per_job"] < figures["poll"]["lists_per_job"], told(figures)
