"""The two scripts of rate limits, driven with raw replies."""

from __future__ import annotations

import itertools
from typing import Any

from dispatcher.connection import Call, Store

_answers = itertools.count()
_BUCKET_UNTOLD = ("", 0, 0)


class Road:
    """The way to one upstream as workers see it; each method is one script call or one read.

    Args:
        store: where the limits are.
        digest: of the secret that calls.
    """

    def __init__(self, store: Store, digest: str = "d1") -> None:
        self.store = store
        self.digest = digest
        self.last: tuple[str, tuple[Any, ...]] | None = None

    def ask(
        self,
        route: str = "messages",
        major: str = "c1",
        *,
        digest: str = "",
        egress: str = "here",
        interval_us: int = 0,
        burst: int = 1,
        address_us: int = 0,
        address_burst: int = 1,
        patience_ms: int = 10_000,
        leaves: bool = True,
    ) -> Any:
        """May it leave?"""
        place = ("discord", egress, digest or self.digest, route, major)
        return self._run("pace", *place, interval_us, burst, address_us, address_burst, patience_ms, int(leaves))

    def tell(
        self,
        blocks: str = "",
        ms: int = 0,
        reason: str = "told so",
        *,
        route: str = "messages",
        major: str = "c1",
        digest: str = "",
        egress: str = "here",
        is_invalid: bool = False,
        window_ms: int = 600_000,
        invalid_max: int = 300,
        bucket: tuple[str, int, int] = _BUCKET_UNTOLD,
    ) -> Any:
        """What an answer said; ``bucket`` is name, calls left, ms until it is full."""
        place = ("discord", egress, digest or self.digest, route, major)
        answer = f"a{next(_answers)}" if is_invalid else ""
        return self._run("paced", *place, blocks, ms, reason, answer, window_ms, invalid_max, *bucket)

    def again(self) -> Any:
        """Send the last call once more, word for word."""
        assert self.last is not None
        script, args = self.last
        return self._run(script, *args)

    def key(self, *parts: str) -> str:
        return self.store.keys.of(*parts)

    def life_ms(self, *parts: str) -> int:
        """How long a key still lives."""
        return int(self.store.client.pttl(self.key(*parts)))

    def invalid(self, egress: str = "here") -> int:
        """How many refused calls the address has on record."""
        return int(self.store.client.zcard(self.key("invalid", "discord", egress)))

    def _run(self, script: str, *args: Any) -> Any:
        self.last = (script, args)
        return self.store.do(Call(script, args, lambda reply: reply))
