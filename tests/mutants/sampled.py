"""mutmut's faults in the Python files that leases depend on, a seeded sample, each held against those files' tests.

    python -m tests.mutants.sampled [--sample 300] [--seed 1] [--only workers/session.py]

mutmut writes the mutants. Its own runner chooses tests by what they call in its process, and the session worker is
tested in processes of its own; so the tests are named here, quick ones first, and a mutant is chosen by the variable
that mutmut's trampolines read, which every process of a test inherits.

Prints each survivor with its reason. Exits 1 below the share that must be killed, if an excuse fits no mutant any more,
or if the tests cannot judge: they fail without any fault, or pass where every call of the file fails.
"""

# ruff: noqa: T201 (a program: it prints its findings)

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.excused import EXCUSED
from tests.mutants.generated import CHOICE_VARIABLE, GeneratedMutant, generate
from tests.mutants.witness import MUTANT_VARIABLE

LEAST_SHARE = 0.85
CLEAN_LIMIT_S = 600
RUN_LIMIT_S = 240
TEST_LIMIT_S = 60
PATIENCE_S = 15
"""How long a test waits for what a mutant may keep from coming; the sound package is judged with the same patience."""
NO_MUTANT = ""
EVERY_CALL_FAILS = "fail"
PLUGINS = ("asyncio", "timeout", "tests.mutants.witness")
"""All that these tests need; to load every installed plugin would take longer than to run them."""

_SESSION = "tests/integration/test_session_"
KILLERS: dict[str, tuple[str, ...]] = {
    "dispatcher/slots.py": ("tests/integration/test_slots.py", "tests/integration/test_run_job.py"),
    "dispatcher/reaper.py": ("tests/integration/test_reaper.py",),
    "workers/session.py": (
        f"{_SESSION}log.py",
        f"{_SESSION}endings.py",
        f"{_SESSION}heartbeats.py",
        f"{_SESSION}load.py",
        f"{_SESSION}commands.py",
        f"{_SESSION}stop.py",
        f"{_SESSION}faults.py",
        f"{_SESSION}refusals.py",
    ),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one mutant; ``reason`` excuses a survivor."""

    mutant: GeneratedMutant
    is_killed: bool
    reason: str = ""


def passes(folder: Path, tests: tuple[str, ...], *, mutant: str, limit_s: float) -> bool:
    """Run the tests on one mutant; a run that does not end in time has failed.

    Raises:
        RuntimeError: the run ended in another way than by passing or failing tests.
    """
    options = ["-q", "--tb=no", "-x", "-p", "no:cacheprovider", "--timeout", str(TEST_LIMIT_S)]
    options += [part for plugin in PLUGINS for part in ("-p", plugin)]
    environment = os.environ | {
        CHOICE_VARIABLE: mutant,
        MUTANT_VARIABLE: str(folder),
        "PYTHONPATH": str(folder),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "TEST_PATIENCE_S": str(PATIENCE_S),
    }
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = run.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)  # its servers and workers too: they are of its session
        run.communicate()
        return False
    if run.returncode not in (0, 1):
        raise RuntimeError(f"{mutant or 'no mutant'}: pytest ended with {run.returncode}:\n{said[-3000:]}")
    return run.returncode == 0


def can_judge(folder: Path, file: str) -> bool:
    """Whether a file's tests pass on the sound package, and fail where every call of the file does."""
    if not passes(folder, KILLERS[file], mutant=NO_MUTANT, limit_s=CLEAN_LIMIT_S):
        print(f"the tests of {file} fail without any fault")
        return False
    if passes(folder, KILLERS[file], mutant=EVERY_CALL_FAILS, limit_s=CLEAN_LIMIT_S):
        print(f"the tests of {file} do not run its mutants")
        return False
    return True


def judge(folder: Path, mutant: GeneratedMutant) -> Verdict:
    """Hold a mutant against the tests of its file."""
    if reason := EXCUSED.get((mutant.function, mutant.change)):
        return Verdict(mutant, is_killed=False, reason=reason)
    start_s = time.monotonic()
    is_killed = not passes(folder, KILLERS[mutant.file], mutant=mutant.name, limit_s=RUN_LIMIT_S)
    verdict, took_s = "killed  " if is_killed else "SURVIVED", time.monotonic() - start_s
    print(f"{verdict} in {took_s:5.1f} s  {mutant.name}\n    {mutant}", flush=True)
    return Verdict(mutant, is_killed)


def report(verdicts: list[Verdict], *, of: int, took_s: float) -> bool:
    """Print what survived and why, and the share that was killed; whether that is enough."""
    print()
    for verdict in verdicts:
        if not verdict.is_killed:
            print(
                f"{verdict.mutant.file}: {verdict.mutant}\n    {verdict.reason or 'SURVIVED, and nothing excuses it'}"
            )
    for file in KILLERS:
        judged = [verdict for verdict in verdicts if verdict.mutant.file == file]
        if judged:
            print(f"{file}: {sum(verdict.is_killed for verdict in judged)} of {len(judged)} killed")
    killed = sum(verdict.is_killed for verdict in verdicts)
    share = killed / len(verdicts)
    print(f"{killed} of {len(verdicts)} killed ({share:.1%}), of {of} mutants in all, in {took_s / 60:.0f} min")
    return share >= LEAST_SHARE


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description="Judge a seeded sample of mutmut's mutants.")
    parser.add_argument("--sample", type=int, default=300, help="how many mutants to judge (300)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--at-once", type=int, default=2, help="how many test runs beside each other (2)")
    parser.add_argument("--only", choices=sorted(KILLERS), action="append", help="this file only; may be repeated")
    given = parser.parse_args()
    files = given.only or list(KILLERS)
    start_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pxd-mutmut-") as name:
        mutants = generate(Path(name), files)
        if not given.only and (gone := EXCUSED.keys() - {(mutant.function, mutant.change) for mutant in mutants}):
            print("These mutants are excused and do not exist:", *gone, sep="\n")
            return 1
        folder = Path(name) / "mutants"
        if not all(can_judge(folder, file) for file in files):
            return 1
        chosen = random.Random(given.seed).sample(mutants, min(given.sample, len(mutants)))  # noqa: S311 (a sample)
        with ThreadPoolExecutor(given.at_once) as pool:
            verdicts = list(pool.map(lambda mutant: judge(folder, mutant), chosen))
    is_enough = report(verdicts, of=len(mutants), took_s=time.monotonic() - start_s)
    return 0 if is_enough else 1


if __name__ == "__main__":
    sys.exit(main())
