"""One token's session: connect, resume, identify, for as long as it is wanted and Discord lets us.

It is honest: it says who we are, imitates no client, and asks for nothing but the events that a session gets anyway.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Never

from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from dispatcher.errors import AccountRejected, CallHeld, RateLimited, StoreUnavailable, UpstreamBlocked, UpstreamError
from dispatcher.log import get_logger
from workers.upstream.discord.gateway.closes import DONE, GONE, error_of, meaning_of
from workers.upstream.discord.gateway.connection import (
    DISPATCH,
    HEARTBEAT,
    IDENTIFY,
    INVALID_SESSION,
    RECONNECT,
    RESUME,
    Connection,
    Unusable,
)
from workers.upstream.discord.gateway.events import Event, Payload, Ready, SessionDown, SessionUp, event_of
from workers.upstream.wire import USER_AGENT

log = get_logger(__name__)

NAME_SAID = "pixverse-dispatcher"
_OPENING_S = 10.0
_CLOSING_S = 2.0
_MESSAGE_MAX_BYTES = 16 * 2**20
_BLOCKED_PAUSE_S = 60.0
"""After a refusal of our address that names no time: each further one counts as an invalid request."""
_RESUMES_MAX = 3
"""After so many failures in a row where a session is to be resumed, it is resumed where new ones are opened."""
_LASTED_S = 30.0
"""A session that was up for so long was no failure: the next pause is the first one again."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long to wait before a connection: after trouble, doubling, and before Identify after op 9. In seconds."""

    first_s: float = 1.0
    max_s: float = 60.0
    invalid_s: tuple[float, float] = (1.0, 5.0)

    def after(self, troubles: int) -> float:
        """Draw the pause after so many failures in a row: whole fleets are cut at once, and must not return at once."""
        return random.uniform(0.5, 1) * min(self.max_s, self.first_s * 2.0 ** min(troubles, 10))  # noqa: S311 (as said)


class Session:
    """Keeps one session up.

    Args:
        token: the user's.
        find: says where the gateway is; asked before each Identify, and where the address to resume at fails.
        check: turns an address that the server named into the one to connect to, or refuses it.
        take: called with every event, in the order of their arrival; must not block.
        pauses: between connections.
    """

    def __init__(
        self,
        token: str,
        *,
        find: Callable[[], Awaitable[str]],
        check: Callable[[str], str],
        take: Callable[[Event], None],
        pauses: Pauses | None = None,
    ) -> None:
        self._token = token
        self._find = find
        self._check = check
        self._take = take
        self._pauses = pauses or Pauses()
        self._ready: Ready | None = None
        self._sequence: int | None = None
        self._troubles = 0
        self._resumes_failed = 0
        self._up_since_s: float | None = None
        self._asked_s = 0.0

    async def run(self) -> Never:
        """Keep the session up until cancelled; it is then ended for good.

        Raises:
            AccountRejected: the token is refused (4004, or 401 where the gateway is asked for).
            UpstreamBlocked: Discord wants no session of this account (4010 to 4015); the message says why.
        """
        while True:
            reason = await self._try_once()
            if self._up_since_s is not None:
                lasted_s = time.monotonic() - self._up_since_s
                self._troubles = 0 if lasted_s > _LASTED_S else self._troubles
                self._up_since_s = None
                self._take(SessionDown(reason))
            elif self._ready is not None:
                self._resumes_failed += 1
            pause_s = max(self._pauses.after(self._troubles), self._asked_s)
            self._troubles, self._asked_s = self._troubles + 1, 0.0
            log.info(
                "gateway session is down", reason=reason, pause_s=round(pause_s, 1), resumes=self._ready is not None
            )
            await asyncio.sleep(pause_s)

    async def _try_once(self) -> str:
        """Connect and listen until that ends; returns why it did."""
        try:
            await self._connect()
        except ConnectionClosed as end:
            close = meaning_of(end.rcvd.code if end.rcvd else None)
            if close.then in {"reject", "stop"}:
                raise error_of(close) from end
            if close.then == "identify":
                self._forget()
            return f"closed with {close.code}"
        except AccountRejected:
            raise
        except (Unusable, UpstreamError, StoreUnavailable, OSError, TimeoutError, WebSocketException) as error:
            self._asked_s = _asked_s(error)
            return f"{type(error).__name__} {error}".strip()
        return "a reconnection was asked for"

    async def _connect(self) -> None:
        ready = self._ready if self._resumes_failed < _RESUMES_MAX else None
        url = self._check(ready.resume_gateway_url if ready else await self._find())
        opened = connect(
            url,
            user_agent_header=USER_AGENT,
            compression=None,
            open_timeout=_OPENING_S,
            close_timeout=_CLOSING_S,
            ping_interval=None,  # the gateway's own heartbeats tell more
            max_size=_MESSAGE_MAX_BYTES,
        )
        socket = await opened
        code = DONE
        try:
            await self._speak(Connection(socket))
            code = GONE
        except (Unusable, ConnectionClosed):
            code = GONE
            raise
        finally:
            await socket.close(code)

    async def _speak(self, connection: Connection) -> None:
        """Open or resume the session, and listen; returns where Discord wants another connection."""
        async with asyncio.timeout(_OPENING_S):
            interval_s = await connection.hello()
        beating = asyncio.create_task(connection.keep_beating(interval_s, lambda: self._sequence))
        try:
            await self._greet(connection)
            while True:
                payload = await connection.next()
                match payload.op:
                    case op if op == DISPATCH:
                        self._dispatched(payload)
                    case op if op == HEARTBEAT:
                        await connection.beat(self._sequence)
                    case op if op == RECONNECT:
                        return
                    case op if op == INVALID_SESSION:
                        await self._invalidated(is_resumable=payload.d is True)
                        return
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)  # a socket that closed under it told us already

    async def _greet(self, connection: Connection) -> None:
        if self._ready is None:
            properties = {"os": sys.platform, "browser": NAME_SAID, "device": NAME_SAID}
            await connection.send(IDENTIFY, {"token": self._token, "properties": properties})
        else:
            resumed = {"token": self._token, "session_id": self._ready.session_id, "seq": self._sequence}
            await connection.send(RESUME, resumed)

    async def _invalidated(self, *, is_resumable: bool) -> None:
        if not is_resumable:
            self._forget()
        await asyncio.sleep(random.uniform(*self._pauses.invalid_s))  # noqa: S311 (as the page on the gateway asks)

    def _dispatched(self, payload: Payload) -> None:
        self._sequence = payload.s if payload.s is not None else self._sequence
        if payload.t in {"READY", "RESUMED"}:
            self._opened(payload)
        elif (event := event_of(payload.t, payload.d)) is not None:
            self._take(event)

    def _opened(self, payload: Payload) -> None:
        is_resumed = payload.t == "RESUMED"
        if not is_resumed:
            try:
                self._ready = Ready.model_validate(payload.d)
            except ValidationError as error:
                raise Unusable(f"READY in an unknown shape: {error.errors()[0]['msg']}") from error
        if self._ready is None:
            raise Unusable("a session was resumed that we do not know")
        self._up_since_s = time.monotonic()
        self._resumes_failed = 0
        log.info("gateway session is up", is_resumed=is_resumed)
        self._take(SessionUp(self._ready.session_id, is_resumed))

    def _forget(self) -> None:
        self._ready, self._sequence = None, None


def _asked_s(error: Exception) -> float:
    """How long to wait before ``GET /gateway`` is asked again, in seconds, as it was answered."""
    match error:
        case RateLimited():
            return error.retry_after_s
        case CallHeld():
            return error.wait_s
        case UpstreamBlocked():
            return error.retry_after_s or _BLOCKED_PAUSE_S
        case _:
            return 0.0
