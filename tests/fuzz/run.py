"""Many histories, one after the other, and what they add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import redis

from tests.fuzz.history import History
from tests.fuzz.stage import Stage
from tests.fuzz.switches import Switch

JOBS_A_HISTORY = 100


@dataclass(slots=True)
class Tally:
    """What some histories came to; ``first`` tells of each kind of breach where it was seen first."""

    histories: int = 0
    jobs: int = 0
    submissions: int = 0
    outlived: int = 0
    virtual_s: float = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    breaches: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, history: History) -> None:
        """Take in a history that was played."""
        self.histories += 1
        self.jobs += len(history.accepted)
        self.submissions += history.upstream.taken
        self.outlived += history.upstream.outlived
        self.virtual_s += history.timeline.now_ms / 1000
        self.faults.update(history.faults.struck)
        self.statuses.update(history.judge.ended.values())
        self.breaches.update(history.judge.breaches)
        for kind, detail in history.judge.first.items():
            self.first.setdefault(kind, f"history {history.seed}, {detail}")


def played(
    client: redis.Redis, *, seed: str, jobs: int, switch: Switch | None = None, until_broken: bool = False
) -> Tally:
    """Play histories until they accepted ``jobs`` jobs; ``until_broken``: until a breach that the switch must bring.

    History ``n`` of seed ``s`` is ``s.n``, whatever came before it.
    """
    stage, tally = Stage(client, switch), Tally()
    while tally.jobs < jobs:
        mood = switch.mood if switch and until_broken else None
        history = History(stage, f"{seed}.{tally.histories}", jobs=JOBS_A_HISTORY, mood=mood)
        history.play()
        tally.add(history)
        if until_broken and switch and any(kind in switch.breaks for kind in tally.breaches):
            break
    return tally
