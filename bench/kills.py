"""SIGKILL workers at random moments while another lives: every job must complete with its own file, none twice.

python -m bench.kills --kills 20
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.fleet import requests
from bench.stage import Stage, stage
from bench.verdict import verdict
from dispatcher import Client, Job

SEED = 11
RUNNING_MIN = 50
LOOK_S = 0.1
TIMEOUT_S = 600.0
SETTINGS = {"poll_min_s": 0.5, "poll_max_s": 1.0}
ACCOUNTS = 20


def lease_states(on: Stage) -> Counter[str]:
    """Leases by state, as the store has them now."""
    keys = list(on.store.client.scan_iter(f"{on.settings.namespace}:lease:*", count=1000))
    pipeline = on.store.client.pipeline(transaction=False)
    for key in keys:
        pipeline.hget(key, "state")
    return Counter(str(state) for state in pipeline.execute() if state)


def wait_until_busy(on: Stage, running: int) -> bool:
    """Wait until the upstream runs so many jobs; False if it will not any more."""
    end_s = time.monotonic() + TIMEOUT_S / 4
    while time.monotonic() < end_s:
        if on.oracle(with_jobs=False)["totals"]["running"] >= running:
            return True
        time.sleep(LOOK_S)
    return False


def run(on: Stage, *, jobs: int, kills: int, seed: int, running_min: int) -> dict[str, Any]:
    """Play it once; the figures."""
    dice = random.Random(seed)
    on.start("run")
    workers = [on.start("work"), on.start("work")]
    on.add_accounts([1 + n % 10 for n in range(ACCOUNTS)])
    hit: Counter[str] = Counter()
    killed = 0
    started_s = time.monotonic()
    with Client(on.settings.redis_url) as client:
        accepted = client.enqueue_many(requests(jobs, dice, shortest_s=2, longest_s=10))
        while killed < kills and wait_until_busy(on, running_min):
            time.sleep(dice.uniform(0, 2))
            if on.oracle(with_jobs=False)["totals"]["running"] < running_min:
                continue
            hit += lease_states(on)
            victim = dice.randrange(len(workers))
            on.kill(workers[victim])
            killed += 1
            workers[victim] = on.start("work")
            time.sleep(dice.uniform(2, 12))
        ended = client.wait_many([job.id for job in accepted], timeout_s=TIMEOUT_S)
    oracle = on.oracle()
    return {
        "jobs_asked": jobs,
        "kills": killed,
        "states_at_kills": dict(hit),
        **verdict(ended, oracle, slots_held=on.slots_held()),
        "not_started": [job.id for job in ended if is_not_started(job)],
        "makespan_s": round(time.monotonic() - started_s, 1),
    }


def is_not_started(job: Job) -> bool:
    """Whether its submission was proven never to have arrived: its worker died between `mark S` and the request."""
    return job.status == "failed" and "not started" in str(job.error)


def is_acceptable(figures: dict[str, Any]) -> bool:
    """Nothing over-used, lost, doubled or leaked; at most one `not started` per kill, and no other failure."""
    clean = not any(figures[name] for name in ("breaches", "duplicates", "lost", "wrong_files", "leaked"))
    failed = figures["jobs"].get("failed", 0)
    others = set(figures["jobs"]) - {"completed", "failed"}
    return clean and not others and failed == len(figures["not_started"]) <= figures["kills"]


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--running-min", type=int, default=RUNNING_MIN)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-kills-") as folder, stage(Path(folder), SETTINGS) as on:
        figures = run(on, jobs=given.jobs, kills=given.kills, seed=given.seed, running_min=given.running_min)
    print(json.dumps(figures, indent=2))
    return 0 if is_acceptable(figures) and figures["kills"] == given.kills else 1


if __name__ == "__main__":
    sys.exit(main())
