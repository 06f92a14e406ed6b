"""The one door to the storage: files by name, in a folder or a bucket, as the setting ``storage_url`` says.

``file://`` is a folder; ``s3://``, ``gs://`` and ``az://`` are buckets, whose credentials come from the environment
variables that their own tools read.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from obstore.exceptions import BaseError, NotFoundError
from obstore.store import ObjectStore, from_url

from dispatcher.errors import FileAbsent, StorageUnavailable
from dispatcher.uploads import UPLOADS, Upload

_CHUNK_BYTES = 256 * 1024
_FAILURES = (BaseError, OSError, ValueError)  # what obstore raises: its own, and Python's where one fits


class Storage:
    """Files by name. Nothing is opened before it is needed.

    Args:
        url: of the folder, which is made when something is put there, or of the bucket.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: ObjectStore | None = None

    def keep(self, upload: Upload) -> None:
        """Store an upload, or store it again, so that its age begins anew.

        Raises:
            StorageUnavailable: it cannot be written; or it brings no content, and none is there.
        """
        if upload.content is not None:
            self._make_folder()
        store = self._opened()
        with self._told(upload.object):
            content = upload.content
            store.put(upload.object, store.get(upload.object).bytes() if content is None else content)

    def keep_file(self, upload: Upload, file: BinaryIO) -> None:
        """Store an upload whose content is in a file, piece by piece.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        self._make_folder()
        store = self._opened()
        with self._told(upload.object):
            store.put(upload.object, file)

    async def check(self, upload: Upload) -> None:
        """Return if the upload is there, whole.

        Raises:
            StorageUnavailable: it is not.
        """
        store = self._opened()
        with self._told(upload.object):
            found = await store.head_async(upload.object)
        if found["size"] != upload.size:
            raise StorageUnavailable(self.shown, f"{upload.object} has {found['size']} bytes instead of {upload.size}")

    async def read(self, upload: Upload) -> AsyncIterator[bytes]:
        """Yield an upload's content piece by piece.

        Raises:
            StorageUnavailable: it is not there, or cannot be read.
        """
        store = self._opened()
        with self._told(upload.object):
            found = await store.get_async(upload.object)
            async for piece in found.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(piece)

    def uploads_before(self, instant: datetime) -> list[str]:
        """Return the names of the uploads that were last stored before an instant.

        Raises:
            StorageUnavailable: they cannot be listed.
        """
        try:
            store = self._opened()
        except FileAbsent:
            return []
        with self._told(UPLOADS):
            pages = store.list(UPLOADS)
            return [str(found["path"]) for page in pages for found in page if found["last_modified"] < instant]

    def remove(self, name: str, *, before: datetime) -> bool:
        """Remove a file unless it was stored again since that instant, or has gone; returns whether it did.

        Raises:
            StorageUnavailable: it cannot be removed.
        """
        store = self._opened()
        try:
            with self._told(name):
                if store.head(name)["last_modified"] >= before:
                    return False
                store.delete(name)
        except FileAbsent:
            return False
        return True

    @property
    def shown(self) -> str:
        """The URL, without what may be a secret of it."""
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    def _opened(self) -> ObjectStore:
        """Open what is there: who only reads makes no folder."""
        if self._store is None:
            folder = self._folder()
            if folder and not folder.is_dir():
                raise FileAbsent(self.shown, "nothing was ever put there")
            with self._told("it"):
                self._store = from_url(self._url)
        return self._store

    def _make_folder(self) -> None:
        """Make the folder for its user alone: what callers give may be private."""
        folder = self._folder()
        if folder:
            with self._told("its folder"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _folder(self) -> Path | None:
        parts = urlsplit(self._url)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotFoundError):
            raise FileAbsent(self.shown, f"{name} is not there") from None
        except _FAILURES as error:
            first_line = str(error).partition("\n")[0]
            raise StorageUnavailable(self.shown, f"{name}: {type(error).__name__}: {first_line:.200}") from error
