"""The figures of a run as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def rendered(figures: Mapping[str, Any]) -> str:
    """Faults by kind with their recovery, jobs by final state, and what must be nought."""
    lines = [
        f"{'fault':<26}{'struck':>7}{'in flight >=':>13}{'p50 s':>8}{'max s':>8}{'own s':>8}{'bound s':>9}{'late':>6}"
    ]
    for kind, row in figures["recovery"].items():
        lines.append(
            f"{kind:<26}{row['faults']:>7}{row['in_flight_min'] or 0:>13}{_number(row['p50_s']):>8}"
            f"{_number(row['max_s']):>8}{_number(row['own_s']):>8}{row['bound_s']:>9.0f}{row['late']:>6}"
        )
    kills = "  ".join(f"{state} {count}" for state, count in figures["worker_kills_in_state"].items())
    jobs = "  ".join(f"{status} {count}" for status, count in sorted(figures["jobs"].items()))
    lines += [
        "",
        f"faults that count   {figures['faults']} in {figures['faults_s']:.0f} s, seed {figures['seed']}",
        f"worker kills in     {kills}",
        f"jobs                {jobs}",
        f"submissions         {figures['accepted_upstream']} accepted upstream",
        f"redelivered         {figures['redelivered']} jobs, one at most {figures['most_deliveries']} times delivered",
        f"outcome unknown     {len(figures['unknown'])}, each named with its fault",
        f"faults that hit S   {figures['faults_in_s']}",
        f"outlived deadline   {figures['outlived']} jobs",
        f"breaches past hold  {figures['breaches_by_design']} (jobs that outlive deadline + hold; counted apart)",
        f"breaches            {figures['breaches']}",
        f"duplicates          {figures['duplicates']}",
        f"lost                {len(figures['lost'])}",
        f"wrong files         {len(figures['wrong_files'])}",
        f"leaked slots        {figures['leaked']}",
        f"robbed owners       {len(figures['robbed'])}, looked at after {figures['robberies_judged']} freezes",
        *_sessions(figures),
        "",
        "every promise kept" if not figures["broken"] else "BROKEN  " + "; ".join(figures["broken"]),
    ]
    return "\n".join(lines)


def _sessions(figures: Mapping[str, Any]) -> list[str]:
    counts = figures.get("sessions") or {}
    if not counts.get("identified"):
        return []
    of_one = f"{figures['sessions_most_opened']} opened (bound {figures['sessions_opened_max']})"
    return [
        f"gateway sessions    {counts['identified']} opened, {counts['resumed']} resumed",
        f"of one token        at most {of_one}, {figures['sessions_peak']} at once",
        f"doubled             {len(figures['doubled'])}; {figures['overlaps']} of frozen workers and lost leases",
    ]


def proof(rows: Sequence[Mapping[str, Any]]) -> str:
    """What each rule's absence broke, beside the sound fleet's count."""
    lines = [f"{'without':<26}{'breaks':<14}{'sound':>6}{'without':>9}"]
    for row in rows:
        verdict = "seen" if row["seen"] else "NOT SEEN"
        lines.append(f"{row['rule']:<26}{row['promise']:<14}{row['sound']:>6}{row['without']:>9}  {verdict}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
