"""Cancel every running job while as many wait: the upstream goes on, so no slot may be given away before it ends.

python -m bench.cancels --jobs 200
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle

SETTINGS = {"poll_min_s": 0.5, "poll_max_s": 1.0}
SLOTS_AN_ACCOUNT = 10
CANCELS_AT_ONCE = 8
LOOK_S = 0.1
TIMEOUT_S = 300.0


def takes(count: int, name: str, seconds: float) -> list[CreateSingle]:
    """Requests with prompts of their own that each run for so long upstream."""
    return [CreateSingle(prompt=f"{name} {n} [[sim seconds={seconds} ack=0.2]]", style="Anime") for n in range(count)]


def until(condition: Callable[[], bool]) -> None:
    """Wait for it.

    Raises:
        TimeoutError: it did not come true.
    """
    end_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(LOOK_S)


def run(on: Stage, *, jobs: int, seconds: float) -> dict[str, Any]:
    """Play it once; the figures."""
    on.start("run")
    on.start("work")
    on.add_accounts([SLOTS_AN_ACCOUNT] * (jobs // SLOTS_AN_ACCOUNT))
    with Client(on.settings.redis_url) as client:
        first = client.enqueue_many(takes(jobs, "first", seconds))
        until(lambda: on.oracle(with_jobs=False)["totals"]["running"] == jobs)
        second = client.enqueue_many(takes(jobs, "second", 2))
        with ThreadPoolExecutor(CANCELS_AT_ONCE) as pool:
            cancelled = list(pool.map(client.cancel, [job.id for job in first]))
        still_running = on.oracle(with_jobs=False)["totals"]["running"]
        held = on.slots_held()
        ended = client.wait_many([job.id for job in second], timeout_s=TIMEOUT_S)
        until(lambda: on.slots_held() == 0)
        figures = verdict(ended + [client.get(job.id) for job in cancelled], on.oracle(), slots_held=on.slots_held())
    return {
        "cancelled_while_running": sum(job.status == "cancelled" for job in cancelled),
        "running_upstream_after_the_cancels": still_running,
        "slots_held_after_the_cancels": held,
        **figures,
    }


def is_acceptable(figures: dict[str, Any], *, jobs: int) -> bool:
    """Whether all were cancelled, all others completed, and no account ran more than its slots."""
    return is_clean(figures) and figures["jobs"] == {"completed": jobs, "cancelled": jobs}


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=25)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-cancels-") as folder, stage(Path(folder), SETTINGS) as on:
        figures = run(on, jobs=given.jobs, seconds=given.seconds)
    print(json.dumps(figures, indent=2))
    return 0 if is_acceptable(figures, jobs=given.jobs) else 1


if __name__ == "__main__":
    sys.exit(main())
