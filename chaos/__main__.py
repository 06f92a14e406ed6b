"""``python -m chaos``: play a run, print its table, write ``chaos-out/``; exit 1 if a promise is broken.

``--without RULE`` plays a short run in which that rule is gone: it must fail. ``--prove`` plays one for each rule, and
its sound twin, and exits 1 unless each fails on the promise that the rule keeps, and no twin does.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from chaos import table
from chaos.kinds import GATEWAY_KINDS, KINDS
from chaos.scale import FULL, SHORT
from chaos.switches import SWITCHES, count, play_switch, prove
from chaos.theatre import play

OUT = Path("chaos-out")


def main() -> int:
    """Run it from the command line."""
    given = _arguments()
    # The processes of a run must not outlive it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if given.prove:
        return _prove(given)
    if given.without:
        return _without(given)
    scale = SHORT if given.short else FULL
    if given.observe == "gateway":
        scale = scale.with_more(sum(kind.least for kind in GATEWAY_KINDS) if scale is FULL else len(GATEWAY_KINDS))
    scale = replace(
        scale,
        jobs=given.jobs or scale.jobs,
        faults=given.faults or scale.faults,
        minutes=given.minutes or scale.minutes,
    )
    scale = replace(scale, brief_jobs=min(scale.brief_jobs, int(scale.minutes)))  # each takes a minute or two
    known = (*KINDS, *GATEWAY_KINDS) if given.observe == "gateway" else KINDS
    kinds = {kind.name for kind in known} - set(given.skip)
    if given.only:
        kinds &= set(given.only)
    out: Path = given.out
    is_full = not (given.short or given.jobs or given.faults or given.minutes or given.skip or given.only)
    figures = play(out, scale=scale, names=kinds, seed=given.seed, tell=_tell, is_full=is_full, observe=given.observe)
    return _show(figures, out)


def _without(given: argparse.Namespace) -> int:
    out: Path = given.out
    switch = SWITCHES[given.without]
    figures = play_switch(switch, without=True, out=out, seed=given.seed, tell=_tell)
    status = _show(figures, out)
    print(f"without {switch.rule}: {count(figures, switch.promise)} {switch.promise}")
    return status


def _prove(given: argparse.Namespace) -> int:
    rows = prove(given.out, seed=given.seed, tell=_tell)
    (given.out / "proof.json").write_text(json.dumps(rows, indent=2))
    print(table.proof(rows))
    return 0 if all(row["seen"] for row in rows) else 1


def _show(figures: dict[str, Any], out: Path) -> int:
    (out / "summary.json").write_text(json.dumps(figures, indent=2))
    print(table.rendered(figures))
    return 1 if figures["broken"] else 0


def _tell(line: str) -> None:
    print(line, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=0, help="at least so many; 0: the scale's")
    parser.add_argument("--faults", type=int, default=0, help="0: the scale's")
    parser.add_argument(
        "--minutes", type=float, default=0, help="after which no further fault is begun; 0: the scale's"
    )
    parser.add_argument(
        "--observe", choices=["poll", "gateway"], default="poll", help="the setting; gateway: its faults strike, too"
    )
    parser.add_argument("--short", action="store_true", help="a small fleet and few faults")
    parser.add_argument("--only", nargs="+", default=[], metavar="KIND", help="faults of these kinds alone")
    parser.add_argument("--skip", nargs="+", default=[], metavar="KIND", help="none of these")
    parser.add_argument("--without", choices=sorted(SWITCHES), help="a short run without this rule")
    parser.add_argument("--prove", action="store_true", help="every rule in turn, with and without")
    parser.add_argument("--out", type=Path, default=OUT, help="logs, the oracle, the faults, the summary")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
