"""The HTTP API as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from dispatcher.access import Access
from dispatcher.accounts import Accounts
from dispatcher.connection import open_async_store
from dispatcher.errors import DispatcherError, SettingsError
from dispatcher.events import reader_of
from dispatcher.http import docs, jobs, ops, profile, submit, v1
from dispatcher.http.access_log import AccessLog
from dispatcher.http.backend import Backend, Storing, store_plainly
from dispatcher.http.document import without_defaults
from dispatcher.http.errors import answer_for
from dispatcher.http.gate import Gate
from dispatcher.jobs import Jobs
from dispatcher.learning import Learning
from dispatcher.profiles import Profiles
from dispatcher.secrets import SecretKeys, keys_for
from dispatcher.settings import Settings

ROUTERS: tuple[APIRouter, ...] = (v1.router, submit.router, jobs.router, profile.router, ops.router, docs.router)


def create_app(
    settings: Settings, *, secret_keys: SecretKeys | None = None, storing: Storing = store_plainly
) -> FastAPI:
    """Make the application; it opens its store when it starts, and starts whether or not the store answers.

    Args:
        settings: ``redis_url`` must be set.
        secret_keys: what seals the accounts' secrets; None takes them from the settings.
        storing: what happens around the storing of an account.

    Raises:
        SettingsError: no Redis URL, or no usable keys.
    """
    redis_url = settings.redis_url
    if redis_url is None:
        raise SettingsError("The HTTP API needs redis_url (DISPATCHER_REDIS_URL), or run `dispatcher up`.")
    keys = secret_keys or keys_for(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        store = open_async_store(redis_url, settings.namespace)
        app.state.backend = Backend(
            store=store,
            accounts=Accounts(settings, keys),
            access=Access(settings),
            learning=Learning(settings),
            jobs=Jobs(settings),
            profiles=Profiles(settings),
            events=reader_of(redis_url, settings.namespace),
            settings=settings,
            storing=storing,
        )
        try:
            yield
        finally:
            await store.close()

    app = _Api(
        title="pixverse-dispatcher",
        summary="PixVerse API v1, self-hosted",
        # The interactive pages load their scripts from a CDN; /docs is a page of our own.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        lifespan=lifespan,
        middleware=[Middleware(AccessLog), Middleware(Gate)],
        exception_handlers={
            HTTPException: _refused,
            DispatcherError: _told,
            RequestValidationError: _invalid,
        },
    )
    for router in ROUTERS:
        app.include_router(router)
    return app


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """Describe the routes with the statuses they declare, and no others."""
        return without_defaults(super().openapi())


async def _told(request: Request, error: Exception) -> Response:
    del request
    return answer_for(error)


async def _invalid(request: Request, error: Exception) -> Response:
    """Say no more than that: pydantic's own words would show the input."""
    del request, error
    return answer_for(HTTPException(400, "Request is not valid"))


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:  # noqa: PLR2004 (the status itself)
        # Each method is a route of its own, and the router names the methods of the first alone.
        error = HTTPException(405, error.detail, {"Allow": ", ".join(_methods_at(request))})
    return answer_for(error)


def _methods_at(request: Request) -> list[str]:
    routes = (route for router in ROUTERS for route in router.routes if isinstance(route, Route))
    fitting = (route for route in routes if route.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for route in fitting for method in route.methods or ()})
