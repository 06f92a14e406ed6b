"""How large a run is, and the times that its fleet lives by."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

TIMES: dict[str, Any] = {
    "heartbeat_s": 2,
    "lease_ttl_s": 8,
    "learning_s": 12,  # TTL + 2 heartbeats, as by default
    "sweep_s": 0.5,
    "poll_min_s": 0.5,
    "poll_max_s": 1.0,
    "start_timeout_s": 5,
    "cooling_first_s": 2,
    "hard_deadline_s": 120,
    "hold_s": 60,
}
"""Shorter than the defaults in proportion, so that 300 faults and their repairs fit into half an hour."""
BRIEF_TIMES: dict[str, Any] = {**TIMES, "namespace": "{pxd-brief}", "hard_deadline_s": 30, "hold_s": 30}
"""Of the fleet whose jobs outlive their deadline and hold."""
GATEWAY_TIMES: dict[str, Any] = {
    "observe": "gateway",
    "poll_max_s": 5.0,  # so that jobs do live by events
    "discord_gateway_idle_s": 60,
    "discord_gateway_retry_s": 20,
}
"""Of a fleet that hears events, beside the others."""
STRIKE_S = 5.0
"""Between the two strikes; no setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A run in numbers.

    Args:
        jobs: enqueued at least.
        in_flight_min: jobs that the oracle must see running before a fault may strike.
        limits: ``max_jobs`` of each account.
        workers: worker processes of the main fleet.
        services: ``dispatcher run`` processes.
        pause_s: from one fault to the next, on average.
        shortest_s: the shortest job, upstream.
        longest_s: the longest.
        brief_jobs: jobs at least that outlive their deadline, in a fleet of their own; 0: none.
        faults: that strike while enough is in flight.
        minutes: after which no further fault is begun.
        drain_s: how long to wait, after the last fault, for jobs to end and for slots to come back.
    """

    jobs: int
    in_flight_min: int
    limits: tuple[int, ...]
    workers: int
    services: int
    pause_s: float
    shortest_s: float
    longest_s: float
    brief_jobs: int
    faults: int
    minutes: float
    drain_s: float

    @property
    def slots(self) -> int:
        """All slots of the main fleet."""
        return sum(self.limits)

    def with_more(self, faults: int) -> Scale:
        """This one, with so many faults more and the time for them, as much for each as before."""
        more = math.ceil(self.minutes * faults / self.faults)
        return replace(self, faults=self.faults + faults, minutes=self.minutes + more)


FULL = Scale(
    jobs=5000,
    in_flight_min=50,
    limits=tuple(2 + n % 7 for n in range(24)),
    workers=4,
    services=2,
    pause_s=3.0,
    shortest_s=8,
    longest_s=24,
    brief_jobs=40,
    faults=360,
    minutes=28,
    drain_s=300,
)
SHORT = Scale(
    jobs=150,
    in_flight_min=15,
    limits=tuple(1 + n % 4 for n in range(12)),
    workers=3,
    services=2,
    pause_s=1.5,
    shortest_s=3,
    longest_s=7,
    brief_jobs=0,
    faults=8,
    minutes=1,
    drain_s=120,
)
