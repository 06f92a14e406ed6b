"""Stores that restart, lose their last writes, fail over and back under real workers; the simulator judges."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.fleet import requests
from bench.stage import Stage, stage
from bench.verdict import verdict
from dispatcher import Client, CreateSingle, Job
from tests.support.deliveries import eventually
from tests.support.fleet import Fleet
from tests.support.servers import Address, Server

QUICK = {"heartbeat_s": 1, "lease_ttl_s": 4, "learning_s": 5, "sweep_s": 0.5, "poll_min_s": 0.3, "poll_max_s": 1}
PATIENCE_S = 150.0
DICE = random.Random(3)  # noqa: S311 (any lengths do)

pytestmark = pytest.mark.timeout(300)


@contextmanager
def server_and_stage(tmp_path: Path) -> Iterator[tuple[Server, Address, Stage]]:
    with Server(tmp_path / "one") as server:
        address = Address(tmp_path / "current", server)
        with stage(tmp_path, QUICK, redis_url=address.url) as on:
            yield server, address, on


def judged(on: Stage, jobs: list[Job]) -> dict[str, Any]:
    """The figures that must be nought, and the jobs by status."""
    figures = verdict(jobs, on.oracle(), slots_held=eventually_free(on))
    return {name: figures[name] for name in ("jobs", "breaches", "duplicates", "lost", "wrong_files", "leaked")}


def clean(**jobs: int) -> dict[str, Any]:
    return {"jobs": jobs, "breaches": 0, "duplicates": 0, "lost": 0, "wrong_files": 0, "leaked": 0}


def eventually_free(on: Stage) -> int:
    """Slots still held once those whose jobs have ended had their time to be given back."""
    eventually(lambda: on.oracle(with_jobs=False)["totals"]["running"] == 0)
    eventually(lambda: on.slots_held() == 0)
    return on.slots_held()


def logged(on: Stage, event: str) -> int:
    """How often the service has said it."""
    return sum(log.read_text().count(f'"{event}"') for log in on.folder.glob("run-*.log"))


def states(on: Stage) -> dict[str, str]:
    """The state of each leased job."""
    keys = on.store.client.scan_iter(f"{on.settings.namespace}:lease:*", count=1000)
    return {str(key).rpartition(":")[2]: str(on.store.client.hget(key, "state")) for key in keys}


def stand(on: Stage, channels: list[str], state: str) -> None:
    for channel in channels:
        Fleet(on.store).stand(channel, state)


def limit(on: Stage, channel: str, max_jobs: int) -> None:
    """Change an account's limit, and grant from it."""
    fleet = Fleet(on.store)
    on.store.client.hset(fleet.key("account", fleet.pool, channel), "max_jobs", max_jobs)
    fleet.stand(channel, fleet.account(channel)["state"])


def told(take: str, how: str) -> CreateSingle:
    return CreateSingle(prompt=f"{take} [[sim {how}]]", style="Anime")


def one_in_each_state(on: Stage, client: Client, channels: list[str]) -> dict[str, Job]:
    """Jobs that will be found in C, S, U, A and D together, each under its state; all wait for their accounts now."""
    hanging, lost, steady = channels
    limit(on, hanging, 1)  # until the first is at the upstream: either might be there first
    submissions = {
        "S": (hanging, "submit=hang-after-accept ack=6 seconds=30"),
        "C": (hanging, "seconds=2"),  # it waits at the gate for the one before it
        "U": (lost, "submit=500-after-accept ack=20 seconds=30"),
        "A": (steady, "ack=0.2 seconds=30"),
        "D": (steady, "ack=0.2 seconds=30"),
    }
    return {
        state: client.enqueue(told(f"in {state}", how), channel=channel)
        for state, (channel, how) in submissions.items()
    }


def reach(on: Stage, client: Client, channels: list[str], jobs: dict[str, Job]) -> None:
    """Wait until each is in its state; that in D is cancelled as soon as it was accepted."""
    eventually(lambda: states(on).get(jobs["S"].id) == "S")
    limit(on, channels[0], 2)
    eventually(lambda: states(on).get(jobs["D"].id) == "A")
    client.cancel(jobs["D"].id)
    eventually(lambda: states(on) == {job.id: state for state, job in jobs.items()})


def test_after_a_kill_and_restart_every_job_ends_once(tmp_path: Path) -> None:
    with server_and_stage(tmp_path) as (server, _, on), Client(on.settings.redis_url) as client:
        on.start("run")
        on.start("work")
        on.start("work")
        on.add_accounts([1, 2, 3, 4])
        jobs = client.enqueue_many(requests(40, DICE, shortest_s=2, longest_s=5))
        for _ in range(2):
            eventually(lambda: on.oracle(with_jobs=False)["totals"]["running"] >= 8)
            before = logged(on, "learning ended")
            server.kill()
            server.start()
            eventually(lambda before=before: logged(on, "learning ended") > before)  # type: ignore[misc]

        ended = client.wait_many([job.id for job in jobs], timeout_s=PATIENCE_S)

        assert judged(on, ended) == clean(completed=40)
        assert logged(on, "learning opened") == 2


def test_leases_in_every_state_whose_grants_were_lost_are_told_again(tmp_path: Path) -> None:
    with server_and_stage(tmp_path) as (server, _, on), Client(on.settings.redis_url) as client:
        on.start("run")
        on.start("work")
        channels = on.add_accounts([2, 1, 2])
        stand(on, channels, "paused")
        jobs = one_in_each_state(on, client, channels)
        server.copy_data(tmp_path / "before")
        stand(on, channels, "active")
        reach(on, client, channels, jobs)

        server.kill()
        server.put_back(tmp_path / "before")
        server.start()
        limit(on, channels[0], 2)
        stand(on, channels, "active")
        ended = client.wait_many([job.id for job in jobs.values()], timeout_s=PATIENCE_S)

        assert judged(on, ended) == clean(completed=5)  # its cancellation was lost, too


def test_leases_in_every_state_whose_redelivery_was_lost_are_told_again(tmp_path: Path) -> None:
    with server_and_stage(tmp_path) as (server, _, on), Client(on.settings.redis_url) as client:
        on.start("run")
        first = on.start("work")
        channels = on.add_accounts([2, 1, 2])
        jobs = one_in_each_state(on, client, channels)
        reach(on, client, channels, jobs)
        server.copy_data(tmp_path / "before")
        old = {job.id: Fleet(on.store).token(job.id) for job in jobs.values()}
        on.kill(first)
        on.start("work")
        leases = {state: Fleet(on.store).lease for state in jobs}
        eventually(lambda: all(is_taken_over(leases[state](job.id), old[job.id]) for state, job in jobs.items()))

        server.kill()
        server.put_back(tmp_path / "before")
        server.start()
        ended = client.wait_many([job.id for job in jobs.values()], timeout_s=PATIENCE_S)

        assert judged(on, ended) == clean(completed=4, cancelled=1)
        told_again = [job for job in ended if any("reasserted" in line for line in job.history)]
        assert len(told_again) == 4  # the cancelled one's record was whole


def is_taken_over(lease: dict[str, str], old_token: str) -> bool:
    """Whether another execution holds it now, under a newer token."""
    return bool(lease) and int(lease["token"]) > int(old_token) and bool(lease["execution"])


def test_a_failover_and_a_failback_that_lose_writes_over_use_and_repeat_nothing(tmp_path: Path) -> None:
    with server_and_stage(tmp_path) as (one, address, on), Server(tmp_path / "two") as two:
        two.follow(one)
        on.start("run")
        on.start("work")
        on.start("work")
        on.add_accounts([1, 2, 3, 4])
        with Client(on.settings.redis_url) as client:
            jobs = client.enqueue_many(requests(60, DICE, shortest_s=2, longest_s=5))
            for master, replica in ((one, two), (two, one)):
                eventually(lambda: on.oracle(with_jobs=False)["totals"]["running"] >= 8)
                lose_writes(on, replica)
                before = logged(on, "learning ended")
                master.kill()
                replica.promote()
                address.point_to(replica)
                eventually(lambda before=before: logged(on, "learning ended") > before)  # type: ignore[misc]
                master.start()
                master.follow(replica)

            ended = client.wait_many([job.id for job in jobs], timeout_s=PATIENCE_S)

        assert judged(on, ended) == clean(completed=60)


def lose_writes(on: Stage, replica: Server) -> None:
    """Let the replica fall behind until jobs were submitted of which it knows nothing."""
    replica.lag()
    submitted = on.oracle(with_jobs=False)["totals"]["accepted"]
    eventually(lambda: on.oracle(with_jobs=False)["totals"]["accepted"] >= submitted + 3)
