"""A short run of the chaos suite: few faults of the cheap kinds, judged as the full run is."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.scale import SHORT
from chaos.theatre import play

pytestmark = pytest.mark.timeout(240)

CHEAP = (
    "kill worker in A",
    "kill worker in S",
    "kill dispatcher",
    "kill api",
    "429",
    "5xx after accept",
    "cancel",
    "cut link",
    "script flush",
)


HEARD = (
    "kill worker in A",
    "cut link",
    "cut sessions",
    "op 9",
    "end sessions",
    "refuse token",
    "events drop",
    "events reorder",
)


@pytest.mark.parametrize(("observe", "names"), [("poll", CHEAP), ("gateway", HEARD)])
def test_a_fleet_struck_from_all_sides_keeps_every_promise(
    tmp_path: Path, observe: str, names: tuple[str, ...]
) -> None:
    told: list[str] = []

    figures = play(tmp_path / "out", scale=SHORT, names=names, seed=5, tell=told.append, observe=observe)

    # How long a recovery took is measured, and no verdict on a machine that others use.
    broken = [what for what in figures["broken"] if not (what.startswith("recovery of") and ": 0 never" in what)]
    assert broken == [], "\n".join(told)
    assert figures["faults"] >= SHORT.faults
    assert figures["in_flight_min"] >= SHORT.in_flight_min
    assert sum(figures["jobs"].values()) >= SHORT.jobs
    assert set(figures["jobs"]) <= {"completed", "cancelled", "failed"}
    assert figures["redelivered"] > 0
    assert (figures["sessions_peak"] > 0) == (observe == "gateway")
