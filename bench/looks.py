"""What it costs to watch jobs, and how late their ends are seen, with several workers on the same channels.

python -m bench.looks --jobs 200 --accounts 20 --workers 2
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle, Job

SEED = 5
A_CHANNEL = 5
TIMEOUT_S = 400.0


def requests(count: int, dice: random.Random, *, shortest_s: float, longest_s: float) -> list[CreateSingle]:
    """Requests whose answers come after 0.3 to 3 s, and whose results after as long as the two bounds say."""
    return [
        CreateSingle(
            prompt=f"take {n} [[sim seconds={dice.uniform(shortest_s, longest_s):.2f} ack={dice.uniform(0.3, 3):.2f}]]",
            style="Anime",
        )
        for n in range(count)
    ]


def late_s(jobs: Sequence[Job], oracle: dict[str, Any]) -> list[float]:
    """How long after the upstream finished it each job was settled, in seconds, shortest first."""
    finished_ms = {job["prompt"]: job["finished_ms"] for job in oracle["jobs"]}
    ends = [(job.finished, finished_ms.get(str(job.prompt))) for job in jobs]
    return sorted(end.timestamp() - at_ms / 1000 for end, at_ms in ends if end is not None and at_ms)


def kept_bytes(on: Stage) -> int:
    """Bytes that Redis keeps for one channel's looks: the most of any."""
    sizes: dict[str, int] = {}
    for key in on.store.client.scan_iter(f"{on.settings.namespace}:look*", count=1000):
        channel = str(key).rpartition(":")[2]
        sizes[channel] = sizes.get(channel, 0) + int(on.store.client.memory_usage(key) or 0)
    return max(sizes.values(), default=0)


def run(on: Stage, given: argparse.Namespace) -> dict[str, Any]:
    """Play it once; the figures."""
    on.start("run")
    for _ in range(given.workers):
        on.start("work")
    on.add_accounts([A_CHANNEL] * given.accounts)
    dice = random.Random(given.seed)
    started_s = time.monotonic()
    kept = 0
    with Client(on.settings.redis_url) as client:
        wanted = requests(given.jobs, dice, shortest_s=given.shortest, longest_s=given.longest)
        accepted = client.enqueue_many(wanted)
        while time.monotonic() - started_s < TIMEOUT_S:
            totals = on.oracle(with_jobs=False)["totals"]
            kept = max(kept, kept_bytes(on))
            if totals["accepted"] == given.jobs and totals["running"] == 0:
                break
            time.sleep(1)
        ended = client.wait_many([job.id for job in accepted], timeout_s=TIMEOUT_S)
    oracle = on.oracle()
    late = late_s(ended, oracle)
    return {
        "workers": given.workers,
        "accounts": given.accounts,
        "looks_per_job": round(oracle["requests"]["messages"] / given.jobs, 2),
        "late_p50_s": round(statistics.median(late), 2),
        "late_p99_s": round(late[int(len(late) * 0.99)], 2),
        "slot_seconds_lost": round(sum(late), 1),
        "bytes_a_channel": kept,
        **verdict(ended, oracle, slots_held=on.slots_held()),
        "makespan_s": round(time.monotonic() - started_s, 1),
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shortest", type=float, default=20)
    parser.add_argument("--longest", type=float, default=40)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--code", type=Path, help="a folder with the packages to measure instead of these")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-looks-") as folder, stage(Path(folder), code=given.code) as on:
        figures = run(on, given)
    print(json.dumps(figures, indent=2))
    return 0 if is_clean(figures) and figures["jobs"] == {"completed": given.jobs} else 1


if __name__ == "__main__":
    sys.exit(main())
