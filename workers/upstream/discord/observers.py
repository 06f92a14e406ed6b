"""All channels that jobs of this process watch, and the ear for what other processes read."""

from __future__ import annotations

import secrets

from dispatcher.connection import AsyncStore
from workers.upstream.discord.fates import HINT, Ear, Fates
from workers.upstream.discord.feed import Feed, digest_of
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
        is_told: whether a gateway's events are told anywhere in the fleet.
    """

    def __init__(self, rest: Rest, store: AsyncStore, bounds: Bounds, *, is_told: bool = False) -> None:
        self._is_told = is_told
        self._rest = rest
        self._bounds = bounds
        self.feed = Feed(store, worker=secrets.token_hex(8), life_s=2 * bounds.max_s + _LIFE_BESIDE_S)
        self._observers: dict[str, Observer] = {}
        self._fates = Fates(store)
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

    def ear(self, token: str, nonces: tuple[str, ...]) -> Ear | None:
        """Return what a job hears by of its own interaction; None where no events are listened to."""
        return self._fates.ear(digest_of(token), nonces) if self._is_told else None

    async def close(self) -> None:
        """Stop listening; nobody watches any more."""
        await self._hints.stop()

    def _hear(self, hint: str) -> None:
        """Pass a hint on: ``<spot> <version>``, or one of a fate."""
        if hint.startswith(HINT):
            self._fates.hear(hint)
            return
        spot, _, version = hint.rpartition(" ")
        if spot in self._observers and version.isdecimal():
            self._observers[spot].hear(int(version))
