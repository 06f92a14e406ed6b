"""One line in the log for each request, and an answer even where the program fails.

Logged are the route's pattern, not the path, and neither query nor headers: a client may have put a token anywhere.
"""

from __future__ import annotations

import time

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dispatcher.http.errors import answer_for
from dispatcher.log import get_logger

log = get_logger(__name__)


class AccessLog:
    """The outermost layer: nothing that is raised passes it unanswered."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.monotonic()
        status: int | None = None

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, noting)
        except ClientDisconnect:
            log.info("client left", method=scope["method"])
            return
        except Exception as error:
            log.exception("request failed", method=scope["method"])
            if status is not None:
                raise
            await answer_for(error)(scope, receive, noting)
        duration_ms = round((time.monotonic() - started) * 1000, 1)
        log.info("request", method=scope["method"], route=_pattern(scope), status=status, duration_ms=duration_ms)


def _pattern(scope: Scope) -> str | None:
    """Return the path as it is declared, such as ``/v1/pixverse/account/{channel}``; None if no route took it."""
    return getattr(scope.get("route"), "path", None)
