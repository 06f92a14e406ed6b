"""All that a fault may touch, and who may be struck at once."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chaos.clock import Clock
from chaos.crew import Crew, Member
from chaos.eye import Eye, Upstream
from chaos.load import Entry, Load
from chaos.operator import Operator
from chaos.scale import Scale
from chaos.store import ChaosStore
from chaos.strike import Strike, Watch


class NotNow(Exception):
    """The fault cannot strike as things stand; it is tried again later."""


class Owners:
    """Keeps faults apart that nobody could repair together.

    A worker's death and the loss of the writes that made its leases: who would assert them again? Faults that take
    owners away enter ``striking``; one that loses writes enters ``losing``, alone.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._striking = 0
        self._is_losing = False

    @contextmanager
    def striking(self) -> Iterator[None]:
        """Take an owner away, until its leases have new ones.

        Raises:
            NotNow: writes are being lost.
        """
        with self._condition:
            if self._is_losing:
                raise NotNow("writes are being lost")
            self._striking += 1
        try:
            yield
        finally:
            with self._condition:
                self._striking -= 1
                self._condition.notify_all()

    @contextmanager
    def losing(self, patience_s: float) -> Iterator[None]:
        """Lose writes, while all owners live; waits until they do.

        Raises:
            NotNow: they did not, or writes are being lost already.
        """
        with self._condition:
            if self._is_losing:
                raise NotNow("writes are being lost already")
            self._is_losing = True
            if not self._condition.wait_for(lambda: not self._striking, patience_s):
                self._is_losing = False
                raise NotNow("owners were away")
        try:
            yield
        finally:
            with self._condition:
                self._is_losing = False


@dataclass(slots=True, kw_only=True)
class Arena:
    """What a run consists of."""

    scale: Scale
    times: dict[str, Any]
    crew: Crew
    eye: Eye
    upstream_url: str
    load: Load
    operator: Operator
    watch: Watch
    channels: list[str]
    store: ChaosStore | None = None
    """None where an outage of the store is no part of the run."""
    clock: Clock | None = None
    """Of the one worker that lives by its own."""
    owners: Owners = field(default_factory=Owners)
    store_lock: threading.Lock = field(default_factory=threading.Lock)
    disturbed: list[tuple[float, float]] = field(default_factory=list)
    """Monotonic spans in which the store, the way to it or its clock was struck."""
    stopped: threading.Event = field(default_factory=threading.Event)
    _reserved: set[str] = field(default_factory=set)
    _channels_lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def ttl_s(self) -> float:
        """Of a lease."""
        return float(self.times["lease_ttl_s"])

    @property
    def outages(self) -> ChaosStore:
        """The store that can be struck.

        Raises:
            NotNow: the run has none.
        """
        if self.store is None:
            raise NotNow("the store is not ours to strike")
        return self.store

    @property
    def heartbeat_s(self) -> float:
        """Between renewals."""
        return float(self.times["heartbeat_s"])

    @property
    def learning_s(self) -> float:
        """After the store has become another."""
        return float(self.times.get("learning_s", 0))

    def upstream(self) -> Upstream:
        """A connection of its own for the calling thread."""
        return Upstream(self.upstream_url)

    @contextmanager
    def apart(self, channels: Sequence[str], dice: random.Random) -> Iterator[str]:
        """Reserve one of the channels: the oracle counts refusals by channel, and two faults would share one.

        Raises:
            NotNow: all are reserved.
        """
        with self._channels_lock:
            free = [channel for channel in channels if channel not in self._reserved]
            if not free:
                raise NotNow("every channel has a fault that waits for its job")
            channel = dice.choice(free)
            self._reserved.add(channel)
        try:
            yield channel
        finally:
            with self._channels_lock:
                self._reserved.discard(channel)

    @contextmanager
    def struck(self, role: str, dice: random.Random) -> Iterator[Member]:
        """Reserve a process of a role; whoever restarts it releases it, else the end of the block does.

        Raises:
            NotNow: too few are free: of the workers one is left alone.
        """
        free = self.crew.free(role)
        spare = 1 if role == "work" else 0
        if len(free) <= spare:
            raise NotNow(f"no {role} to spare")
        member = dice.choice(free)
        if not member.lock.acquire(blocking=False):
            raise NotNow(f"that {role} is struck already")
        process = member.process
        try:
            yield member
        finally:
            if member.process is process and process.poll() is None and member.lock.locked():
                member.lock.release()

    def was_disturbed(self, *, since_s: float) -> bool:
        """Whether the store was struck since then."""
        return any(end >= since_s for _, end in self.disturbed)

    @contextmanager
    def disturbing(self, *, after_s: float = 0.0) -> Iterator[None]:
        """Strike the store or the way to it, one such fault at a time."""
        if not self.store_lock.acquire(timeout=60):
            raise NotNow("the store is struck already")
        begun_s = time.monotonic()
        try:
            yield
        finally:
            self.disturbed.append((begun_s, time.monotonic() + after_s))
            self.store_lock.release()

    def victim(self, kind: str, dice: random.Random, *, channel: str, directive: str | None = None) -> Entry:
        """Enqueue a job of its own for a fault, first in its channel's line; without a directive it meets the next."""
        said = f" [[sim {directive}]]" if directive else ""
        prompt = f"victim of {kind} {dice.getrandbits(48):012x}{said}"
        return self.load.add(prompt, channel=channel, priority=100)

    def strike(self, kind: str, **fields: Any) -> Strike:
        """Begin the record of a fault."""
        return Strike(kind=kind, **fields)
