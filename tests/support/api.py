"""The HTTP API for tests: the application on the real store, without a port, and callers who hold tokens."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from dispatcher.access import Access
from dispatcher.accounts import Accounts
from dispatcher.connection import Store
from dispatcher.http.app import create_app
from dispatcher.plan import carry_out
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings

CHANNEL = "1197013797467074673"
OTHER_CHANNEL = "1236110641325019228"
SERVER = "1197013797467074600"
ACCOUNTS = "/v1/pixverse/account"
NOT_FOUND = {
    "error": "Configuration not found. To create configuration use pixverse/account/<channel>.",
    "code": 404,
}


def new_key_text(key_id: str = "k1") -> str:
    """Make a ``secret_keys`` setting of one key."""
    return f"{key_id}:{b64encode(secrets.token_bytes(32)).decode()}"


def discord_token(name: str = "A") -> str:
    """Make up a Discord token of the usual length; the same for the same name."""
    return f"MTE5NzAx{name}.GxYz12.{name * 38}"[:72]


def account_body(channel: str = CHANNEL, **changes: object) -> dict[str, object]:
    """Say what registers an account on the channel; a change to None leaves the field out."""
    body = {"discord": discord_token(), "server": SERVER, "channel": channel, "maxJobs": 3, **changes}
    return {name: value for name, value in body.items() if value is not None}


@pytest.fixture
def keyed_settings(settings: Settings) -> Settings:
    """The test's settings with a key of its own."""
    return settings.model_copy(update={"secret_keys": SecretStr(new_key_text())})


@pytest.fixture
def accounts(keyed_settings: Settings) -> Accounts:
    """Accounts under the test's key."""
    assert keyed_settings.secret_keys is not None
    return Accounts(keyed_settings, SecretKeys.parse(keyed_settings.secret_keys))


@pytest.fixture
def user_token(store: Store, settings: Settings) -> str:
    """A registered token of user 1."""
    return registered_token(store, settings, user=1)


def registered_token(store: Store, settings: Settings, *, user: int) -> str:
    """Register a token for the user."""
    token = f"user:{user}-{secrets.token_urlsafe(24)}"
    carry_out(store, Access(settings).add(SecretStr(token)))
    return token


@pytest.fixture
async def app(keyed_settings: Settings, store: Store) -> AsyncIterator[FastAPI]:
    """The application, started."""
    application = create_app(keyed_settings)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def stranger(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a token."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://dispatcher.test") as client:
        yield client


@pytest.fixture
async def api(app: FastAPI, user_token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A caller with a token of user 1."""
    headers = {"Authorization": f"Bearer {user_token}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://dispatcher.test", headers=headers) as client:
        yield client


_SERVE = """
import sys
from dispatcher.http.server import serve
from dispatcher.log import configure_log
from dispatcher.settings import load_settings

configure_log(json=True)
serve(load_settings(), host=sys.argv[1], port=int(sys.argv[2]), ready=lambda url: print(url, flush=True))
"""


@contextmanager
def api_process(settings: Settings, *, host: str = "127.0.0.1") -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve the API as a process of its own on a free port while the block runs; gives its URL and the process."""
    assert settings.redis_url is not None
    assert settings.secret_keys is not None
    environment = {
        **os.environ,
        "DISPATCHER_REDIS_URL": settings.redis_url,
        "DISPATCHER_NAMESPACE": settings.namespace,
        "DISPATCHER_SECRET_KEYS": settings.secret_keys.get_secret_value(),
        "DISPATCHER_STATE_DIR": str(settings.state_dir),
    }
    command = [sys.executable, "-c", _SERVE, host, "0"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


@pytest.fixture
def live_api(keyed_settings: Settings, store: Store) -> Iterator[str]:
    """URL of the API as a process of its own."""
    with api_process(keyed_settings) as (url, _):
        yield url
