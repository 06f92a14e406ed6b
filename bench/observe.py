"""Poll against gateway: what watching costs, how late ends are seen, what is lost by it, with 429s among the answers.

python -m bench.observe --jobs 200 --accounts 20 --workers 2 --rounds 3

Each round plays both modes with the same jobs, each on a stage of its own, and in turn begins with the one or the
other. An account is a token and its only channel, so there are as many gateway sessions as channels. Figures are the
simulator's and the store's, on one host's clock. JSON goes to stdout, a table of the medians to stderr.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from bench.stage import Stage, stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle, Job
from dispatcher.settings import Settings

MODES = ("poll", "gateway")
SEED = 6
MEDIAN_S, SIGMA, SHORTEST_S, LONGEST_S = 8.0, 0.45, 3.5, 24.0
"""Of the jobs' lengths, log-normal; the shortest is longer than the latest answer."""
ACK_S = (0.3, 3.0)
LIMITED = ("messages", "interactions")
RETRY_AFTER_S = 1.3
SETTINGS: Mapping[str, Any] = {"min_interval_ms": 1000}
"""As users have it; all else is the default."""
TIMEOUT_S = 400.0
RATIOS = ("requests_per_job", "lists_per_job", "settle_p50_s", "settle_p99_s", "slot_seconds_lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """What is played.

    Args:
        jobs: how many.
        accounts: channels, each with a token of its own.
        slots: of each account.
        workers: processes.
        seed: of the jobs' lengths and answers.
        every: 20: each twentieth list, and each twentieth submission, is answered 429; 0: none.
        result: where the bot puts it: ``edit``, ``followup`` or ``message``.
    """

    jobs: int
    accounts: int
    slots: int
    workers: int
    seed: int
    every: int
    result: str = "edit"


def requests(play: Play) -> list[CreateSingle]:
    """Requests of many lengths, whose first messages come after 0.3 to 3 s."""
    dice = random.Random(play.seed)
    return [CreateSingle(prompt=f"take {n} {_directive(dice, play.result)}", style="Anime") for n in range(play.jobs)]


def _directive(dice: random.Random, result: str) -> str:
    seconds = min(max(dice.lognormvariate(math.log(MEDIAN_S), SIGMA), SHORTEST_S), LONGEST_S)
    return f"[[sim seconds={seconds:.2f} ack={dice.uniform(*ACK_S):.2f} result={result}]]"


def run(on: Stage, play: Play) -> dict[str, Any]:
    """Play it once in the mode that the stage is set to; the figures."""
    on.start("run")
    for _ in range(play.workers):
        on.start("work")
    on.add_accounts([play.slots] * play.accounts)
    for kind in LIMITED if play.every else ():
        body = {"kind": kind, "answer": "429", "every": play.every, "count": None, "retry_after": RETRY_AFTER_S}
        httpx.post(f"{on.simulator_url}/sim/answers", json=body).raise_for_status()
    started_s = time.monotonic()
    with Client(on.settings.redis_url) as client:
        accepted = client.enqueue_many(requests(play))
        ended = client.wait_many([job.id for job in accepted], timeout_s=TIMEOUT_S)
        makespan_s = time.monotonic() - started_s
        oracle = on.oracle()
    return {
        "mode": on.settings.observe,
        **asked(oracle, finished=len(ended)),
        **lateness(ended, oracle),
        **sessions(oracle, wanted=play.accounts if on.settings.observe == "gateway" else 0),
        **verdict(ended, oracle, slots_held=on.slots_held()),
        "makespan_s": round(makespan_s, 1),
    }


def asked(oracle: Mapping[str, Any], *, finished: int) -> dict[str, Any]:
    """What the upstream was asked for each finished job, by kind, and how often it said 429.

    ``connects`` are opened sockets of the gateway, and count as requests.
    """
    connects = sum(user["identified"] + user["resumed"] for user in oracle["sessions"].values())
    by_kind = {**oracle["requests"], "connects": connects}
    return {
        "requests_per_job": round(sum(by_kind.values()) / finished, 2),
        "lists_per_job": round(by_kind["messages"] / finished, 2),
        "requests": {kind: count for kind, count in by_kind.items() if count},
        "limited": dict(oracle["troubles"]),
    }


def lateness(jobs: Sequence[Job], oracle: Mapping[str, Any]) -> dict[str, Any]:
    """How long after the upstream finished it each job was settled, which gives its slot back in the same step.

    Slot-seconds lost are those between the two; used are those from the submission's arrival to the settlement.
    """
    made = {job["prompt"]: job for job in oracle["jobs"] if job["finished_ms"]}
    ends = [(job.finished.timestamp(), made[str(job.prompt)]) for job in jobs if job.finished and job.prompt in made]
    late_s = sorted(end_s - upstream["finished_ms"] / 1000 for end_s, upstream in ends)
    used_s = sum(end_s - upstream["submitted_ms"] / 1000 for end_s, upstream in ends)
    return {
        "settle_p50_s": round(statistics.median(late_s), 3),
        "settle_p99_s": round(late_s[math.ceil(len(late_s) * 0.99) - 1], 3),
        "settle_max_s": round(late_s[-1], 3),
        "slot_seconds_lost": round(sum(late_s), 1),
        "lost_share": round(sum(late_s) / used_s, 4),
    }


def sessions(oracle: Mapping[str, Any], *, wanted: int) -> dict[str, Any]:
    """Whether the gateway's sessions were there: ``warnings`` say where the mode was not the one that it is called."""
    users = oracle["sessions"].values()
    opened = sum(1 for user in users if user["identified"])
    most = max((user["peak"] for user in users), default=0)
    warnings = [f"{opened} of {wanted} tokens had a session"] if opened != wanted else []
    warnings += [f"a token had {most} sessions at once"] if most > 1 else []
    return {"sessions": opened, "warnings": warnings}


def played(
    play: Play, modes: Sequence[str], *, more: Mapping[str, Any] | None = None, code: Path | None = None
) -> dict[str, dict[str, Any]]:
    """Play one round in this order, with ``more`` settings than ``SETTINGS``; the figures by mode."""
    figures = {}
    for mode in modes:
        settings = {**SETTINGS, **(more or {}), "observe": mode}
        with (
            tempfile.TemporaryDirectory(prefix="pxd-observe-") as folder,
            stage(Path(folder), settings, code=code) as on,
        ):
            figures[mode] = run(on, play)
        print(json.dumps(figures[mode]), file=sys.stderr)
    return figures


def summed(rounds: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Median, least and most of each number, by mode, and the gateway's median as a share of poll's."""
    numbers = [name for name, value in rounds[0]["poll"].items() if isinstance(value, int | float)]
    spread = {mode: {name: _spread([figures[mode][name] for figures in rounds]) for name in numbers} for mode in MODES}
    ratios = {
        name: round(spread["gateway"][name]["median"] / spread["poll"][name]["median"], 3)
        for name in RATIOS
        if spread["poll"].get(name, {}).get("median")
    }
    return {**spread, "gateway_to_poll": ratios}


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 4), "least": min(values), "most": max(values)}


def table(summary: Mapping[str, Any]) -> str:
    """The medians, and least to most, in Markdown."""
    lines = ["| | poll | gateway | gateway : poll |", "|---|---|---|---|"]
    for name in summary["poll"]:
        shown = (summary[mode][name] for mode in MODES)
        cells = [f"{each['median']:g} ({each['least']:g} to {each['most']:g})" for each in shown]
        lines.append(f"| {name} | {' | '.join(cells)} | {summary['gateway_to_poll'].get(name, '')} |")
    return "\n".join(lines)


def is_acceptable(figures: Mapping[str, Any], *, jobs: int) -> bool:
    """Whether all completed with their own files, and the mode was the one that it is called."""
    return is_clean(dict(figures)) and figures["jobs"] == {"completed": jobs} and not figures["warnings"]


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--accounts", type=int, default=20)
    parser.add_argument("--slots", type=int, default=3, help="of each account")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=20, help="list and submission is answered 429; 0: none")
    parser.add_argument("--result", choices=("edit", "followup", "message"), default="edit")
    parser.add_argument("--poll-min-s", type=float, default=Settings.model_fields["poll_min_s"].default)
    parser.add_argument("--code", type=Path, help="a folder with the packages to measure instead of these")
    return parser.parse_args()


def main() -> int:
    """Run it from the command line."""
    given = _given()
    play = Play(**{name: getattr(given, name) for name in Play.__dataclass_fields__})
    settings = {"poll_min_s": given.poll_min_s}
    rounds = []
    for n in range(given.rounds):
        modes = MODES[::-1] if n % 2 else MODES
        rounds.append(played(replace(play, seed=play.seed + n), modes, more=settings, code=given.code))
    summary = summed(rounds)
    print(json.dumps({"played": {**asdict(play), **settings}, **summary, "rounds": rounds}, indent=2))
    print(table(summary), file=sys.stderr)
    return 0 if all(is_acceptable(each, jobs=play.jobs) for figures in rounds for each in figures.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
