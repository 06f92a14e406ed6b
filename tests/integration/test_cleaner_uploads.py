"""Old uploads: removed once no job can need them, kept as long as one may."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dispatcher.cleaner import Cleaner
from dispatcher.client import Client
from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import StorageUnavailable
from dispatcher.models import Job
from dispatcher.requests import Animate
from dispatcher.settings import Settings
from dispatcher.storage import Storage
from tests.support.images import png

LONG_AGO_S = 1_000_000_000


@pytest.fixture(autouse=True)
def _registries_are_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """RQ's prefix is read once a process, and other tests have other namespaces."""
    monkeypatch.setattr("dispatcher.cleaner._clean_registries", lambda *_: None)


def enqueue(settings: Settings, *words: str) -> list[Job]:
    with Client(settings.redis_url, namespace=settings.namespace, state_dir=settings.state_dir) as client:
        return client.enqueue_many([Animate(image=png(word)) for word in words])


def path_of(settings: Settings, job: Job) -> Path:
    return settings.state_dir / "results" / str(job.request["image"]["object"])


def age(settings: Settings, *jobs: Job) -> None:
    for job in jobs:
        os.utime(path_of(settings, job), (LONG_AGO_S, LONG_AGO_S))


async def clean(settings: Settings, async_store: AsyncStore) -> None:
    await Cleaner(async_store, settings).step()


@pytest.mark.parametrize("status", ["created", "started", "progress"])
async def test_an_old_upload_stays_while_a_job_that_has_not_ended_needs_it(
    settings: Settings, store: Store, async_store: AsyncStore, status: str
) -> None:
    needed, ended, young = enqueue(settings, "needed", "ended", "young")
    store.client.zrem(store.keys.of("jobs", "1", "created"), needed.id, ended.id)
    store.client.zadd(store.keys.of("jobs", "1", status), {needed.id: 1})
    age(settings, needed, ended)

    with capture_logs() as logs:
        await clean(settings, async_store)

    assert [path_of(settings, job).exists() for job in (needed, ended, young)] == [True, False, True]
    assert [line["uploads"] for line in logs if line["event"] == "old uploads removed"] == [1]


async def test_an_upload_that_is_given_again_is_young_again(
    settings: Settings, store: Store, async_store: AsyncStore
) -> None:
    (first,) = enqueue(settings, "a face")
    store.client.zrem(store.keys.of("jobs", "1", "created"), first.id)
    age(settings, first)
    (second,) = enqueue(settings, "a face")
    store.client.zrem(store.keys.of("jobs", "1", "created"), second.id)

    await clean(settings, async_store)

    assert path_of(settings, second).exists()


async def test_the_storage_is_read_once_an_hour(
    settings: Settings, store: Store, async_store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, older = enqueue(settings, "old", "older")
    store.client.zrem(store.keys.of("jobs", "1", "created"), old.id, older.id)
    cleaning = Cleaner(async_store, settings)
    await cleaning.step()
    age(settings, old, older)

    await cleaning.step()
    assert path_of(settings, old).exists()
    monkeypatch.setattr(cleaning, "_uploads_due_s", 0.0)
    await cleaning.step()

    assert not path_of(settings, old).exists()
    assert not path_of(settings, older).exists()


async def test_a_storage_that_cannot_be_read_is_told_and_stops_nothing_else(
    settings: Settings, store: Store, async_store: AsyncStore, tmp_path: Path
) -> None:
    cleaning = Cleaner(async_store, settings)
    enqueue(settings, "keeps the user listed")

    class Broken(Storage):
        def uploads_before(self, instant: object) -> list[str]:
            raise StorageUnavailable(self.shown, f"nothing answers before {instant}")

    cleaning._storage = Broken((tmp_path / "none").as_uri())
    with capture_logs() as logs:
        await cleaning.step()

    assert [line["log_level"] for line in logs if line["event"] == "uploads not cleaned"] == ["warning"]


async def test_where_no_file_was_ever_given_nothing_is_made_and_nothing_told(
    settings: Settings, store: Store, async_store: AsyncStore
) -> None:
    with capture_logs() as logs:
        await clean(settings, async_store)

    assert not (settings.state_dir / "results").exists()
    assert [line for line in logs if "uploads" in line["event"]] == []
