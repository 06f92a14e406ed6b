"""Many jobs over unequal accounts with two workers: nothing lost, doubled or over-used, by the upstream's count.

python -m bench.fleet --jobs 300 --accounts 20
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle

SEED = 7
TIMEOUT_S = 400.0
SETTINGS = {"poll_min_s": 0.5, "poll_max_s": 1.0}


def requests(count: int, dice: random.Random, *, shortest_s: float = 1, longest_s: float = 4) -> list[CreateSingle]:
    """Requests with prompts of their own, which tell the simulator how long each takes."""
    return [
        CreateSingle(
            prompt=f"take {n} [[sim seconds={dice.uniform(shortest_s, longest_s):.2f} ack=0.2 progress=2]]",
            style="Anime",
        )
        for n in range(count)
    ]


def run(on: Stage, *, jobs: int, accounts: int, workers: int, seed: int) -> dict[str, Any]:
    """Play it once; the figures."""
    dice = random.Random(seed)
    on.start("run")
    for _ in range(workers):
        on.start("work")
    limits = [1 + n % 10 for n in range(accounts)]
    on.add_accounts(limits)
    started_s = time.monotonic()
    with Client(on.settings.redis_url) as client:
        accepted = client.enqueue_many(requests(jobs, dice))
        ended = client.wait_many([job.id for job in accepted], timeout_s=TIMEOUT_S)
    figures = verdict(ended, on.oracle(), slots_held=on.slots_held())
    return {
        "slots": sum(limits),
        "accounts": accounts,
        "workers": workers,
        **figures,
        "makespan_s": round(time.monotonic() - started_s, 1),
    }


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-fleet-") as folder, stage(Path(folder), SETTINGS) as on:
        figures = run(on, jobs=given.jobs, accounts=given.accounts, workers=given.workers, seed=given.seed)
    print(json.dumps(figures, indent=2))
    return 0 if is_clean(figures) and figures["jobs"] == {"completed": given.jobs} else 1


if __name__ == "__main__":
    sys.exit(main())
