"""The load: an honest client, which enqueues with idempotency keys and asks what became of its jobs.

What the store does not know any more it enqueues again, under the same key.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from chaos.scale import Scale
from dispatcher import Client, CreateSingle, Job
from dispatcher.errors import DispatcherError, JobNotFound, LeasingClosed, StoreUnavailable

SWEEP_S = 1.5
AHEAD = 1.5
"""Open jobs per slot: some always wait."""


@dataclass(slots=True)
class Entry:
    """One thing wanted, under one key, whatever the store forgets."""

    key: str
    prompt: str
    channel: str | None = None
    priority: int = 0
    job_id: str | None = None
    job: Job | None = None
    ids: int = 0
    is_cancelled: bool = False

    @property
    def is_over(self) -> bool:
        """Whether it was seen final."""
        return self.job is not None and self.job.is_final


@contextlib.contextmanager
def variables(environment: Mapping[str, str]) -> Iterator[None]:
    """Let clients made in the block have the fleet's settings, as an application beside it would."""
    ours = {name: value for name, value in environment.items() if name.startswith("DISPATCHER_")}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


class Load:
    """Keeps the fleet's slots full until it is told to finish.

    Args:
        environment: the fleet's.
        scale: how many jobs, and how long they run.
        seed: of the durations.
        name: told in keys and prompts.
    """

    def __init__(self, environment: Mapping[str, str], scale: Scale, *, seed: int, name: str = "take") -> None:
        with variables(environment):
            self._client = Client()
        self._scale = scale
        self._dice = random.Random(seed)
        self._name = name
        self._lock = threading.RLock()
        self.entries: list[Entry] = []
        self._open: dict[str, Entry] = {}
        self.enqueued_again = 0
        self._finishing = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"load {name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Enqueue no more than the run must have; follow what is open."""
        self._finishing.set()

    def stop(self) -> None:
        """Stop following."""
        self._stopped.set()
        self._thread.join()
        self._client.close()

    @property
    def open_count(self) -> int:
        """Entries not seen final."""
        return len(self._open)

    @property
    def is_drained(self) -> bool:
        """Whether all are over that the run must have."""
        return self._finishing.is_set() and not self._open and len(self.entries) >= self._scale.jobs

    def prompt(self) -> str:
        """A job's prompt, its own, which tells the simulator how long it takes."""
        seconds = self._dice.uniform(self._scale.shortest_s, self._scale.longest_s)
        return f"{self._name} {len(self.entries)} [[sim seconds={seconds:.2f} ack=0.2 progress=1]]"

    def add(self, prompt: str, *, channel: str | None = None, priority: int = 0) -> Entry:
        """Want one more; it is enqueued as soon as the store takes it."""
        with self._lock:
            entry = Entry(f"{self._name}-{len(self.entries)}", prompt, channel, priority)
            self.entries.append(entry)
            self._open[entry.key] = entry
        self._enqueue(entry)
        return entry

    def cancel(self, entry: Entry) -> bool:
        """Cancel one; False while the store is away."""
        try:
            job = self._client.cancel(str(entry.job_id))
        except DispatcherError:
            return False
        entry.is_cancelled = job.status == "cancelled"
        return entry.is_cancelled

    def open_jobs(self) -> dict[str, Entry]:
        """What is open and accepted, by the job's id."""
        with self._lock:
            return {entry.job_id: entry for entry in self._open.values() if entry.job_id}

    def reread(self) -> None:
        """Read every record once more: what was final may have been rolled back."""
        for entry in list(self.entries):
            self._follow(entry)
            if not entry.is_over:
                with self._lock:
                    self._open.setdefault(entry.key, entry)

    def _run(self) -> None:
        while not self._stopped.wait(0.2):
            self._top_up()
            end_s = time.monotonic() + SWEEP_S
            with self._lock:
                following = list(self._open.values())
            for entry in following:
                if self._stopped.is_set() or not self._follow(entry):
                    break  # the store is away: no use in asking for the others now
                if entry.is_over:
                    with self._lock:
                        self._open.pop(entry.key, None)
            self._stopped.wait(max(0.0, end_s - time.monotonic()))

    def _top_up(self) -> None:
        most = int(self._scale.slots * AHEAD)
        while len(self._open) < most and not self._stopped.is_set():
            if self._finishing.is_set() and len(self.entries) >= self._scale.jobs:
                return
            if self.add(self.prompt()).job_id is None:
                return  # the store is away: no use in wanting more now

    def _enqueue(self, entry: Entry) -> None:
        request = CreateSingle(prompt=entry.prompt, style="Anime")
        try:
            job = self._client.enqueue(
                request, idempotency_key=entry.key, channel=entry.channel, priority=entry.priority
            )
        except StoreUnavailable:
            return  # again at the next sweep, under the same key
        entry.ids += job.id != entry.job_id
        entry.job_id, entry.job = job.id, job

    def _follow(self, entry: Entry) -> bool:
        """Ask what became of one; False while the store is away."""
        if entry.job_id is None:
            self._enqueue(entry)
            return entry.job_id is not None
        try:
            entry.job = self._client.get(entry.job_id)
        except JobNotFound:
            self.enqueued_again += 1
            self._enqueue(entry)
        except LeasingClosed:
            return True  # it may be among what the store is being told again
        except StoreUnavailable:
            return False
        if entry.is_cancelled and entry.job and not entry.job.is_final:
            self.cancel(entry)  # the store forgot it
        return True
