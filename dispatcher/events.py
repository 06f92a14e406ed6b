"""Waking waiters: one thread reads the event stream of a store, for every waiter of the process.

Events are hints. The record is the truth, so a waiter reads it after subscribing and again every two seconds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import RedisError

from dispatcher.keys import Keys
from dispatcher.models import FINAL

REREAD_S = 2.0
_BLOCK_MS = 1000
_PAUSE_S = 0.5

Wake = Callable[[str], None]
STARTED = FINAL | {"started", "progress"}
"""What follows ``created``: who waits for a submission's answer waits for one of these."""


class EventReader:
    """Reads the stream while anybody waits; ``wake(job_id)`` is called on its thread."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self._url = redis_url
        self._stream = Keys(namespace).of("events")
        self._lock = threading.Lock()
        self._wakes: dict[str, list[tuple[Wake, Collection[str]]]] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, job_ids: Iterable[str], wake: Wake, *, statuses: Collection[str] = FINAL) -> Iterator[None]:
        """Call ``wake`` with each of these ids when it is changed to one of ``statuses``, until the block is left."""
        ids, watcher = list(job_ids), (wake, statuses)
        with self._lock:
            for job_id in ids:
                self._wakes.setdefault(job_id, []).append(watcher)
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name=f"events of {self._stream}", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                for job_id in ids:
                    self._wakes[job_id].remove(watcher)
                    if not self._wakes[job_id]:
                        del self._wakes[job_id]

    def _read(self) -> None:
        """Follow the stream until nobody waits any more."""
        with redis.Redis.from_url(self._url, decode_responses=True) as client:
            last = "$"
            while not self._finished():
                try:
                    reply: Any = client.xread({self._stream: last}, block=_BLOCK_MS)
                except RedisError:
                    threading.Event().wait(_PAUSE_S)
                    continue
                entries = reply.values() if isinstance(reply, dict) else [batch for _, batch in reply or []]
                for batch in entries:
                    for entry_id, fields in _flat(batch):
                        last = entry_id
                        self._wake(fields["job"], fields["status"])

    def _finished(self) -> bool:
        with self._lock:
            if self._wakes:
                return False
            self._thread = None
            return True

    def _wake(self, job_id: str, status: str) -> None:
        with self._lock:
            wakes = [wake for wake, statuses in self._wakes.get(job_id, ()) if status in statuses]
        for wake in wakes:
            wake(job_id)


def _flat(batch: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Entries of one stream; RESP3 nests them one list deeper."""
    for item in batch:
        if item and isinstance(item[0], str):
            yield item[0], item[1]
        else:
            yield from _flat(item)


_readers: dict[tuple[str, str], EventReader] = {}
_readers_lock = threading.Lock()


def reader_of(redis_url: str, namespace: str) -> EventReader:
    """The process's one reader of that store."""
    with _readers_lock:
        return _readers.setdefault((redis_url, namespace), EventReader(redis_url, namespace))
