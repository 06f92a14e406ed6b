"""One connection to the gateway: heartbeats, what is sent, what is heard."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from websockets.asyncio.client import ClientConnection

from workers.upstream.discord.gateway.closes import GONE
from workers.upstream.discord.gateway.events import Hello, Payload

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID_SESSION, HELLO, HEARTBEAT_ACK = 0, 1, 2, 6, 7, 9, 10, 11

SENDS_MAX = 110
"""In 60 s; Discord closes at 120."""
_SENDS_IN_S = 60.0


class Unusable(Exception):
    """The connection is of no more use, or never was; the session may go on in another."""


class Connection:
    """Speaks payloads over one socket. Whoever made the socket closes it."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._sent_s: deque[float] = deque(maxlen=SENDS_MAX)
        self._is_acked = True

    async def hello(self) -> float:
        """Wait for Hello; returns the heartbeat interval in seconds.

        Raises:
            Unusable: something else came first.
        """
        payload = await self.next()
        try:
            if payload.op == HELLO:
                return Hello.model_validate(payload.d).heartbeat_interval / 1000
        except ValidationError:
            pass
        raise Unusable(f"it began with op {payload.op}")

    async def next(self) -> Payload:
        """Wait for the next payload; acknowledgements are taken in on the way.

        Raises:
            Unusable: what came is no payload.
            ConnectionClosed: the other side, or our own heartbeat, has closed.
        """
        while True:
            text = await self._socket.recv()
            try:
                payload = Payload.model_validate_json(text)
            except ValidationError as error:
                raise Unusable(f"a payload in an unknown shape: {error.errors()[0]['msg']}") from error
            if payload.op != HEARTBEAT_ACK:
                return payload
            self._is_acked = True

    async def send(self, op: int, data: Any) -> None:
        """Send a payload.

        Raises:
            Unusable: it would be one too many in a minute.
        """
        now_s = time.monotonic()
        if len(self._sent_s) == SENDS_MAX and now_s - self._sent_s[0] < _SENDS_IN_S:
            raise Unusable(f"more than {SENDS_MAX} payloads in a minute")
        self._sent_s.append(now_s)
        await self._socket.send(to_json({"op": op, "d": data}).decode())

    async def beat(self, sequence: int | None) -> None:
        """Send one heartbeat."""
        await self.send(HEARTBEAT, sequence)

    async def keep_beating(self, interval_s: float, sequence: Callable[[], int | None]) -> None:
        """Send a heartbeat each interval, the first after a random part of it; close where that is no use any more."""
        await asyncio.sleep(interval_s * random.random())  # noqa: S311 (to spread the fleet, not to guard anything)
        try:
            while True:
                self._check_acknowledged()
                self._is_acked = False
                await self.beat(sequence())
                await asyncio.sleep(interval_s)
        except Unusable as reason:
            await self._socket.close(GONE, str(reason))

    def _check_acknowledged(self) -> None:
        if not self._is_acked:
            raise Unusable("no acknowledgement")
