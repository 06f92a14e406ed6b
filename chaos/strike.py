"""One fault as it struck: what, when, whom, in which states; and how long the repair took."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from chaos.eye import Eye, Glance, LeaseSeen
from chaos.load import Entry

LOOK_S = 0.4
WATCH_MAX_S = 180.0

Recovered = Callable[[Glance], bool]
"""Whether what a fault hit goes on again, told from the store."""


@dataclass(slots=True, kw_only=True)
class Strike:
    """A fault that was done; ``at_ms`` is wall-clock, as the oracle's times are.

    ``delays_s``: how long nothing that goes by the store's clock can end, because it was set back by so much.
    """

    kind: str
    n: int = 0
    target: str = ""
    at_ms: int = 0
    in_flight: int = 0
    states: Counter[str] = field(default_factory=Counter)
    jobs_in_s: tuple[str, ...] = ()
    robbed: tuple[str, ...] | None = None
    """Leases that a living owner lost; None where that was not looked at."""
    recovered_s: float | None = None
    delays_s: float = 0.0
    note: str = ""
    _since_s: float = 0.0

    def hits(self, leases: Iterable[LeaseSeen]) -> None:
        """Note whom it struck, as the store had them at that moment."""
        struck = list(leases)
        self.states.update(lease.state for lease in struck)
        self.jobs_in_s += tuple(lease.job for lease in struck if lease.state == "S")

    def strikes(self) -> None:
        """Note the moment; recovery counts from here."""
        self.at_ms = time.time_ns() // 1_000_000
        self._since_s = time.monotonic()

    def struck_at(self, began_s: float) -> None:
        """Correct the moment, told by the monotonic clock."""
        self.at_ms -= int((self._since_s - began_s) * 1000)
        self._since_s = began_s

    def heals(self) -> None:
        """Note that what it hit goes on."""
        self.recovered_s = round(time.monotonic() - self._since_s, 2)

    def as_json(self) -> dict[str, Any]:
        """For the artifacts."""
        return {
            "n": self.n,
            "kind": self.kind,
            "target": self.target,
            "at_ms": self.at_ms,
            "in_flight": self.in_flight,
            "states": dict(self.states),
            "robbed": None if self.robbed is None else list(self.robbed),
            "recovered_s": self.recovered_s,
            "delays_s": self.delays_s,
            "note": self.note,
        }


def taken_up_again(hit: Iterable[LeaseSeen]) -> Recovered:
    """Each of these is over, has a new owner, or was renewed by its old one."""
    waiting = {lease.job: lease for lease in hit if lease.state != "D"}

    def is_recovered(glance: Glance) -> bool:
        for job, old in list(waiting.items()):
            new = glance.leases.get(job)
            is_new_owners = new is not None and new.token != old.token and bool(new.owner)
            is_renewed = (
                new is not None and new.token == old.token and not new.suspect and new.expiry_ms > old.expiry_ms
            )
            if new is None or new.state == "D" or is_new_owners or (is_renewed and bool(old.owner)):
                del waiting[job]
        return not waiting

    return is_recovered


def grants_again() -> Recovered:
    """The store mints tokens again, or owes none: nobody waits for one, or no slot is free; the first look sets a mark.

    Jobs that were all submitted at once, at the start or after an outage, all end seconds later: until then no slot is.
    """
    mark: int | None = None

    def is_recovered(glance: Glance) -> bool:
        nonlocal mark
        if glance.is_learning or mark is None:
            mark = glance.fence
            return False
        return glance.fence > mark or not glance.waiting or not glance.free

    return is_recovered


def runs_again(entry: Entry) -> Recovered:
    """The job was accepted upstream, as its record knows, or has ended."""

    def is_recovered(glance: Glance) -> bool:
        lease = glance.leases.get(entry.job_id or "")
        return entry.is_over or (lease is not None and lease.state == "A")

    return is_recovered


class Watch:
    """Looks every 0.4 s whether what was struck goes on."""

    def __init__(self, eye: Eye) -> None:
        self._eye = eye
        self._waiting: dict[int, tuple[Strike, Recovered]] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join()

    def follow(self, strike: Strike, recovered: Recovered) -> None:
        """Time the repair of a strike."""
        with self._lock:
            self._waiting[id(strike)] = (strike, recovered)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_S):
            glance = self._eye.look()
            if glance is None:
                continue
            with self._lock:
                waiting = list(self._waiting.items())
            for key, (strike, recovered) in waiting:
                if recovered(glance):
                    strike.heals()
                if strike.recovered_s is not None or time.monotonic() - strike._since_s > WATCH_MAX_S:  # noqa: SLF001
                    with self._lock:
                        del self._waiting[key]
