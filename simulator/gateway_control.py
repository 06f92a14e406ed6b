"""``/sim/gateway``: close connections, end sessions, lose events, be away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.accounts import user_id_of
from simulator.control import ControlError, fields
from simulator.sessions import HOWS, INVALID_SESSION, RECONNECT, Mischief, payload

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.gateway import GatewayTerms
    from simulator.sessions import Sessions

_CODES = range(1000, 5000)
_AWAY = 1012


@dataclass(frozen=True, slots=True)
class GatewayControl:
    """The controls; ``token`` in a body names whose sessions are meant, null or absent: all."""

    sessions: Sessions
    terms: GatewayTerms

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/close", self.close, methods=["POST"]),
            Route("/reconnect", self.reconnect, methods=["POST"]),
            Route("/invalidate", self.invalidate, methods=["POST"]),
            Route("/events", self.disturb, methods=["POST"]),
            Route("/terms", self.agree, methods=["POST"]),
        ]

    async def close(self, request: Request) -> Response:
        """Close connections with a code."""
        body = await fields(request, "code", "token")
        code: Any = body.get("code")
        if not _is_whole(code) or code not in _CODES:
            raise ControlError(f"code must be a close code from 1000 to 4999, not {code!r}")
        return JSONResponse({"closed": self.sessions.send(code, _user(body))})

    async def reconnect(self, request: Request) -> Response:
        """Ask clients to reconnect and resume (op 7)."""
        body = await fields(request, "token")
        return JSONResponse({"told": self.sessions.send(payload(RECONNECT, None), _user(body))})

    async def invalidate(self, request: Request) -> Response:
        """Tell clients that their session is invalid (op 9), and whether it may be resumed all the same."""
        body = await fields(request, "resumable", "token")
        resumable = _switch(body, "resumable", default=False)
        return JSONResponse({"told": self.sessions.send(payload(INVALID_SESSION, resumable), _user(body))})

    async def disturb(self, request: Request) -> Response:
        """Drop, duplicate or reorder the next ``count`` events."""
        body = await fields(request, "how", "count", "event", "token")
        how, count, event = body.get("how"), body.get("count", 1), body.get("event")
        if how not in HOWS:
            raise ControlError(f"how must be one of {', '.join(HOWS)}, not {how!r}")
        if not _is_whole(count) or count < 1:
            raise ControlError(f"count must be a whole number of at least 1, not {count!r}")
        if event is not None and not isinstance(event, str):
            raise ControlError(f"event must be an event's name, or null, not {event!r}")
        self.sessions.disturb(Mischief(how, count, event, _user(body)))
        return Response(status_code=204)

    async def agree(self, request: Request) -> Response:
        """Set how the gateway behaves from now on; what is not named stays as it is."""
        body = await fields(request, "heartbeat_ms", "acks", "up", "resume_url")
        heartbeat_ms = body.get("heartbeat_ms", self.terms.heartbeat_ms)
        if not _is_whole(heartbeat_ms) or heartbeat_ms < 1:
            raise ControlError(f"heartbeat_ms must be a whole number of at least 1, not {heartbeat_ms!r}")
        resume_url = body.get("resume_url", self.terms.resume_url)
        if resume_url is not None and not isinstance(resume_url, str):
            raise ControlError(f"resume_url must be an address, or null, not {resume_url!r}")
        self.terms.heartbeat_ms, self.terms.resume_url = heartbeat_ms, resume_url
        self.terms.acks = _switch(body, "acks", default=self.terms.acks)
        self.terms.up = _switch(body, "up", default=self.terms.up)
        if not self.terms.up:
            self.sessions.send(_AWAY, None)
        return Response(status_code=204)


def _user(body: dict[str, Any]) -> str | None:
    token = body.get("token")
    if token is not None and (not isinstance(token, str) or not token):
        raise ControlError(f"token must be a string that is not empty, or null, not {token!r}")
    return None if token is None else user_id_of(token)


def _switch(body: dict[str, Any], name: str, *, default: bool) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise ControlError(f"{name} must be true or false, not {value!r}")
    return value


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
