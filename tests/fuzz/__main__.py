"""Play the fuzz, and with ``--switches`` see each rule missed.

    python -m tests.fuzz [--seed 1] [--jobs 13000] [--switches [PART OF A NAME]] [--history SEED]

Prints what the whole core came to; then of each rule taken away what broke, and how often in a tenth of the jobs.
Exits 1 if anything broke with all rules in force, or nothing that should did without one.
"""

# ruff: noqa: T201 (a program: it prints its findings)

from __future__ import annotations

import argparse
import sys
import time

import redis

from tests.fuzz.history import History
from tests.fuzz.run import JOBS_A_HISTORY, Tally, played
from tests.fuzz.stage import Stage, server
from tests.fuzz.switches import SWITCHES

PROMISES = {
    "over-uses": ("over-use",),
    "double submissions": ("double submission",),
    "leaks": ("slot leaked",),
    "jobs lost or never ended": ("job lost", "job not final"),
}


def whole(client: redis.Redis, *, seed: str, jobs: int) -> bool:
    """Play with all rules in force; True if nothing broke."""
    began_s = time.monotonic()
    tally = played(client, seed=seed, jobs=jobs)
    took_s = time.monotonic() - began_s
    print(
        f"{tally.jobs} jobs in {tally.histories} histories, {tally.submissions} submissions, "
        f"{tally.virtual_s / 3600:.1f} h of virtual time in {took_s:.0f} s"
    )
    print("  faults   ", ", ".join(f"{name} {count}" for name, count in sorted(tally.faults.items())))
    print("  ends     ", ", ".join(f"{name} {count}" for name, count in sorted(tally.statuses.items())))
    print("  promises ", ", ".join(f"{name} {_count(tally, kinds)}" for name, kinds in PROMISES.items()))
    print(f"  beyond repair: {tally.outlived} times a job was seen running past deadline and hold", flush=True)
    _tell(tally)
    return not tally.breaches


def without(client: redis.Redis, *, seed: str, jobs: int, part: str) -> bool:
    """Play once without each rule; True if each was missed."""
    is_well = True
    for switch in [switch for switch in SWITCHES if part in switch.name]:
        tally = played(client, seed=seed, jobs=jobs, switch=switch)
        missed = {kind: tally.breaches[kind] for kind in switch.breaks if tally.breaches[kind]}
        is_well = is_well and bool(missed)
        told = ", ".join(f"{kind} {count}" for kind, count in missed.items()) or "NOTHING BROKE"
        others = sum(tally.breaches.values()) - sum(missed.values())
        print(f"  {switch.name:<36} {told} (and {others} of other kinds) in {tally.jobs} jobs", flush=True)
    return is_well


def _count(tally: Tally, kinds: tuple[str, ...]) -> int:
    return sum(tally.breaches[kind] for kind in kinds)


def _tell(tally: Tally) -> None:
    for kind, detail in tally.first.items():
        print(f"  BROKEN {kind} ({tally.breaches[kind]}): {detail}")


def main() -> int:
    """Read the arguments and play."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=13_000)
    parser.add_argument("--switches", nargs="?", const="", default=None, metavar="PART")
    parser.add_argument("--history", help="play this one history again, as named where something broke")
    given = parser.parse_args()
    with server() as client:
        if given.history:
            history, tally = History(Stage(client), given.history, jobs=JOBS_A_HISTORY), Tally()
            history.play()
            tally.add(history)
            _tell(tally)
            return 1 if tally.breaches else 0
        is_well = whole(client, seed=given.seed, jobs=given.jobs)
        if given.switches is not None:
            is_well = without(client, seed=given.seed, jobs=max(1, given.jobs // 10), part=given.switches) and is_well
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
