"""Worker processes that hear the gateway's events: whatever becomes of the one that has the session, jobs end well.

The oracle judges: every job completes with its own files, and a token never has two sessions at once, but while a
process that had one stands still.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest

from bench.stage import FIRST_CHANNEL, Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle, Job
from dispatcher.embedded import EmbeddedStore
from simulator.accounts import user_id_of

T = TypeVar("T")

JOBS = 8
PATIENCE_S = 90.0
SETTINGS: dict[str, Any] = {
    "observe": "gateway",
    "poll_min_s": 0.3,
    "poll_max_s": 2.0,
    "lease_ttl_s": 6,
    "heartbeat_s": 1,
    "start_timeout_s": 30,
}
USER = user_id_of(f"discord-token-of-{FIRST_CHANNEL}")


class Fleet:
    """Two workers and one account, whose session one of them has."""

    def __init__(self, on: Stage, client: Client, pool: ThreadPoolExecutor) -> None:
        self.on = on
        self._client = client
        self._pool = pool
        self._jobs: Future[list[Job]] | None = None

    def submit(self, *, seconds: int) -> None:
        """Have jobs run, and wait for them beside what the test does."""
        wanted = [
            CreateSingle(prompt=f"take {n} [[sim seconds={seconds + n % 3} ack=0.2]]", style="Anime")
            for n in range(JOBS)
        ]
        jobs = [job.id for job in self._client.enqueue_many(wanted)]
        self._jobs = self._pool.submit(self._client.wait_many, jobs, timeout_s=PATIENCE_S)

    def ends_well(self) -> None:
        """Every job completes with its own files, and nothing is left behind."""
        assert self._jobs is not None
        figures = verdict(self._jobs.result(), self.on.oracle(), slots_held=self.on.slots_held())
        assert is_clean(figures), figures
        assert figures["jobs"] == {"completed": JOBS}, figures

    def sessions(self) -> dict[str, int]:
        nothing = {"open": 0, "peak": 0, "identified": 0, "resumed": 0}
        counts: dict[str, int] = self.on.oracle(with_jobs=False)["sessions"].get(USER, nothing)
        return counts

    def holder(self) -> int:
        """The process that has the place at the session; 0 while it is nobody's."""
        store = self.on.store.client
        owners = [store.hget(key, "owner") for key in store.keys(f"{self.on.settings.namespace}:session:*")]
        return next((int(str(owner).split(".")[0]) for owner in owners if owner), 0)

    def is_up(self) -> bool:
        """Whether a session is up, and all jobs run."""
        counts = self.on.oracle(with_jobs=False)
        is_open = counts["sessions"].get(USER, {}).get("open", 0) == 1
        return is_open and int(counts["totals"]["running"]) == JOBS

    def heard(self) -> int:
        """How often a session was opened or resumed."""
        return self.sessions()["identified"] + self.sessions()["resumed"]

    def has_heard(self, count: int) -> bool:
        return self.heard() >= count

    def gateway(self, control: str, **body: Any) -> None:
        httpx.post(f"{self.on.simulator_url}/sim/gateway/{control}", json=body).raise_for_status()


def until(claim: Callable[[], T]) -> T:
    end_s = time.monotonic() + PATIENCE_S
    while not (found := claim()):
        assert time.monotonic() < end_s
        time.sleep(0.05)
    return found


@contextmanager
def a_fleet(folder: Path, *, redis_url: str | None = None) -> Iterator[Fleet]:
    with stage(folder, SETTINGS, redis_url=redis_url) as on, ThreadPoolExecutor(1) as pool:
        on.start("run")
        on.start("work")
        on.start("work")
        on.add_accounts([JOBS])
        with Client(on.settings.redis_url) as client:
            yield Fleet(on, client, pool)


def test_a_killed_holders_place_is_anothers_and_all_jobs_end_well(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        fleet.submit(seconds=12)
        until(fleet.is_up)
        killed = until(fleet.holder)
        process = next(process for process in fleet.on.processes if process.pid == killed)
        fleet.on.kill(process)
        until(lambda: fleet.holder() not in {0, killed})
        until(lambda: fleet.sessions()["open"])

        fleet.ends_well()
        assert fleet.sessions()["peak"] == 1
        assert fleet.sessions()["identified"] == 2


def test_a_frozen_holder_gives_its_session_up_when_it_wakes_and_all_jobs_end_well(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        fleet.submit(seconds=14)
        until(fleet.is_up)
        frozen = until(fleet.holder)
        os.kill(frozen, signal.SIGSTOP)
        try:
            until(lambda: fleet.holder() not in {0, frozen})
            until(lambda: fleet.sessions()["identified"] == 2)
        finally:
            os.kill(frozen, signal.SIGCONT)
        until(lambda: fleet.sessions()["open"] == 1)

        fleet.ends_well()
        assert fleet.holder() != frozen
        assert fleet.sessions()["identified"] == 2


@pytest.mark.parametrize("away_s", [1.0, 8.0])
def test_a_store_that_is_away_leaves_one_session_and_all_jobs_end_well(tmp_path: Path, away_s: float) -> None:
    embedded = EmbeddedStore(tmp_path)
    url = embedded.start()
    try:
        with a_fleet(tmp_path, redis_url=url) as fleet:
            fleet.submit(seconds=14)
            until(fleet.is_up)
            server = int(fleet.on.store.client.info("server")["process_id"])
            os.kill(server, signal.SIGSTOP)
            time.sleep(away_s)  # how long it is away, not how long something may take
            open_then = fleet.sessions()["open"]
            os.kill(server, signal.SIGCONT)

            fleet.ends_well()
            assert open_then == (1 if away_s < 3 else 0), "kept for as long as the lease is sure, and no longer"
            assert fleet.sessions()["peak"] == 1
    finally:
        embedded.stop()


def test_all_jobs_end_well_whatever_becomes_of_their_session(tmp_path: Path) -> None:
    blows: tuple[tuple[str, dict[str, Any]], ...] = (
        ("reconnect", {}),
        ("close", {"code": 4000}),
        ("invalidate", {"resumable": False}),
    )
    with a_fleet(tmp_path) as fleet:
        fleet.submit(seconds=14)
        until(fleet.is_up)
        for control, body in blows:
            later = fleet.heard() + 1
            fleet.gateway(control, **body)
            until(partial(fleet.has_heard, later))
        fleet.gateway("close", code=4015)
        until(lambda: not fleet.sessions()["open"])

        fleet.ends_well()
        assert fleet.sessions() == {"open": 0, "peak": 1, "identified": 2, "resumed": 2}


def test_all_jobs_end_well_where_the_gateway_is_away_for_good(tmp_path: Path) -> None:
    with a_fleet(tmp_path) as fleet:
        fleet.submit(seconds=3)
        until(fleet.is_up)
        fleet.gateway("terms", up=False)

        fleet.ends_well()
        assert fleet.sessions()["identified"] == 1
