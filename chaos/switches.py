"""The suite can see: each rule taken away in turn, by a setting or in a copy of the packages, breaks its promise."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from chaos.scale import SHORT, Scale
from chaos.theatre import play

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dispatcher", "workers")

MINUTES = 4

Edit = tuple[str, str, str]
"""A file of the packages, a text that occurs in it once, and what stands there instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A rule, how to take it away, and the promise that it keeps.

    Args:
        rule: its name on the command line.
        promise: of the figures, the one that must break: ``breaches``, ``duplicates`` or ``robbed``.
        kinds: faults that strike; the sound fleet survives them.
        faults: how many.
        settings: that take the rule away.
        edits: that take the rule away.
        both: settings of the sound fleet and of the one without the rule.
        scale: of the run.
    """

    rule: str
    promise: str
    kinds: tuple[str, ...]
    faults: int
    settings: dict[str, Any] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    both: dict[str, Any] = field(default_factory=dict)
    scale: Scale = SHORT


REAP, CLAIM = "dispatcher/lua/reap.lua", "dispatcher/lua/claim.lua"
SWITCHES: dict[str, Switch] = {
    switch.rule: switch
    for switch in (
        Switch(rule="learning", promise="breaches", kinds=("roll back",), faults=4, settings={"learning_s": 0}),
        Switch(
            rule="cancel-drains",
            promise="breaches",
            kinds=("cancel",),
            faults=6,
            settings={"cancel_frees_slot": "at_once"},
        ),
        Switch(
            rule="deadline-drains",
            promise="breaches",
            kinds=(),
            faults=0,
            edits=(
                (
                    REAP,
                    "    drain(job, math.max(tonumber(deadline) or now, now))\n",
                    "    release(pool, channel, job)\n    refill(pool, channel)\n",
                ),
            ),
            # An owner that renews has 30 s of grace, so the jobs are longer than that.
            both={"hard_deadline_s": 3, "hold_s": 60},
            scale=replace(SHORT, jobs=40, shortest_s=36, longest_s=44),
        ),
        Switch(
            rule="found-in-s-is-looked-up",
            promise="duplicates",
            kinds=("kill worker in S",),
            faults=5,
            edits=(
                (CLAIM, "S = { 'U', 'lookup' }", "S = { 'C', 'start' }"),
                (REAP, "state == 'C' and 'R' or state == 'S' and 'U' or state", "state == 'C' and 'R' or state"),
            ),
        ),
        Switch(
            rule="second-strike",
            promise="robbed",
            kinds=("freeze worker",),
            faults=6,
            edits=((REAP, "  elseif suspect == '' then\n", "  elseif false then\n"),),
        ),
    )
}


class EditMisplaced(Exception):
    """A rule's text is not where the switch expects it, once: the switch must follow the source."""


@contextmanager
def packages_without(switch: Switch) -> Iterator[Path | None]:
    """A copy of the packages in which the rule is gone; None where a setting takes it away.

    Raises:
        EditMisplaced: a text does not occur exactly once.
    """
    if not switch.edits:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="pxd-without-") as name:
        folder = Path(name)
        for package in PACKAGES:
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
        for file, old, new in switch.edits:
            text = (folder / file).read_text(encoding="utf-8")
            if text.count(old) != 1:
                raise EditMisplaced(f"{file}: {old!r} occurs {text.count(old)} times")
            (folder / file).write_text(text.replace(old, new), encoding="utf-8")
        yield folder


def play_switch(switch: Switch, *, without: bool, out: Path, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Play the switch's run, with its rule or without; the figures."""
    with packages_without(switch) if without else _as_it_is() as code:
        return play(
            out,
            scale=replace(switch.scale, faults=switch.faults, minutes=MINUTES),
            names=switch.kinds,
            seed=seed,
            tell=tell,
            settings={**switch.both, **(switch.settings if without else {})},
            code=code,
        )


@contextmanager
def _as_it_is() -> Iterator[None]:
    yield None


def count(figures: dict[str, Any], promise: str) -> int:
    """How often a run broke a promise."""
    found = figures[promise]
    return found if isinstance(found, int) else len(found)


def prove(out: Path, *, seed: int, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Play every switch with its rule and without; one row each."""
    rows = []
    for switch in SWITCHES.values():
        row: dict[str, Any] = {"rule": switch.rule, "promise": switch.promise}
        for name, without in (("sound", False), ("without", True)):
            tell(f"{switch.rule}: {name}")
            figures = play_switch(switch, without=without, out=out / switch.rule / name, seed=seed, tell=tell)
            row[name] = count(figures, switch.promise)
            row[f"{name}_broken"] = figures["broken"]
            row[f"{name}_faults"] = figures["faults"]
            row[f"{name}_robberies_judged"] = figures["robberies_judged"]
        is_sound = all(told.startswith("recovery") for told in row["sound_broken"])  # a busy machine's, no promise's
        has_struck = min(row["sound_faults"], row["without_faults"]) > 0 or not switch.faults
        was_looked_at = row["sound_robberies_judged"] > 0 or switch.promise != "robbed"
        row["seen"] = is_sound and has_struck and was_looked_at and row["without"] > 0
        rows.append(row)
    return rows
