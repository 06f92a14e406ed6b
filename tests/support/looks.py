"""The scripts by which workers share what they read of a channel, driven with raw replies read as tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dispatcher.connection import Call, Store
from dispatcher.replies import table
from tests.support.fleet import FAR_MS, PAST_MS

TURN_MS = 60_000


@dataclass(frozen=True, slots=True)
class Told:
    """A reply: its verdict, the view, the versions and texts of its news, the fingerprints kept."""

    verdict: str
    view: dict[str, str]
    news: dict[str, str]
    prints: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.view[name]


class Spot:
    """One channel as workers share it; each method is one script call or one read."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.last: tuple[str, tuple[Any, ...]] | None = None

    def ask(
        self,
        name: str = "",
        *,
        worker: str = "w1",
        known: int = 0,
        since: str = "100",
        turn: str = "0",
        life: int = FAR_MS,
    ) -> Told:
        """A worker asks for the turn, or for news."""
        return self._view("look", "d1", "c1", worker, known, since, life, name, turn, TURN_MS)

    def granted(self, name: str = "n1", *, worker: str = "w1", since: str = "100") -> Told:
        """A worker gets the turn, knowing of the last one."""
        told = self.ask(name, worker=worker, since=since, turn=self.ask(worker=worker, since=since)["turn"])
        assert told.verdict == "read"
        return told

    def tell(self, name: str = "n1", *ids: int, known: int = 0, changed: tuple[tuple[int, str, str], ...] = ()) -> Told:
        """A reader tells its list."""
        flat = [str(part) for message in changed for part in message]
        return self._view("looked", "d1", "c1", name, known, FAR_MS, 0, ",".join(map(str, ids)), *flat)

    def trouble(self, name: str = "n1", why: str = "401", *, pause_ms: int = FAR_MS) -> Told:
        """A reader tells why it could not read."""
        return self._view("looked", "d1", "c1", name, 0, FAR_MS, pause_ms, why)

    def news(self, *messages: tuple[int, str, str], fed_ms: int = 0, wants_list: int = 0) -> list[str]:
        """Events tell messages."""
        flat = [str(part) for message in messages for part in message]
        reply: list[str] = self._run("look_news", "d1", "c1", fed_ms, wants_list, *flat)
        return reply

    def field(self, name: str) -> str | None:
        """What the hash of the spot holds."""
        found: Any = self.store.client.hget(self.key("look"), name)
        return found if found is None else str(found)

    def turn_runs_out(self) -> None:
        """Nobody was heard of for a turn's time."""
        self.store.client.hset(self.key("look"), "until_ms", PAST_MS)

    def key(self, kind: str) -> str:
        return self.store.keys.of(kind, "d1", "c1")

    @contextmanager
    def hints(self) -> Iterator[Any]:
        """A listener to all that is published."""
        client: Any = self.store.client
        with client.pubsub(ignore_subscribe_messages=True) as heard:
            heard.subscribe(self.store.keys.of("looks"))
            heard.get_message(timeout=1)
            yield heard

    def kept(self) -> dict[str, str]:
        """The messages kept, by id."""
        found: Any = self.store.client.hgetall(self.key("look_messages"))
        return {message_id: str(value).split(" ", 2)[2] for message_id, value in found.items()}

    def again(self) -> Any:
        """Send the last call once more."""
        assert self.last is not None
        return self._run(self.last[0], *self.last[1])

    def state(self) -> list[Any]:
        """All that is kept, but for instants that a later call moves."""
        client: Any = self.store.client
        look = client.hgetall(self.key("look"))
        return [{n: v for n, v in look.items() if n not in ("until_ms", "fed_until_ms")}, self.kept()]

    def _run(self, script: str, *args: Any) -> Any:
        self.last = (script, args)
        return self.store.do(Call(script, args, lambda reply: reply))

    def _view(self, script: str, *args: Any) -> Told:
        verdict, view, news, prints = self._run(script, *args)
        return Told(verdict, table(view), dict(zip(news[1::2], news[::2], strict=True)), table(prints))
