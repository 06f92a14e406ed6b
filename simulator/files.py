"""The origins beside the API: where uploads are PUT and where results are downloaded, neither with a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from simulator.cdn import UPLOAD_MAX_BYTES

if TYPE_CHECKING:
    from starlette.requests import Request

    from simulator.cdn import Cdn
    from simulator.oracle import Oracle


@dataclass(frozen=True, slots=True)
class Files:
    """The endpoints ``/uploads``, ``/cdn`` and ``/media``."""

    cdn: Cdn
    oracle: Oracle

    def routes(self) -> list[Route]:
        """Return the routes."""
        name = "attachments/{channel}/{attachment:int}/{filename}"
        return [
            Route("/uploads/{folder}/{filename}", self.upload, methods=["PUT"]),
            Route(f"/cdn/{name}", self.download),
            Route(f"/media/{name}", self.download),
        ]

    async def upload(self, request: Request) -> Response:
        """Take the bytes of an opened upload; as signed storage links do, refuse whoever shows a token."""
        self.oracle.count_request("uploads")
        if "authorization" in request.headers:
            return PlainTextResponse("Authorization is in the link: show no token here", status_code=400)
        content = await request.body()
        if not 0 < len(content) <= UPLOAD_MAX_BYTES:
            return PlainTextResponse("EntityTooLarge" if content else "EntityTooSmall", status_code=400)
        name = f"{request.path_params['folder']}/{request.path_params['filename']}"
        return Response(status_code=200 if self.cdn.store_upload(name, content) else 404)

    async def download(self, request: Request) -> Response:
        """Serve a result through a link that is signed and has not expired; 404 as Discord answers otherwise."""
        self.oracle.count_request("cdn")
        path = "/" + request.url.path.lstrip("/").partition("/")[2]
        content = self.cdn.content_of(request.path_params["attachment"], request.path_params["filename"])
        if content is None or not self.cdn.links.is_valid(path, dict(request.query_params)):
            return PlainTextResponse("This content is no longer available.", status_code=404)
        return Response(content, media_type="video/mp4")
