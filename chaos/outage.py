"""What one blow at the store or the way to it did, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One blow, over: when a method returns one, the store serves again.

    Attributes:
        kind: the method's name.
        began_s: ``time.monotonic()`` from which on clients were struck; every process of the machine shares that clock.
        ended_s: ``time.monotonic()`` at which the store answered again, through the proxy where the proxy was struck.
        connections: connections that were hit.
        unanswered: of them, those with a request whose reply had not begun to pass.
        cut_bytes: bytes of replies that arrived from the store and were never delivered.
        lost_from_s: ``time.monotonic()``; writes answered from then until ``began_s`` are gone. None: none are.
        lost_bytes: how much they were, in the append-only file or in the replication stream.
    """

    kind: str
    began_s: float
    ended_s: float
    connections: int = 0
    unanswered: int = 0
    cut_bytes: int = 0
    lost_from_s: float | None = None
    lost_bytes: int = 0
