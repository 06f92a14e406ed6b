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
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import DataError, NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from dispatcher import scripts
from dispatcher.errors import StoreReplyError, StoreUnavailable
from dispatcher.keys import Keys

T = TypeVar("T")

MAX_CONNECTIONS = 64
"""Connections one client may open; more calls at once wait for one of them, up to ``CONNECTION_WAIT_S``."""
CONNECTION_WAIT_S = 20.0
ANSWER_S = 5.0
"""How long one answer is waited for; a half-open connection must not hold a coroutine for ever."""
RETRIES = 10
"""Times a call is repeated whose reply was lost, within about 5 s in all: every script is safe to run twice."""
RETRY_FIRST_S = 0.05
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


WRONG_ARGUMENTS = ("wrong number of arguments", "value is not", "min or max is not", "syntax error")
"""How Redis begins, after ERR, where a command was called wrongly: our defect, which no waiting mends."""
PASSING = ("BUSY", "CLUSTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN", "UNKILLABLE")
"""How Redis begins where it answers, and cannot serve now; others of its plain errors no waiting mends."""


CLOSED_UNDER_UVLOOP = "unable to perform operation on"
"""How uvloop begins, in a bare RuntimeError, where a connection was closed as something was sent on it."""


@contextmanager
def failures_told(name: str) -> Iterator[None]:
    """Map whatever redis-py raises to our tree, at this one place; what is our own defect stays as it is."""
    try:
        yield
    except (NoScriptError, DataError):
        raise
    except RedisError as error:
        if type(error) is ResponseError and not str(error).startswith(PASSING):
            if str(error).removeprefix("ERR ").startswith(WRONG_ARGUMENTS):
                raise
            raise StoreReplyError(name, str(error)) from error
        raise StoreUnavailable(f"Redis does not serve us: {_reason(error)}") from error
    except OSError as error:
        raise StoreUnavailable(f"Redis cannot be reached: {_reason(error)}") from error
    except RuntimeError as error:
        if not str(error).startswith(CLOSED_UNDER_UVLOOP):
            raise
        raise StoreUnavailable(f"Redis closed the connection: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    return f"{str(error).rstrip('.')}. Is it running, and is redis_url right?"


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
        with failures_told(call.name):
            if not call.is_script:
                return call.read(self.client.execute_command(call.name, *call.args))  # type: ignore[no-untyped-call]
            script = scripts.script(call.name)
            try:
                reply = self.client.evalsha(script.sha, 1, self.keys.namespace, *call.args)
            except NoScriptError:
                reply = self.client.eval(script.text, 1, self.keys.namespace, *call.args)
            return call.read(reply)

    def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Make all calls in one round trip, in order; each is atomic, the whole is not.

        Raises:
            StoreUnavailable: as ``do``; those before it may have been made.
        """
        with failures_told("pipeline"):
            pipeline = _filled(self.client.pipeline(transaction=False), calls, self.keys.namespace)
            replies = pipeline.execute(raise_on_error=False)
        return [
            self.do(call) if isinstance(reply, NoScriptError) else _read(call, reply)
            for call, reply in zip(calls, replies, strict=True)
        ]

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
        with failures_told(call.name):
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
        pause_s = 0.0
        while True:
            try:
                result = await self.do(call)
            except StoreUnavailable as error:
                if not pause_s:
                    _log().warning("store is away", call=call.name, reason=str(error))
                pause_s = min(RETRY_PAUSE_MAX_S, pause_s * 2 or RETRY_FIRST_S)
                await asyncio.sleep(pause_s)
            else:
                if pause_s:
                    _log().info("store is back", call=call.name)
                return result

    async def do_many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Make all calls in one round trip, in order; each is atomic, the whole is not. Raises as ``do``."""
        with failures_told("pipeline"):
            pipeline = _filled(self.client.pipeline(transaction=False), calls, self.keys.namespace)
            replies = await pipeline.execute(raise_on_error=False)
        return [
            await self.do(call) if isinstance(reply, NoScriptError) else _read(call, reply)
            for call, reply in zip(calls, replies, strict=True)
        ]

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def _read(call: Call[T], reply: Any) -> T:
    """Read one reply of a pipeline, which brings errors as values."""
    with failures_told(call.name):
        if isinstance(reply, Exception):
            raise reply
        return call.read(reply)


def _filled(pipeline: Any, calls: Sequence[Call[Any]], namespace: str) -> Any:
    """Put the calls into a pipeline, of either kind."""
    for call in calls:
        if call.is_script:
            pipeline.evalsha(scripts.script(call.name).sha, 1, namespace, *call.args)
        else:
            pipeline.execute_command(call.name, *call.args)
    return pipeline


def _log() -> Any:
    """Our log, loaded when it is needed: an application that only enqueues does not pay for it."""
    from dispatcher.log import get_logger  # noqa: PLC0415 (as said)

    return get_logger(__name__)


_POOL: dict[str, Any] = {
    "decode_responses": True,
    "max_connections": MAX_CONNECTIONS,
    "timeout": CONNECTION_WAIT_S,
    "socket_timeout": ANSWER_S,
}


def _backoff() -> ExponentialWithJitterBackoff:
    return ExponentialWithJitterBackoff(base=RETRY_FIRST_S, cap=RETRY_PAUSE_MAX_S)


def open_store(redis_url: str, namespace: str) -> Store:
    """Open our synchronous client; nothing is sent yet."""
    pool = redis.BlockingConnectionPool.from_url(
        redis_url,
        **_POOL,
        retry=Retry(_backoff(), RETRIES),
    )
    return Store(redis.Redis.from_pool(pool), namespace)


def open_async_store(redis_url: str, namespace: str) -> AsyncStore:
    """Open our asyncio client; nothing is sent yet."""
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        redis_url,
        **_POOL,
        retry=AsyncRetry(_backoff(), RETRIES),
    )
    return AsyncStore(redis.asyncio.Redis.from_pool(pool), namespace)


def check_server(store: Store) -> None:
    """Refuse a server on which our promises cannot hold, in one sentence.

    Raises:
        StoreUnavailable: it is away, older than 7.0, or may evict our keys.
    """
    with failures_told("info"):
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
    "failures_told",
    "open_async_store",
    "open_store",
]
