"""Discord's gateway: Hello, heartbeats, Identify, Resume, and events in between.

Source: docs/upstream.md, "The gateway".
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from simulator.accounts import user_id_of, user_json
from simulator.sessions import INVALID_SESSION, Outbox, Session, Sessions, payload

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.accounts import Accounts
    from simulator.oracle import Oracle

HEARTBEAT, IDENTIFY, RESUME, HELLO, HEARTBEAT_ACK = 1, 2, 6, 10, 11
_UNKNOWN_OPCODE, _DECODE_ERROR, _NOT_AUTHENTICATED, _BAD_TOKEN, _ALREADY = 4001, 4002, 4003, 4004, 4005
_INVALID_SEQUENCE, _TOO_MANY, _TIMED_OUT, _INVALID_VERSION = 4007, 4008, 4009, 4012

HEARTBEAT_MS = 41_250
_SENDS_MAX = 120
_SENDS_IN_S = 60.0
_PAYLOAD_MAX_BYTES = 15_360
_LATE = 1.5
"""Heartbeat intervals without a heartbeat after which a connection is closed."""
ENDS_SESSION = frozenset({1000, 1001, 4004, 4007, 4009, *range(4010, 4016)})
"""Close codes after which a session cannot be resumed."""


@dataclass(slots=True)
class GatewayTerms:
    """How the gateway behaves just now; see the controls in ``simulator/README.md``."""

    heartbeat_ms: int = HEARTBEAT_MS
    acks: bool = True
    up: bool = True
    resume_url: str | None = None
    """Where sessions that open from now on are told to resume; None: here."""

    def reset(self) -> None:
        """Behave well again."""
        self.heartbeat_ms, self.acks, self.up, self.resume_url = HEARTBEAT_MS, True, True, None


@dataclass(frozen=True, slots=True)
class Gateway:
    """``GET /gateway`` below the API, and the socket that it names; with ``strict`` for declared tokens only."""

    base_url: str
    accounts: Accounts
    oracle: Oracle
    sessions: Sessions
    terms: GatewayTerms
    strict: bool

    def routes(self) -> list[Route]:
        """Return the route below ``/api/v…``."""
        return [Route("/gateway", self.find)]

    def socket_route(self) -> WebSocketRoute:
        """Return the socket's own route."""
        return WebSocketRoute("/gateway", self.serve)

    @property
    def url(self) -> str:
        """Where the socket is."""
        return f"{self.base_url.replace('http', 'ws', 1)}/gateway"

    async def find(self, _request: Request) -> Response:
        """Say where the gateway is."""
        self.oracle.count_request("gateway")
        if not self.terms.up:
            return JSONResponse({"message": "upstream connect error", "code": 0}, status_code=503)
        return JSONResponse({"url": self.url})

    async def serve(self, socket: WebSocket) -> None:
        """Play one connection from Hello to its end."""
        if not self.terms.up:
            await socket.close()  # before it was accepted: the handshake is refused
            return
        await socket.accept()
        if socket.query_params.get("v") not in {"9", "10"} or socket.query_params.get("encoding") != "json":
            await socket.close(_INVALID_VERSION)
            return
        connection = _Connection(self, socket)
        connection.outbox.put_nowait(payload(HELLO, {"heartbeat_interval": self.terms.heartbeat_ms}))
        sending = asyncio.create_task(connection.send())
        try:
            await connection.receive()
        finally:
            sending.cancel()
            connection.leave()


@dataclass(slots=True, eq=False)
class _Connection:
    gateway: Gateway
    socket: WebSocket
    outbox: Outbox = field(default_factory=asyncio.Queue)
    session: Session | None = None
    _received_s: deque[float] = field(default_factory=lambda: deque(maxlen=_SENDS_MAX))
    _code: int = 1006

    async def send(self) -> None:
        """Send what is due, until a close."""
        while isinstance(item := await self.outbox.get(), str):
            await self.socket.send_text(item)
        self._code = item
        self.leave()
        await self.socket.close(item)

    async def receive(self) -> None:
        """Take payloads in until the connection ends; whoever sends no heartbeats in time is closed."""
        try:
            async with asyncio.timeout(None) as limit:
                self._expect_heartbeat(limit)
                while True:
                    message = await self.socket.receive_text()
                    if not self._is_acceptable(message):
                        continue
                    op, data = _read(message)
                    if op == HEARTBEAT:
                        self._expect_heartbeat(limit)
                    self._take(op, data)
        except WebSocketDisconnect as end:
            self._code = end.code
        except TimeoutError:
            self._code = _TIMED_OUT
            await self.socket.close(_TIMED_OUT)

    def leave(self) -> None:
        """Give the session back: to be resumed, or over."""
        if self.session is not None:
            self.gateway.sessions.detach(self.session, self.outbox, is_over=self._code in ENDS_SESSION)

    def _expect_heartbeat(self, limit: asyncio.Timeout) -> None:
        interval_s = self.gateway.terms.heartbeat_ms / 1000
        limit.reschedule(asyncio.get_running_loop().time() + interval_s * _LATE)

    def _is_acceptable(self, message: str) -> bool:
        now_s = time.monotonic()
        self._received_s.append(now_s)
        if len(self._received_s) == _SENDS_MAX and now_s - self._received_s[0] < _SENDS_IN_S:
            self.outbox.put_nowait(_TOO_MANY)
            return False
        if len(message) > _PAYLOAD_MAX_BYTES:
            self.outbox.put_nowait(_DECODE_ERROR)
            return False
        return True

    def _take(self, op: object, data: Any) -> None:
        match op:
            case None:
                self.outbox.put_nowait(_DECODE_ERROR)
            case 1:
                if self.gateway.terms.acks:
                    self.outbox.put_nowait(payload(HEARTBEAT_ACK, None))
            case 2 | 6 if self.session is not None:
                self.outbox.put_nowait(_ALREADY)
            case 2:
                self._identify(data)
            case 6:
                self._resume(data)
            case 3 | 4 | 8:
                if self.session is None:
                    self.outbox.put_nowait(_NOT_AUTHENTICATED)
            case _:
                self.outbox.put_nowait(_UNKNOWN_OPCODE)

    def _identify(self, data: Any) -> None:
        token = self._token(data)
        properties = data.get("properties") if isinstance(data, dict) else None
        if token is None or not isinstance(properties, dict):
            self.outbox.put_nowait(_BAD_TOKEN if token is None else _DECODE_ERROR)
            return
        user_id = user_id_of(token)
        self.session = self.gateway.sessions.identify(user_id, self.outbox)
        ready = {
            "v": int(self.socket.query_params["v"]),
            "user": {**user_json(user_id), "mfa_enabled": False, "verified": True, "email": None},
            "guilds": [],
            "session_id": self.session.id,
            "session_type": "normal",
            "resume_gateway_url": self.gateway.terms.resume_url or self.gateway.url,
        }
        self.session.dispatch("READY", ready)

    def _resume(self, data: Any) -> None:
        token = self._token(data)
        if token is None:
            self.outbox.put_nowait(_BAD_TOKEN)
            return
        session_id, sequence = data.get("session_id"), data.get("seq")
        if not isinstance(sequence, int) or sequence < 0:
            self.outbox.put_nowait(_INVALID_SEQUENCE)
            return
        self.session = self.gateway.sessions.resume(user_id_of(token), str(session_id), sequence, self.outbox)
        if self.session is None:
            self.outbox.put_nowait(payload(INVALID_SESSION, data=False))
        else:
            self.session.dispatch("RESUMED", {})

    def _token(self, data: Any) -> str | None:
        token = data.get("token") if isinstance(data, dict) else None
        if not isinstance(token, str) or not token or token != token.strip():
            return None
        return token if not self.gateway.strict or self.gateway.accounts.knows_token(token) else None


def _read(message: str) -> tuple[object, Any]:
    """Return operation and data; the operation is None where there is none to be read."""
    try:
        body = json.loads(message)
    except ValueError:
        return None, None
    return (body.get("op"), body.get("d")) if isinstance(body, dict) else (None, None)
