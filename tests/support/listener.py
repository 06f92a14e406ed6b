"""A plain gateway client for tests of the simulator: it sends what it is told to and keeps what it hears."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_S = 10.0


class Listener:
    """One connection; ``heard`` holds every payload that `until` has passed."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send(json.dumps({"op": op, "d": data}))

    async def identify(self, token: str) -> dict[str, Any]:
        """Identify and return READY's data."""
        await self.send(2, {"token": token, "properties": {"os": "a test"}})
        return await self.event("READY")

    async def resume(self, token: str, session_id: str, sequence: int) -> None:
        await self.send(6, {"token": token, "session_id": session_id, "seq": sequence})

    async def until(self, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                payload: dict[str, Any] = json.loads(await self.socket.recv())
                self.heard.append(payload)
                if is_it(payload):
                    return payload

    async def op(self, op: int) -> dict[str, Any]:
        return await self.until(lambda payload: payload["op"] == op)

    async def event(self, name: str) -> dict[str, Any]:
        data: dict[str, Any] = (await self.until(lambda payload: payload["t"] == name))["d"]
        return data

    async def close_code(self) -> int:
        """Wait until the other side closes; what comes before is kept."""
        try:
            await self.until(lambda _: False)
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd else 1006
        raise AssertionError("unreachable")

    def names(self) -> list[str]:
        return [payload["t"] for payload in self.heard if payload["t"]]


@asynccontextmanager
async def listening(url: str, query: str = "v=9&encoding=json") -> AsyncIterator[Listener]:
    """Connect to the simulator's gateway; Hello is heard."""
    async with connect(f"{url.replace('http', 'ws', 1)}/gateway?{query}", proxy=None) as socket:
        listener = Listener(socket)
        yield listener
