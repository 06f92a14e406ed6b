"""Put each fault of the table into a copy of the package and see that a test notices.

    python -m tests.mutants [part of a file's name]

Prints each mutant with the tests that noticed it. Exits 1 if one survives, if a text to replace does not occur exactly
once, or if the tests fail without any fault.
"""

# ruff: noqa: T201 (a program: it prints its findings)

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant
from tests.mutants.witness import MUTANT_VARIABLE

ROOT = Path(__file__).resolve().parents[2]
SHOWN = 3
PLUGINS = ("asyncio", "timeout")
"""All that these tests need; to load every installed plugin would take longer than to run them."""
RUN_LIMIT_S = 300
PASSED, FAILED = 0, 1


def misplaced() -> list[str]:
    """The mutants whose old text does not occur exactly once, or changes nothing."""
    problems = []
    for mutant in MUTANTS:
        text = (ROOT / "dispatcher" / "lua" / mutant.file).read_text(encoding="utf-8")
        if text.count(mutant.old) != 1 or mutant.old == mutant.new:
            problems.append(f"{mutant.file}: {mutant.old!r} occurs {text.count(mutant.old)} times")
    return problems


def judged(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run test files on the package in ``folder``."""
    path = f"{folder}{os.pathsep}{ROOT}"
    options = ["-q", "--tb=no", "-rfE", f"--maxfail={SHOWN}", "-p", "no:cacheprovider"]
    options += ["-p", "tests.mutants.witness", "-o", f"pythonpath={folder} {ROOT}"]
    options += [part for plugin in PLUGINS for part in ("-p", plugin)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=ROOT,
        env=os.environ
        | {
            "PYTHONPATH": path,
            MUTANT_VARIABLE: str(folder),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HYPOTHESIS_PROFILE": "judge",
        },
        capture_output=True,
        text=True,
        timeout=RUN_LIMIT_S,
        check=False,
    )


def copy_of_package(folder: Path) -> Path:
    """Copy the package into ``folder``; returns the folder of its scripts."""
    shutil.copytree(ROOT / "dispatcher", folder / "dispatcher", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "dispatcher" / "lua"


def kill(mutant: Mutant) -> list[str] | None:
    """Names of tests that noticed the fault; None if it survives.

    Raises:
        RuntimeError: the run ended in another way than by passing or failing tests.
    """
    with tempfile.TemporaryDirectory() as name:
        script = copy_of_package(Path(name)) / mutant.file
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        run = judged(Path(name), mutant.killers)
    if run.returncode == PASSED:
        return None
    noticed = re.findall(r"^(?:FAILED|ERROR) \S+::(\S+)", run.stdout, re.MULTILINE)
    if run.returncode != FAILED or not noticed:
        raise RuntimeError(f"pytest ended with {run.returncode}:\n{run.stdout[-2000:]}{run.stderr[-2000:]}")
    return noticed


def main() -> int:
    """Judge the sound package first, then every mutant."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [mutant for mutant in MUTANTS if wanted in mutant.file]
    if not chosen:
        print(f"No mutant is of a file with {wanted!r} in its name.")
        return 1
    if problems := misplaced():
        print(*problems, sep="\n")
        return 1
    with tempfile.TemporaryDirectory() as name:
        copy_of_package(Path(name))
        sound = judged(Path(name), tuple(sorted({test for mutant in chosen for test in mutant.killers})))
    if sound.returncode != PASSED:
        print(f"The tests fail without any fault:\n{sound.stdout[-2000:]}{sound.stderr[-2000:]}")
        return 1

    survivors = 0
    for mutant in chosen:
        noticed = kill(mutant)
        survivors += noticed is None
        verdict = "SURVIVED" if noticed is None else "killed by " + ", ".join(noticed)
        print(
            f"{mutant.file}: {mutant.old.strip()!r} -> {mutant.new.strip()!r} ({mutant.why})\n    {verdict}", flush=True
        )
    print(f"{len(chosen) - survivors} of {len(chosen)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
