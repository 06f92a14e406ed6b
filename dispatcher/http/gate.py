"""Before any route: who calls. Under ``/v1`` and ``/v2`` a stranger is answered 401, whether or not the path exists.

Source: interfaces, "HTTP"; contract §1.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from dispatcher.errors import DispatcherError
from dispatcher.http.backend import backend_of
from dispatcher.http.errors import answer_for

GUARDED = ("/v1", "/v2")


class Gate:
    """Authenticates calls under ``GUARDED`` and takes the slash off the end of a path.

    Both forms of a path answer alike and neither redirects, because clients drop headers on the way.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"]
        bare = path[:-1] if path.endswith("/") and path != "/" else path
        scope["path"] = bare
        if any(bare == root or bare.startswith(f"{root}/") for root in GUARDED):
            request = Request(scope)
            backend = backend_of(request)
            try:
                header = request.headers.get("authorization")
                request.state.user = await backend.do(backend.access.authenticate(header))
            except DispatcherError as error:
                await answer_for(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)
