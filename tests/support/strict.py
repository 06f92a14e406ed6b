"""What was skipped, over several calls of pytest: one closing list by name, and a failure where skips count as one.

As a plugin (``-p tests.support.strict --closing FILE``) each call of pytest appends its closing line and its skips to a
file; as a program (``python -m tests.support.strict FILE [--strict]``) it prints them all and judges.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

_SHOWN = ("failed", "error", "passed", "skipped", "xfailed")


class Skip(BaseModel):
    """One skipped test, or a whole file of them."""

    model_config = ConfigDict(frozen=True)

    test: str
    reason: str


class Closing(BaseModel):
    """How one call of pytest ended."""

    model_config = ConfigDict(frozen=True)

    what: str
    counts: dict[str, int]
    seconds: float
    skips: tuple[Skip, ...]

    def line(self) -> str:
        """The call in one line: ``tests/unit: 310 passed, 1 skipped in 12.3 s``."""
        counts = ", ".join(f"{self.counts[name]} {name}" for name in _SHOWN if self.counts.get(name))
        return f"{self.what}: {counts or 'no tests'} in {self.seconds:.1f} s"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--closing", type=Path, metavar="FILE", help="append this call's closing line and skips to FILE")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STARTED_S] = time.monotonic()


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Write it down; with xdist only the process that hears from all the others does."""
    file: Path | None = config.getoption("--closing")
    if file is None or hasattr(config, "workerinput"):
        return
    stats = terminalreporter.stats
    closing = Closing(
        what=config.getoption("--tier", None) or " ".join(config.args),
        counts={name: len(stats[name]) for name in _SHOWN if stats.get(name)},
        seconds=time.monotonic() - config.stash[_STARTED_S],
        skips=tuple(dict.fromkeys(_skip_of(report) for report in stats.get("skipped", ()))),
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as record:
        record.write(closing.model_dump_json() + "\n")


def _skip_of(report: pytest.TestReport | pytest.CollectReport) -> Skip:
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return Skip(test=report.nodeid, reason=said.removeprefix("Skipped: "))


def judge(closings: Sequence[Closing], *, strict: bool) -> tuple[str, int]:
    """The closing text, and the exit status: 1 if a test failed, a call ran none, or (strict) a test was skipped."""
    skips = dict.fromkeys(skip for closing in closings for skip in closing.skips)
    lines = []
    if skips:
        lines += ["Skipped, which counts as a failure here:" if strict else "Skipped for what this machine lacks:"]
        lines += [f"  {skip.test}: {skip.reason}" for skip in skips]
    lines += [closing.line() for closing in closings]
    ran = all(closing.counts.get("passed") for closing in closings) and bool(closings)
    red = any(closing.counts.get(name) for closing in closings for name in ("failed", "error"))
    return "\n".join(lines), int(red or not ran or (strict and bool(skips)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what all the calls said, and judge."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.strict", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--strict", action="store_true", help="a skip is a failure")
    options = parser.parse_args(arguments)
    closings = [Closing.model_validate(json.loads(line)) for line in options.file.read_text().splitlines()]
    text, status = judge(closings, strict=options.strict)
    sys.stdout.write(text + "\n")
    return status


_STARTED_S = pytest.StashKey[float]()

if __name__ == "__main__":
    sys.exit(main())
