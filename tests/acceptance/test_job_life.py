"""A job's life on real processes, judged by the simulator's oracle: tried again, limited, cancelled in any state."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.stage import FIRST_CHANNEL, SERVER, Stage, stage
from dispatcher import Client, CreateSingle, Job

pytestmark = pytest.mark.timeout(300)

QUICK = {"poll_min_s": 0.2, "poll_max_s": 0.5}
PATIENCE_S = 90.0


def until(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come true"
        time.sleep(0.05)


def take(prompt: str, directive: str = "", **more: Any) -> CreateSingle:
    return CreateSingle(prompt=f"{prompt} [[sim {directive}]]" if directive else prompt, style="Anime", **more)


def test_a_job_that_failed_upstream_completes_at_its_second_attempt_and_is_no_duplicate(tmp_path: Path) -> None:
    with stage(tmp_path, {**QUICK, "max_attempts": 2}) as on:
        on.add_accounts([1])
        httpx.post(f"{on.simulator_url}/sim/next", json={"directive": "outcome=failed seconds=0.3"}).raise_for_status()
        on.start("run")
        on.start("work")
        with Client(on.settings.redis_url) as client:
            job = client.wait(client.enqueue(take("twice")).id, timeout_s=PATIENCE_S)
            hopeless = client.wait(
                client.enqueue(take("in vain", "outcome=failed seconds=0.3")).id, timeout_s=PATIENCE_S
            )

        oracle = on.oracle()
        assert (job.status, job.attempts) == ("completed", 2)
        assert (hopeless.status, hopeless.attempts) == ("failed", 2)
        assert [made["outcome"] for made in oracle["jobs"]] == ["failed", "completed", "failed", "failed"]
        assert (oracle["breaches"], oracle["totals"]["duplicates"], on.slots_held()) == (0, 0, 0)


def test_a_requests_own_limit_is_never_exceeded_at_the_upstream(tmp_path: Path) -> None:
    with stage(tmp_path, QUICK) as on:
        [channel] = on.add_accounts([5])
        judged = {"token": f"discord-token-of-{channel}", "server": SERVER, "channel": channel, "max_jobs": 2}
        httpx.post(f"{on.simulator_url}/sim/accounts", json=judged).raise_for_status()
        on.start("run")
        on.start("work")
        with Client(on.settings.redis_url) as client:
            jobs = client.enqueue_many([take(f"narrow {n}", "seconds=0.5", maxJobs=2) for n in range(8)])
            ended = client.wait_many([job.id for job in jobs], timeout_s=PATIENCE_S)

        oracle = on.oracle()
        assert {job.status for job in ended} == {"completed"}
        assert (oracle["breaches"], oracle["accounts"][channel]["peak"]) == (0, 2)


def in_state(on: Stage, job: Job, state: str) -> Callable[[], bool]:
    return lambda: on.store.client.hget(on.store.keys.lease(job.id), "state") == state


def test_a_job_cancelled_in_any_state_is_over_at_once_and_its_slot_is_given_away_when_the_upstream_ends(
    tmp_path: Path,
) -> None:
    with stage(tmp_path, QUICK) as on, Client(on.settings.redis_url) as client:
        on.add_accounts([1, 2, 1, 1])
        accepted_on, gate_on, unknown_on, reserved_on = (str(FIRST_CHANNEL + n) for n in range(4))
        reserved = client.enqueue(take("reserved"), channel=reserved_on)
        assert in_state(on, reserved, "R")()
        assert client.cancel(reserved.id).status == "cancelled"
        on.start("run")
        on.start("work")
        jobs = {
            "A": client.enqueue(take("accepted", "seconds=30 ack=0.1"), channel=accepted_on),
            "S": client.enqueue(take("submitting", "submit=hang-after-accept seconds=30"), channel=gate_on),
            "U": client.enqueue(take("unknown", "submit=500-before-accept"), channel=unknown_on),
        }
        waiting = client.enqueue(take("waiting"), channel=accepted_on)
        until(in_state(on, jobs["S"], "S"))
        at_the_gate = client.enqueue(take("at the gate"), channel=gate_on)
        until(in_state(on, at_the_gate, "C"))
        for state, job in jobs.items():
            until(in_state(on, job, state))

        cancelled = [client.cancel(job.id) for job in (waiting, at_the_gate, *jobs.values())]
        followers = client.enqueue_many([take(f"follower {n}") for n in range(5)])

        assert {job.status for job in cancelled} == {"cancelled"}
        assert all(in_state(on, job, "D")() for job in jobs.values())
        assert {job.status for job in client.wait_many([j.id for j in followers], timeout_s=PATIENCE_S)} == {
            "completed"
        }
        until(lambda: on.slots_held() == 0)
        oracle = on.oracle()
        ran = {job["prompt"].partition(" [[")[0] for job in oracle["jobs"]}
        assert ran == {"accepted", "submitting", *(f"follower {n}" for n in range(5))}
        assert (oracle["breaches"], oracle["totals"]["duplicates"]) == (0, 0)
        assert {client.get(job.id).status for job in (reserved, *cancelled)} == {"cancelled"}
