"""Files in a folder, as the storage keeps them; a bucket differs by its URL alone."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dispatcher.errors import FileAbsent, StorageUnavailable
from dispatcher.requests import Animate
from dispatcher.storage import Storage
from dispatcher.uploads import Upload
from tests.support.images import png


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ä folder" / "results"


@pytest.fixture
def storage(folder: Path) -> Storage:
    return Storage(folder.as_uri())


def upload_of(words: str = "a face") -> Upload:
    return Animate(image=png(words)).image


async def content(storage: Storage, upload: Upload) -> bytes:
    return b"".join([piece async for piece in storage.read(upload)])


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_what_is_kept_can_be_read_by_whoever_knows_its_name(storage: Storage, folder: Path) -> None:
    upload = upload_of("x" * 1_000_000)

    storage.keep(upload)

    named = Upload.model_validate(upload.model_dump())
    asyncio.run(storage.check(named))
    assert asyncio.run(content(Storage(folder.as_uri()), named)) == png("x" * 1_000_000)
    assert (folder / upload.object).is_file()
    assert folder.stat().st_mode & 0o077 == 0


async def test_what_was_never_kept_is_absent(storage: Storage) -> None:
    storage.keep(upload_of("another"))

    with pytest.raises(FileAbsent, match="is not there; see the setting storage_url"):
        await storage.check(upload_of())
    with pytest.raises(FileAbsent):
        await content(storage, upload_of())


def test_whoever_only_reads_makes_no_folder(storage: Storage, folder: Path) -> None:
    with pytest.raises(StorageUnavailable):
        asyncio.run(storage.check(upload_of()))

    assert storage.uploads_before(later()) == []
    assert not folder.exists()


def test_a_file_of_another_length_is_not_the_callers(storage: Storage, folder: Path) -> None:
    upload = upload_of()
    storage.keep(upload)
    (folder / upload.object).write_bytes(b"short")

    with pytest.raises(StorageUnavailable, match=f"has 5 bytes instead of {upload.size}"):
        asyncio.run(storage.check(upload))


def test_a_folder_that_cannot_be_made_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageUnavailable, match="its folder: NotADirectoryError"):
        Storage((tmp_path / "file" / "results").as_uri()).keep(upload_of())


def test_a_file_that_is_kept_again_is_as_young_as_a_new_one(storage: Storage, folder: Path) -> None:
    old, renewed, by_name = (upload_of(words) for words in ("old", "renewed", "by name"))
    for upload in (old, renewed, by_name):
        storage.keep(upload)
        os.utime(folder / upload.object, (1, 1))
    moment = datetime.now(UTC) - timedelta(hours=1)

    storage.keep(renewed)
    storage.keep(Upload.model_validate(by_name.model_dump()))

    assert storage.uploads_before(moment) == [old.object]
    assert not storage.remove(renewed.object, before=moment)
    assert storage.remove(old.object, before=moment)
    assert not storage.remove(old.object, before=moment)
    assert sorted(storage.uploads_before(later())) == sorted([renewed.object, by_name.object])


def test_the_url_that_is_shown_holds_no_password() -> None:
    assert Storage("s3://key:secret@bucket/folder?token=secret").shown == "s3://bucket/folder"
