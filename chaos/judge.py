"""The verdict: by the simulator's oracle for what ran, by the records for what callers were told."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.verdict import has_own_files
from chaos.kinds import (
    BY_NAME,
    KINDS,
    PROMISED_FAULTS,
    PROMISED_IN_EACH_STATE,
    PROMISED_JOBS,
    STATES,
    Kind,
    is_worker_fault,
    loses_deliveries,
)
from chaos.load import Entry
from chaos.strike import Strike

UNKNOWN = ("not started", "Not finished before its deadline", "times in a row")
"""How the errors of jobs begin or end whose submission may or may not have arrived."""


@dataclass(slots=True, kw_only=True)
class Part:
    """One fleet's share: its load, its channels, its times."""

    name: str
    entries: Sequence[Entry]
    channels: Collection[str]
    deadline_s: float
    hold_s: float
    slots_held: int
    figures: dict[str, Any] = field(default_factory=dict)


def judge(parts: Sequence[Part], oracle: dict[str, Any], strikes: Sequence[Strike]) -> dict[str, Any]:
    """Hold what callers were told against what the upstream did."""
    made = {job["prompt"]: job for job in oracle["jobs"]}
    for part in parts:
        part.figures = _part(part, oracle, made)
    entries = [entry for part in parts for entry in part.entries]
    failures = _unknown([entry for entry in entries if made.get(entry.prompt, {}).get("outcome") is None], strikes)
    return {
        "jobs": dict(Counter(_status(entry) for entry in entries)),
        "accepted_upstream": oracle["totals"]["accepted"],
        "breaches": sum(part.figures["breaches"] for part in parts),
        "breaches_by_design": sum(part.figures["breaches_by_design"] for part in parts),
        "duplicates": oracle["totals"]["duplicates"],
        "lost": [job for part in parts for job in part.figures["lost"]],
        "outlived": sum(part.figures["outlived"] for part in parts),
        "wrong_files": [job for part in parts for job in part.figures["wrong_files"]],
        "leaked": sum(part.slots_held for part in parts),
        "robbed": [job for strike in strikes for job in strike.robbed or ()],
        "robberies_judged": sum(1 for strike in strikes if strike.robbed is not None),
        **failures,
        "redelivered": sum(1 for entry in entries if entry.job and entry.job.deliveries > 1),
        "most_deliveries": max((entry.job.deliveries for entry in entries if entry.job), default=0),
        "parts": {part.name: part.figures for part in parts},
    }


def _status(entry: Entry) -> str:
    return str(entry.job.status) if entry.job else "unknown"


def _part(part: Part, oracle: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    lost, outlived, wrong = [], 0, []
    for entry in part.entries:
        run = made.get(entry.prompt, {})
        status = _status(entry)
        if entry.job is None or not entry.job.is_final:
            lost.append(f"{entry.key} {entry.job_id}: {status}")
        elif status == "completed":
            if not has_own_files(entry.job, made):
                wrong.append(f"{entry.key} {entry.job_id}")
        elif status != "cancelled" and run.get("outcome") == "completed":
            if _ran_s(run) > part.deadline_s:
                outlived += 1
            else:
                lost.append(f"{entry.key} {entry.job_id}: {status}, {entry.job.error}")
    by_design = sum(_breaches_by_design(part, oracle, channel) for channel in part.channels)
    counted = sum(oracle["accounts"].get(channel, {}).get("breaches", 0) for channel in part.channels)
    return {
        "jobs": dict(Counter(_status(entry) for entry in part.entries)),
        "breaches": counted - by_design,
        "breaches_by_design": by_design,
        "lost": lost,
        "outlived": outlived,
        "wrong_files": wrong,
        "leaked": part.slots_held,
    }


def _ran_s(run: dict[str, Any]) -> float:
    return float((run["finished_ms"] or 0) - run["submitted_ms"]) / 1000


def _breaches_by_design(part: Part, oracle: dict[str, Any], channel: str) -> int:
    """Breaches of a channel that were none, had the jobs ended that had outlived deadline and hold by then.

    Nobody can repair these: the slot of such a job is given back for certain, and the upstream cannot be told to stop.
    """
    if not oracle["accounts"].get(channel, {}).get("breaches"):
        return 0
    runs = [job for job in oracle["jobs"] if job["account"] == channel]
    limit = oracle["accounts"][channel]["limit"]
    span_ms = (part.deadline_s + part.hold_s) * 1000
    found = 0
    for run in runs:
        at_ms = run["submitted_ms"]
        beside = [
            other
            for other in runs
            if other["n"] < run["n"] and (other["finished_ms"] is None or other["finished_ms"] > at_ms)
        ]
        young = [other for other in beside if at_ms - other["submitted_ms"] <= span_ms]
        found += len(beside) >= limit > len(young)
    return found


def _unknown(entries: Iterable[Entry], strikes: Sequence[Strike]) -> dict[str, Any]:
    """Failures whose submission may not have arrived, each named with the fault that hit it: one a fault at most."""
    failed = [entry for entry in entries if entry.job and entry.job.status == "failed"]
    unknown = [e for e in failed if any(words in str(e.job and e.job.error) for words in UNKNOWN)]
    ours = [entry for entry in unknown if entry.job is not None]
    named: dict[str, str] = {}
    used: set[int] = set()
    for entry in ours:
        fault = _fault_of(entry, strikes, used)
        if fault is not None:
            used.add(fault.n)
            named[str(entry.job_id)] = f"fault {fault.n}: {fault.kind}, {fault.target}"
    unexplained = [f"{e.key} {e.job_id}: {e.job.error}" for e in ours if e.job and str(e.job_id) not in named]
    others = [f"{e.key} {e.job_id}: {e.job.error}" for e in failed if e not in unknown and e.job]
    return {
        "unknown": named,
        "unexplained": unexplained,
        "faults_in_s": sum(1 for strike in strikes if strike.jobs_in_s),
        "other_failures": others,
    }


def _fault_of(entry: Entry, strikes: Sequence[Strike], used: Collection[int]) -> Strike | None:
    """The fault that had the job in S when it struck.

    If several had: one that struck its owner or its request, before one that struck the store and so everybody; the
    first of them.
    """
    hit = [strike for strike in strikes if str(entry.job_id) in strike.jobs_in_s and strike.n not in used]
    return min(hit, key=lambda strike: (len(strike.jobs_in_s) > 1 and not strike.target, strike.at_ms), default=None)


def recoveries(
    strikes: Sequence[Strike], *, in_flight_min: int, ttl_s: float, learning_s: float
) -> dict[str, dict[str, Any]]:
    """By kind: how many struck and count, median and longest recovery in seconds, and the bound.

    ``own_s`` is the longest without the time in which another fault had taken the store away, or a clock set back had
    not caught up; the bound is on that, and ``late`` are those beyond it. A worker's jobs have the bound twice where
    another worker was struck, or connections were cut, before they had new owners: they may have been lost again.
    """
    outages = [(strike.n, *_halt_s(strike)) for strike in strikes]
    table = {}
    for kind in dict.fromkeys(strike.kind for strike in strikes):
        of_kind = [strike for strike in strikes if strike.kind == kind]
        counted = [strike.in_flight for strike in of_kind if strike.in_flight >= in_flight_min]
        times = [strike.recovered_s for strike in of_kind if strike.recovered_s is not None]
        own = {strike.n: _own_s(strike, outages) for strike in of_kind if strike.recovered_s is not None}
        bound_s = BY_NAME[kind].bound_s(ttl_s, learning_s)
        late = [s for s in of_kind if own.get(s.n, 0.0) > bound_s * (2 if _is_struck_again(s, strikes) else 1)]
        table[kind] = {
            "faults": len(counted),
            "in_flight_min": min(counted, default=None),
            "p50_s": round(statistics.median(times), 2) if times else None,
            "max_s": max(times, default=None),
            "own_s": round(max(own.values()), 2) if own else None,
            "late": len(late),
            "never": len(of_kind) - len(times),
            "bound_s": bound_s,
        }
    return table


def _is_struck_again(strike: Strike, strikes: Iterable[Strike]) -> bool:
    """Whether a worker's jobs may have gone to one who was struck as well, or been lost on the way to another.

    A delivery that the server has given out and nobody received is minted anew as if its worker had died.
    """
    began_s, ended_s = _span_s(strike)
    again = (other.at_ms / 1000 for other in strikes if other.n != strike.n and loses_deliveries(other.kind))
    return is_worker_fault(strike.kind) and any(began_s < at_s < ended_s for at_s in again)


def shortfalls(figures: dict[str, Any], kinds: Collection[Kind] = KINDS) -> list[str]:
    """What a full run promises to have struck, and has not."""
    by_kind: dict[str, int] = figures["faults_by_kind"]
    least = {kind.name: kind.least for kind in kinds if not kind.name.startswith("kill worker")}
    wanted = {
        **{f"faults of kind {name}": (by_kind.get(name, 0), count) for name, count in least.items()},
        **{f"worker kills in {s}": (figures["worker_kills_in_state"][s], PROMISED_IN_EACH_STATE) for s in STATES},
        "faults": (figures["faults"], PROMISED_FAULTS),
        "jobs": (sum(figures["jobs"].values()), PROMISED_JOBS),
    }
    return [f"{name}: {found} of {count}" for name, (found, count) in wanted.items() if found < count]


def _span_s(strike: Strike) -> tuple[float, float]:
    """From when to when it was not recovered, in seconds of the wall clock; what never did, for no time at all."""
    began_s = strike.at_ms / 1000
    return began_s, began_s + (strike.recovered_s or 0.0)


def _halt_s(strike: Strike) -> tuple[float, float]:
    """From when to when nothing else could recover."""
    began_s, ended_s = _span_s(strike)
    return began_s, ended_s if BY_NAME[strike.kind].is_outage else began_s + strike.delays_s


def _own_s(strike: Strike, outages: Sequence[tuple[int, float, float]]) -> float:
    """The part of a recovery that no other fault's halt covers; where a clock was set back, from when it caught up."""
    began_s, ended_s = _span_s(strike)
    own_s, reached_s = 0.0, min(began_s + strike.delays_s, ended_s)
    for n, away_s, back_s in sorted(outages, key=lambda outage: outage[1]):
        if n == strike.n or back_s <= reached_s or away_s >= ended_s:
            continue
        own_s += max(0.0, away_s - reached_s)
        reached_s = min(back_s, ended_s)
    return own_s + ended_s - reached_s


def states_hit(strikes: Sequence[Strike]) -> dict[str, int]:
    """Worker kills that hit each state, as the store showed it at that moment."""
    kills = [strike for strike in strikes if strike.kind.startswith("kill worker")]
    return {state: sum(1 for strike in kills if strike.states[state]) for state in STATES}


def broken(figures: dict[str, Any]) -> list[str]:
    """The promises that the run broke, in words; none, if all were kept."""
    found = [
        f"{name}: {figures[name] if isinstance(figures[name], int) else len(figures[name])}"
        for name in (
            *("breaches", "duplicates", "lost", "wrong_files", "leaked", "robbed", "unexplained", "other_failures"),
            *("doctor", "ended_by_themselves", "accounts_wrong", "doubled", "opened_too_often"),
        )
        if figures.get(name)
    ]
    for kind, row in figures.get("recovery", {}).items():
        if row["never"] or row["late"]:
            found.append(f"recovery of {kind}: {row['never']} never, {row['late']} later than {row['bound_s']} s")
    return found + [f"too little: {shortfall}" for shortfall in figures.get("shortfalls", [])]
