"""Where events of tokens come from: one source a token, for as long as jobs need it.

Invariant: a source that no job of this process has needed for ``idle_s``, and that no job of another is followed by, is
ended; the next job opens another. So a token that was replaced is used no longer than its last job and that time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from dispatcher.log import get_logger
from dispatcher.loop import cancel_until_done

log = get_logger(__name__)

_LOOKS = 4
"""How often in ``idle_s`` it is looked whether a source is idle."""


@dataclass(frozen=True, slots=True)
class Login:
    """An account, and the version of its secret that is used."""

    pool: str
    channel: str
    secret_version: str


class Source(Protocol):
    """Where events of one token's channels come from."""

    @property
    def is_watched(self) -> bool:
        """Whether jobs are followed by what it tells, in whatever process."""
        ...

    def need(self, login: Login) -> None:
        """Note which account has the token."""
        ...

    async def close(self) -> None:
        """End it; safe to do twice."""
        ...


@dataclass(slots=True)
class _Open:
    source: Source
    jobs: int = 0
    last_s: float = 0.0


class Sources:
    """The sources of one process.

    Args:
        open_source: opens that of a token; None: there are no events, and nothing is ever opened.
        idle_s: how long one is kept that nobody needs, in seconds.
    """

    def __init__(self, open_source: Callable[[str], Source] | None, *, idle_s: float) -> None:
        self._open_source = open_source
        self._idle_s = idle_s
        self._open: dict[str, _Open] = {}
        self._ending: set[Source] = set()
        self._looking: asyncio.Task[None] | None = None

    @contextmanager
    def needed(self, token: str, login: Login) -> Iterator[None]:
        """Have the events of a token while the block runs: a job of that account is followed."""
        if self._open_source is None:
            yield
            return
        if token not in self._open:
            self._open[token] = _Open(self._open_source(token))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._end_idle(), name="idle gateway sessions")
        opened = self._open[token]
        opened.source.need(login)
        opened.jobs += 1
        try:
            yield
        finally:
            opened.jobs -= 1
            opened.last_s = time.monotonic()

    async def close(self) -> None:
        """End all; no job is followed any more."""
        if self._looking is not None:
            await cancel_until_done(self._looking)
        ending = [*self._ending, *(opened.source for opened in self._open.values())]
        self._open.clear()
        await asyncio.gather(*(source.close() for source in ending))

    async def _end_idle(self) -> None:
        while self._open:
            await asyncio.sleep(self._idle_s / _LOOKS)
            for token, opened in tuple(self._open.items()):
                if self._is_idle(opened):
                    del self._open[token]
                    log.info("gateway session is not needed", idle_s=self._idle_s)
                    self._ending.add(opened.source)
                    await opened.source.close()
                    self._ending.discard(opened.source)

    def _is_idle(self, opened: _Open) -> bool:
        is_needed = opened.jobs or opened.source.is_watched
        return not is_needed and time.monotonic() - opened.last_s >= self._idle_s
