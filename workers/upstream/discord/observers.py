"""All channels that jobs of this process watch, and the ear for what other processes read."""

from __future__ import annotations

import secrets

from dispatcher.connection import AsyncStore
from workers.upstream.discord.feed import Feed
from workers.upstream.discord.hints import Hints
from workers.upstream.discord.observer import Observer
from workers.upstream.discord.rest import Rest
from workers.upstream.discord.rhythm import Bounds

_LIFE_BESIDE_S = 30.0
"""How long, beside two of the longest pauses, a worker's need is kept that does not ask any more."""


class Observers:
    """The observers of one process.

    Args:
        rest: reads channels.
        store: where the workers of the fleet meet.
        bounds: of the pause between two looks.
    """

    def __init__(self, rest: Rest, store: AsyncStore, bounds: Bounds) -> None:
        self._rest = rest
        self._bounds = bounds
        self.feed = Feed(store, worker=secrets.token_hex(8), life_s=2 * bounds.max_s + _LIFE_BESIDE_S)
        self._observers: dict[str, Observer] = {}
        self._hints = Hints(store, self._hear)

    def of(self, token: str, channel: str) -> Observer:
        """Return the observer of a channel; enter a watch before anything else runs, or it may be gone."""
        self._hints.start()
        made = Observer(
            self._rest,
            self.feed,
            token=token,
            channel=channel,
            bounds=self._bounds,
            closed=lambda: self._observers.pop(str(made.spot), None),
        )
        return self._observers.setdefault(str(made.spot), made)

    async def close(self) -> None:
        """Stop listening; nobody watches any more."""
        await self._hints.stop()

    def _hear(self, hint: str) -> None:
        """Pass a hint on: ``<spot> <version>``."""
        spot, _, version = hint.rpartition(" ")
        if spot in self._observers and version.isdecimal():
            self._observers[spot].hear(int(version))
