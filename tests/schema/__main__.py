"""``python -m tests.schema``: call every operation of the document, valid and not, and hold each answer against it.

Exit status: 0 sound, 1 a fault, or too few calls or successes.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.schema.play import EXCUSED, operations_with_input, play, succeeded
from tests.schema.world import World
from tests.support.up import DEMO, Up

SERVER_ERROR = 500


def main() -> int:
    """Play, and print the table."""
    options = _options()
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="schema-") as folder,
        Up(Path(folder) / "state", "--port", "0", "--simulator", **DEMO) as up,
    ):
        world = World(up)
        examples = options.examples or math.ceil(options.requests / len(operations_with_input(world)))
        faults = play(world, examples=examples, successes=options.successes, number=options.seed)
    counts = world.answers.values()
    calls = sum(answers.total() for answers in counts)
    errors = sum(times for answers in counts for status, times in answers.items() if status >= SERVER_ERROR)
    if calls < options.requests:
        faults.append(f"{calls} calls were made, fewer than {options.requests}")
    if errors:
        faults.append(f"{errors} answers are server errors")
    summary = {
        "calls": calls,
        "server_errors": errors,
        "faults": faults,
        "operations": {operation: _row(answers) for operation, answers in sorted(world.answers.items())},
        "excused": EXCUSED,
        "seed": options.seed,
        "seconds": round(time.monotonic() - started_s, 1),
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(summary, indent=1) + "\n")
    _print(summary)
    return 1 if faults else 0


def _row(answers: Counter[int]) -> dict[str, Any]:
    return {"calls": answers.total(), "2xx": succeeded(answers), "statuses": dict(sorted(answers.items()))}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.schema", description="Hold the service against its OpenAPI.")
    parser.add_argument(
        "--examples", type=int, help="calls generated for an operation with input at most (what it takes)"
    )
    parser.add_argument("--requests", type=int, default=10_000, help="calls that must have been made (10000)")
    parser.add_argument("--successes", type=int, default=100, help="2xx that each operation must give (100)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("build/schema.json"))
    return parser.parse_args()


def _print(summary: dict[str, Any]) -> None:
    width = max(map(len, summary["operations"]))
    print(f"\n{'operation':{width}}  calls    2xx  statuses")
    for operation, row in summary["operations"].items():
        statuses = ", ".join(f"{times} x {status}" for status, times in row["statuses"].items())
        print(f"{operation:{width}}  {row['calls']:5}  {row['2xx']:5}  {statuses}")
    counted = f"{summary['calls']} calls, {summary['server_errors']} server errors, {len(summary['faults'])} faults"
    print(f"{counted} in {summary['seconds']} s")
    for fault in summary["faults"]:
        print(f"FAULT {fault}")


if __name__ == "__main__":
    sys.exit(main())
