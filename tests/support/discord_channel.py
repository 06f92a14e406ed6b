"""A channel as Discord lists it, answered in memory, and workers that watch it."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any

import httpx

from dispatcher.connection import AsyncStore
from tests.support.memory import unhurried
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.feed import Feed, Spot, View
from workers.upstream.discord.observers import Observers
from workers.upstream.discord.rest import Rest
from workers.upstream.discord.rhythm import Bounds
from workers.upstream.discord.watch import Watch
from workers.upstream.wire import Wire

QUICK = Bounds(0.01, 0.02)


class Channel:
    """A channel, and the first worker that watches it; ``troubles`` are answered first, one a request."""

    def __init__(self, store: AsyncStore, bounds: Bounds = QUICK) -> None:
        self.listed: list[dict[str, Any]] = []
        self.troubles: list[httpx.Response] = []
        self.is_hidden = False
        self.last_message_id: str | None = None
        self.requests: list[httpx.URL] = []
        self._store = store
        self._bounds = bounds
        self.workers: list[Worker] = []
        self.observers = self.worker().observers

    def worker(self) -> Worker:
        """Another worker of the fleet."""
        self.workers.append(Worker(self, self._store, self._bounds))
        return self.workers[-1]

    def watch(self, since_id: int = 0, *, is_unanswered: bool = False) -> Watch:
        return self.workers[0].watch(since_id, is_unanswered=is_unanswered)

    async def close(self) -> None:
        for worker in self.workers:
            await worker.close()

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request.url)
        if self.troubles:
            return self.troubles.pop(0)
        if request.url.path.endswith("/messages"):
            return httpx.Response(200, text=json.dumps(self.page(request.url.params)))
        return httpx.Response(200, json={"id": "5", "last_message_id": self.last_message_id})

    def page(self, query: httpx.QueryParams) -> list[dict[str, Any]]:
        ordered = sorted(self.listed, key=lambda raw: int(raw["id"]))
        limit = int(query["limit"])
        if self.is_hidden:
            return []
        if "after" in query:
            return [raw for raw in ordered if int(raw["id"]) > int(query["after"])][:limit][::-1]
        return ordered[-limit:][::-1]


class Worker:
    """One worker's observers. Frozen, as by SIGSTOP, an answer does not reach it, and it speaks to nobody."""

    def __init__(self, channel: Channel, store: AsyncStore, bounds: Bounds) -> None:
        self._channel = channel
        self.requests = 0
        self.frozen_at: list[httpx.Response] = []
        self._runs = asyncio.Event()
        self._runs.set()
        self._http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        rest = Rest("http://discord/api/v9", Wire("discord", self._http), UpstreamClock(), unhurried())
        self.observers = Observers(rest, store, bounds)
        self._freezes = False
        self.observers.feed = _Mouth(store, self._runs)

    def freeze(self) -> None:
        """Freeze in the middle of the next reading."""
        self._freezes = True

    def thaw(self) -> None:
        self._runs.set()

    def watch(self, since_id: int = 0, *, token: str = "a-token", is_unanswered: bool = False) -> Watch:
        now_s = asyncio.get_running_loop().time()
        channel = self.observers.of(token, "5")
        return Watch(channel, since_id=since_id, sent_s=now_s, is_unanswered=is_unanswered, prompt="a cat")

    async def close(self) -> None:
        self.thaw()
        await self.observers.close()
        await self._http.aclose()

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = self._channel.answer(request)
        self.requests += 1
        if self._freezes:
            self._freezes = False
            self._runs.clear()
            self.frozen_at.append(answer)
        await self._runs.wait()
        return answer


class _Mouth(Feed):
    """A worker's feed, through which it asks nothing while it is frozen."""

    def __init__(self, store: AsyncStore, runs: asyncio.Event) -> None:
        super().__init__(store, worker=secrets.token_hex(8), life_s=30)
        self._runs = runs

    async def ask(self, spot: Spot, **asked: Any) -> View:
        await self._runs.wait()
        return await super().ask(spot, **asked)
