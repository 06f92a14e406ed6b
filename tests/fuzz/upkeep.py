"""The operator: registers accounts, changes limits and tokens, pauses, drains, disables and removes, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dispatcher.connection import Call
from tests.fuzz.timeline import Host, Process

if TYPE_CHECKING:
    from tests.fuzz.history import History

KEEP_S = 86_400
DEEDS = ("limit", "limit", "limit", "token", "paused", "draining", "disabled", "remove")


class Operator(Host):
    """One person for all accounts."""

    def __init__(self, history: History) -> None:
        super().__init__("operator")
        self.history = history
        self.limits: dict[str, int] = {}
        self.secrets: dict[str, int] = {}
        self.channels: dict[str, list[str]] = {}
        for pool in history.pools:
            user, total = pool.partition(":")[0], history.chance.choice((1, 2, 3, 5))
            self.channels[pool] = [f"{user}{number}" for number in range(total)]

    def begin(self) -> None:
        """Register all accounts, then do something now and then."""
        for pool, channel in self._all():
            self.limits[channel], self.secrets[channel] = self.history.chance.randint(1, 3), 0
            self._put(pool, channel)
        self.history.timeline.start(self, self._working())

    def end(self) -> None:
        """Stop, and leave all accounts at work."""
        self.is_dead = True
        self.history.timeline.start(self.history.network, self._mending())

    def restore(self) -> None:
        """The store lost writes: it may know other limits, or not know an account."""
        for pool, channel in self._all():
            stored = self.history.stage.store.client.hget(f"{self._key(pool, channel)}", "max_jobs")
            if stored and int(stored) != self.limits[channel]:
                self.limits[channel] = int(stored)
                self.history.upstream.declare(channel, int(stored), now_ms=self.history.timeline.now_ms)
            elif not stored:
                self._put(pool, channel)

    def _key(self, pool: str, channel: str) -> str:
        return self.history.stage.store.keys.account(pool, channel)

    def _all(self) -> list[tuple[str, str]]:
        return [(pool, channel) for pool, channels in self.channels.items() for channel in channels]

    def _working(self) -> Process:
        chance = self.history.chance
        while True:
            yield chance.choice((1000, 4000, 12_000))
            pool, channel = chance.choice(self._all())
            deed = chance.choice(DEEDS)
            self._do(deed, pool, channel)
            if deed not in {"limit", "token"}:
                self.history.timeline.start(
                    self, self._mend(pool, channel), after_ms=chance.choice((500, 5000, 30_000))
                )
            elif chance.random() < 0.5:  # and what was disabled by its upstream works again
                self._do("active", *chance.choice(self._all()))

    def _do(self, deed: str, pool: str, channel: str) -> None:
        if deed == "limit":
            self.limits[channel] = self.history.chance.randint(1, 3)
            self._put(pool, channel)
        elif deed == "token":
            self.secrets[channel] += 1
            self._put(pool, channel)
        elif deed == "remove":
            self._run("account_remove", KEEP_S, pool, channel)
        else:
            self._run("account_state", self._seed(), self.history.slots.ttl_ms, pool, channel, deed, "so it shall be")

    def _mend(self, pool: str, channel: str) -> Process:
        self._put(pool, channel)
        self._do("active", pool, channel)
        yield 0

    def _mending(self) -> Process:
        while True:
            for pool, channel in self._all():
                yield from self._mend(pool, channel)
            yield 20_000

    def _put(self, pool: str, channel: str) -> None:
        """Register or change; the upstream learns of a limit in the same instant."""
        history, limit = self.history, self.limits[channel]
        name = f"s{channel}v{self.secrets[channel]}"
        history.upstream.declare(channel, limit, now_ms=history.timeline.now_ms)
        user = pool.partition(":")[0]
        args = (user, pool, channel, "10", f"k1:{name}", "s…", f"digest-{name}", limit, name, "")
        self._run("account_put", self._seed(), history.slots.ttl_ms, *args)

    def _seed(self) -> int:
        return self.history.chance.randint(1, 2_147_483_646)

    def _run(self, script: str, *args: Any) -> None:
        self.history.run(Call(script, args, lambda reply: reply))
