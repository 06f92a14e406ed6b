"""The one door to Redis: what goes through it, and how its failures are told.

A noun (jobs, slots, accounts) describes a round trip as a :class:`Call`; a :class:`Store` or :class:`AsyncStore` does
it. So every command is written once, and the synchronous and the asyncio worlds share it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from dispatcher import scripts
from dispatcher.errors import StoreUnavailable
from dispatcher.keys import Keys

T = TypeVar("T")

MAX_CONNECTIONS = 256
"""Connections one pool may open; redis-py's own default of 100 would block a worker with thousands in flight."""
RETRY_PAUSE_MAX_S = 1.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One round trip: a script's name or a command, its arguments, and how the reply is read."""

    name: str
    args: tuple[str | int | float, ...]
    read: Callable[[Any], T]
    is_script: bool = True


def command(name: str, *args: str | float, read: Callable[[Any], T]) -> Call[T]:
    """A plain Redis command."""
    return Call(name, args, read, is_script=False)


@contextmanager
def _failures_told() -> Iterator[None]:
    """Map whatever redis-py raises to our tree, at this one place."""
    try:
        yield
    except NoScriptError:
        raise
    except RedisError as error:
        raise StoreUnavailable(f"Redis does not serve us: {error}. Is it running, and is redis_url right?") from error
    except OSError as error:
        raise StoreUnavailable(f"Redis cannot be reached: {error}. Is it running, and is redis_url right?") from error


class Store:
    """Our synchronous client: decoded replies, calls by script name."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.client = client
        self.keys = Keys(namespace)

    def do(self, call: Call[T]) -> T:
        """Make the round trip.

        Raises:
            StoreUnavailable: Redis does not answer; a script is safe to send again.
        """
        with _failures_told():
            if not call.is_script:
                return call.read(self.client.execute_command(call.name, *call.args))  # type: ignore[no-untyped-call]
            script = scripts.script(call.name)
            try:
                reply = self.client.evalsha(script.sha, 1, self.keys.namespace, *call.args)
            except NoScriptError:
                reply = self.client.eval(script.text, 1, self.keys.namespace, *call.args)
            return call.read(reply)

    def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Make all calls in one round trip, in order; each is atomic, the whole is not."""
        with _failures_told():
            for name in {call.name for call in calls if call.is_script}:
                self._load(name)
            pipeline = self.client.pipeline(transaction=False)
            for call in calls:
                if call.is_script:
                    pipeline.evalsha(scripts.script(call.name).sha, 1, self.keys.namespace, *call.args)
                else:
                    pipeline.execute_command(call.name, *call.args)  # type: ignore[no-untyped-call]
            return [call.read(reply) for call, reply in zip(calls, pipeline.execute(), strict=True)]

    def _load(self, name: str) -> None:
        script = scripts.script(name)
        if not self.client.script_exists(script.sha)[0]:
            self.client.script_load(script.text)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()


class AsyncStore:
    """The same calls for asyncio."""

    def __init__(self, client: redis.asyncio.Redis, namespace: str) -> None:
        self.client = client
        self.keys = Keys(namespace)

    async def do(self, call: Call[T]) -> T:
        """Make the round trip.

        Raises:
            StoreUnavailable: Redis does not answer; a script is safe to send again.
        """
        with _failures_told():
            if not call.is_script:
                return call.read(await self.client.execute_command(call.name, *call.args))  # type: ignore[no-untyped-call]
            script = scripts.script(call.name)
            try:
                reply = await self.client.evalsha(script.sha, 1, self.keys.namespace, *call.args)
            except NoScriptError:
                reply = await self.client.eval(script.text, 1, self.keys.namespace, *call.args)
            return call.read(reply)

    async def insist(self, call: Call[T]) -> T:
        """Make the round trip, however long the store is away: for what must not be dropped, such as an outcome."""
        pause_s = 0.1
        while True:
            try:
                return await self.do(call)
            except StoreUnavailable:
                await asyncio.sleep(pause_s)
                pause_s = min(RETRY_PAUSE_MAX_S, pause_s * 2)

    async def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Make all calls in one round trip, in order; each is atomic, the whole is not."""
        with _failures_told():
            for name in {call.name for call in calls if call.is_script}:
                await self._load(name)
            pipeline = self.client.pipeline(transaction=False)
            for call in calls:
                if call.is_script:
                    pipeline.evalsha(scripts.script(call.name).sha, 1, self.keys.namespace, *call.args)
                else:
                    pipeline.execute_command(call.name, *call.args)
            return [call.read(reply) for call, reply in zip(calls, await pipeline.execute(), strict=True)]

    async def _load(self, name: str) -> None:
        script = scripts.script(name)
        if not (await self.client.script_exists(script.sha))[0]:
            await self.client.script_load(script.text)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def open_store(redis_url: str, namespace: str) -> Store:
    """Open our synchronous client; nothing is sent yet."""
    client = redis.Redis.from_url(redis_url, decode_responses=True, max_connections=MAX_CONNECTIONS)
    return Store(client, namespace)


def open_async_store(redis_url: str, namespace: str) -> AsyncStore:
    """Open our asyncio client; nothing is sent yet."""
    client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True, max_connections=MAX_CONNECTIONS)
    return AsyncStore(client, namespace)


def check_server(store: Store) -> None:
    """Refuse a server on which our promises cannot hold, in one sentence.

    Raises:
        StoreUnavailable: it is away, older than 7.0, or may evict our keys.
    """
    with _failures_told():
        server = store.client.info("server")
        policy = store.client.info("memory").get("maxmemory_policy", "noeviction")
    if int(str(server["redis_version"]).split(".")[0]) < 7:  # noqa: PLR2004 (the major version we need)
        raise StoreUnavailable(f"Redis 7.0 or newer is needed; this server is {server['redis_version']}.")
    if policy != "noeviction":
        raise StoreUnavailable(
            f"This server may evict our keys (maxmemory-policy {policy}); set it to noeviction, or use another server."
        )


__all__ = [
    "AsyncStore",
    "Call",
    "Store",
    "check_server",
    "command",
    "open_async_store",
    "open_store",
]
