"""The reaper on a real store: what one sweep does and tells, and when the next one comes."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatcher.connection import AsyncStore, Store
from dispatcher.reaper import Reaper
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.fleet import Fleet

SWEEP_S = 7.5


@pytest.fixture
def fleet(store: Store) -> Fleet:
    """One account with room for two."""
    made = Fleet(store)
    made.put("c1", 2)
    return made


@pytest.fixture
def reaper(async_store: AsyncStore, settings: Settings) -> Reaper:
    return Reaper(async_store, Slots(settings), sweep_s=SWEEP_S)


async def sweep(reaper: Reaper) -> list[Any]:
    """Sweep once; what was logged."""
    with capture_logs() as lines:
        await reaper.step()
    return list(lines)


def reaped(*, redelivered: int = 0, ended: int = 0, slots_forced: int = 0) -> list[Any]:
    counts = {"redelivered": redelivered, "ended": ended, "slots_forced": slots_forced}
    return [{"event": "leases reaped", "log_level": "warning", **counts}]


async def test_where_nobody_died_it_says_nothing(fleet: Fleet, reaper: Reaper) -> None:
    fleet.bring("j1", "A")
    assert reaper.interval() == SWEEP_S

    assert await sweep(reaper) == []

    assert reaper.interval() == SWEEP_S
    assert fleet.state("j1") == "A"


async def test_a_dead_owners_job_is_redelivered_and_told_once(fleet: Fleet, reaper: Reaper) -> None:
    token = fleet.bring("j1", "A")
    fleet.expire("j1")
    assert await sweep(reaper) == []
    fleet.expire("j1")

    assert await sweep(reaper) == reaped(redelivered=1)

    assert fleet.queue()[0] == f"j1-{fleet.token('j1')}" != f"j1-{token}"
    assert await sweep(reaper) == []


async def test_jobs_whose_time_is_up_are_told(fleet: Fleet, reaper: Reaper) -> None:
    for job in ("j1", "j2"):
        fleet.bring(job, "C")
        fleet.store.client.zadd(fleet.key("deadlines"), {job: 1000})

    assert await sweep(reaper) == reaped(ended=2)

    assert (fleet.status("j1"), fleet.used("c1")) == ("failed", [])


async def test_slots_whose_hold_is_over_are_told(fleet: Fleet, reaper: Reaper) -> None:
    fleet.bring("j1", "D")
    fleet.pass_deadline("j1")

    assert await sweep(reaper) == reaped(slots_forced=1)

    assert fleet.used("c1") == []


async def test_all_that_one_sweep_did_is_one_line(fleet: Fleet, reaper: Reaper) -> None:
    fleet.put("c1", 6)
    for job, state in {"j1": "A", "j2": "A", "j3": "A", "j4": "D", "j5": "D", "j6": "C"}.items():
        fleet.bring(job, state)
    fleet.expire("j1", "j2", "j3")
    await sweep(reaper)
    fleet.expire("j1", "j2", "j3")
    fleet.pass_deadline("j4", "j5")
    fleet.store.client.zadd(fleet.key("deadlines"), {"j6": 1000})

    assert await sweep(reaper) == reaped(redelivered=3, ended=1, slots_forced=2)


async def test_a_sweep_that_was_cut_short_is_followed_by_the_next_at_once(fleet: Fleet, reaper: Reaper) -> None:
    fleet.store.client.zadd(fleet.key("expiry"), {f"gone-{number}": 1000 for number in range(200)})

    await reaper.step()
    assert reaper.interval() == 0

    await reaper.step()
    assert reaper.interval() == SWEEP_S
    assert not fleet.store.client.exists(fleet.key("expiry"))
