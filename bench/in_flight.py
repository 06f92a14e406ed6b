"""How many jobs one worker process carries at one instant, by the upstream's count, and what they cost.

python -m bench.in_flight --jobs 2000 --accounts 200
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle

TIMEOUT_S = 420.0
ACK_S = 0.2
LOOK_S = 0.5


def memory_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has ended")


def cpu_s(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def run(on: Stage, *, jobs: int, accounts: int, seconds: float) -> dict[str, Any]:
    """Fill every slot, watch the upstream's count, wait for the end; the figures."""
    on.start("run")
    worker = on.start("work")
    on.add_accounts([jobs // accounts] * accounts)
    started_s = time.monotonic()
    peak = rss_mb = 0.0
    with Client(on.settings.redis_url) as client:
        accepted = client.enqueue_many(
            [CreateSingle(prompt=f"take {n} [[sim seconds={seconds} ack={ACK_S}]]", style="Anime") for n in range(jobs)]
        )
        filled_s = None
        while time.monotonic() - started_s < TIMEOUT_S:
            totals = on.oracle(with_jobs=False)["totals"]
            peak = max(peak, totals["running"])
            if totals["running"] == jobs and filled_s is None:
                filled_s = time.monotonic() - started_s
                rss_mb = memory_mb(worker.pid)
            if totals["accepted"] == jobs and totals["running"] == 0:
                break
            time.sleep(LOOK_S)
        ended = client.wait_many([job.id for job in accepted], timeout_s=TIMEOUT_S)
    oracle = on.oracle()
    return {
        "jobs_asked": jobs,
        "accounts": accounts,
        "seconds_each": seconds,
        "running_at_once": int(peak),
        "filled_after_s": filled_s and round(filled_s, 1),
        "worker_rss_mb": round(rss_mb or memory_mb(worker.pid), 1),
        "worker_cpu_s": round(cpu_s(worker.pid), 1),
        "polls_per_job": round(oracle["requests"]["messages"] / jobs, 2),
        "makespan_s": round(time.monotonic() - started_s, 1),
        **verdict(ended, oracle, slots_held=on.slots_held()),
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--accounts", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=150)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-flight-") as folder, stage(Path(folder)) as on:
        figures = run(on, jobs=given.jobs, accounts=given.accounts, seconds=given.seconds)
    print(json.dumps(figures, indent=2))
    return 0 if is_clean(figures) and figures["running_at_once"] == given.jobs else 1


if __name__ == "__main__":
    sys.exit(main())
