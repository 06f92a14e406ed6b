"""Run the demo; exit 0 only if every job completed with its own file and no limit was breached."""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo.fleet import ACCOUNTS, Fleet, running_fleet
from demo.verdict import Saved, summary, wrong_files
from dispatcher import Client, CreateSingle, Job

JOBS = 30
SEED = 2026
OUT = Path("demo-out")
CONFIG = Path(__file__).parent.parent / "config" / "demo.toml"
TIMEOUT_S = 180.0
SUBJECTS = ("a calm sea at dawn", "a fox in the snow", "a paper boat in the rain", "a lighthouse at night")


def requests() -> list[CreateSingle]:
    """Thirty seeded requests; the directive in each prompt tells the simulator how long it takes."""
    dice = random.Random(SEED)  # noqa: S311 (a seeded load, no secret)
    return [
        CreateSingle(
            prompt=f"{dice.choice(SUBJECTS)}, take {n} [[sim seconds={dice.uniform(3, 8):.2f} ack=0.3 progress=3]]",
            style="Realistic",
        )
        for n in range(1, JOBS + 1)
    ]


def board(oracle: dict[str, dict[str, dict[str, int]]], statuses: Counter[str]) -> Table:
    """One picture of the fleet: each account's slots as the upstream counts them, and the jobs by status."""
    table = Table(title="pixverse-dispatcher demo", title_justify="left")
    for column in ("account", "slots", "peak", "jobs"):
        table.add_column(column)
    for channel, account in sorted(oracle["accounts"].items()):
        bar = "■" * account["running"] + "□" * (account["limit"] - account["running"])
        table.add_row(channel, bar, f"{account['peak']}/{account['limit']}", str(account["accepted"]))
    table.caption = "  ".join(f"{status} {count}" for status, count in sorted(statuses.items()))
    return table


def run(fleet: Fleet, console: Console) -> tuple[list[Job], float]:
    """Register, enqueue, watch until all are final; the jobs and the seconds from first enqueue to last end."""
    for account in ACCOUNTS:
        fleet.register(account)
    with Client(fleet.redis_url) as client, Live(console=console, refresh_per_second=8) as live:
        started_s = time.monotonic()
        jobs = client.enqueue_many(requests())
        while True:
            jobs = [job if job.is_final else client.get(job.id) for job in jobs]
            ended = all(job.is_final for job in jobs)
            elapsed_s = time.monotonic() - started_s
            live.update(board(fleet.oracle(with_jobs=False), Counter(str(job.status) for job in jobs)))
            if ended or elapsed_s > TIMEOUT_S:
                return jobs, elapsed_s
            time.sleep(0.1)


def download(fleet: Fleet, jobs: list[Job]) -> list[Saved]:
    """Save every completed job's files under ``demo-out/``."""
    with Client(fleet.redis_url) as client:
        return [
            Saved(job.prompt or "", path)
            for job in jobs
            if job.status == "completed"
            for path in client.download(job, OUT)
        ]


def main() -> int:
    """Run it and say how it went."""
    console = Console()
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="pxd-demo-") as state,
        running_fleet(Path(state), CONFIG, OUT / "service.log") as fleet,
    ):
        jobs, makespan_s = run(fleet, console)
        saved = download(fleet, jobs)
        oracle = fleet.oracle(with_jobs=True)
    statuses = dict(Counter(str(job.status) for job in jobs))
    figures = summary(statuses=statuses, makespan_s=makespan_s, oracle=oracle)
    (OUT / "summary.json").write_text(json.dumps(figures, indent=2) + "\n")
    wrong = wrong_files(saved, oracle)
    console.print_json(data=figures)
    console.print(f"{len(saved)} files in {OUT}/; wrong or unplayable: {', '.join(wrong) or 'none'}")
    good = statuses == {"completed": JOBS} and len(saved) == JOBS and not wrong
    return 0 if good and figures["breaches"] == 0 and figures["duplicates"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
