"""The contract's cases in the closing summary: how many of each certainty held."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

CERTAINTIES = ("documented", "sibling", "client", "assumed")
OUTCOMES = ("passed", "xfailed", "failed")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Write the table, if any case was played."""
    counts = Counter(
        (str(value), outcome)
        for outcome in OUTCOMES
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "certainty"
    )
    if not counts:
        return
    terminalreporter.write_sep("-", "the contract's cases, by certainty")
    for certainty in CERTAINTIES:
        row = ", ".join(f"{counts[certainty, outcome]:3} {outcome}" for outcome in OUTCOMES)
        terminalreporter.write_line(f"{certainty:10}  {row}")
