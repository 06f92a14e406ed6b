"""A caller's file on its way to an upstream: known by its content, kept in the storage, never in Redis."""

from __future__ import annotations

import hashlib
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo

from dispatcher.errors import RequestInvalid
from dispatcher.settings import READ_MAX_BYTES

UPLOADS = "uploads"
"""Where in the storage they are."""

_SIGNATURES: tuple[tuple[bytes, Literal["image/png", "image/jpeg"], str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", "png"),
    (b"\xff\xd8\xff", "image/jpeg", "jpg"),
)


class Upload(BaseModel):
    """One file: ``size`` in bytes, ``type`` by its first bytes, ``object`` its name in the storage.

    ``content`` is there while the file is on its way into the storage, and is part of no record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Annotated[int, Field(ge=1)]
    type: Literal["image/png", "image/jpeg"]
    object: Annotated[str, Field(pattern=rf"^{UPLOADS}/[0-9a-f]{{64}}\.(png|jpg)$")]
    content: bytes | None = Field(default=None, exclude=True, repr=False)

    @property
    def ending(self) -> str:
        """How a name for it ends: ``png`` or ``jpg``."""
        return self.object.rpartition(".")[2]


def read_upload(value: Any, info: ValidationInfo) -> Any:
    """Make an upload of what a caller gave; what has been one already, such as a record's, passes.

    Raises:
        RequestInvalid: it is empty, neither png nor jpeg, or cannot be read.
    """
    field = info.field_name or "file"
    if isinstance(value, Path):
        value = _read(value, field)
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    content = bytes(value)
    if not content:
        raise RequestInvalid(field, f"Required param {field} is missing or empty")
    if len(content) > READ_MAX_BYTES:
        raise too_large(field, READ_MAX_BYTES)
    return upload_of(BytesIO(content), field).model_copy(update={"content": content})


def upload_of(file: BinaryIO, field: str) -> Upload:
    """Know a file by its content, read piece by piece; it is at its beginning again afterwards.

    Raises:
        RequestInvalid: it is empty, or neither png nor jpeg.
    """
    file.seek(0)
    head = file.read(max(len(signature) for signature, *_ in _SIGNATURES))
    if not head:
        raise RequestInvalid(field, f"Required param {field} is missing or empty")
    for signature, type_, ending in _SIGNATURES:
        if head.startswith(signature):
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it asks for less than BinaryIO
            size = file.seek(0, SEEK_END)
            file.seek(0)
            return Upload(size=size, type=type_, object=f"{UPLOADS}/{digest}.{ending}")
    raise RequestInvalid(field, f"Param {field} is neither a png nor a jpeg file, which its first bytes would say")


def too_large(field: str, max_bytes: int) -> RequestInvalid:
    """Say that a file is larger than is taken."""
    return RequestInvalid(field, f"{field} is too large: at most {max_bytes} bytes are taken")


def _read(path: Path, field: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(READ_MAX_BYTES + 1)
    except OSError as error:
        raise RequestInvalid(field, f"Param {field} cannot be read: {path}: {error.strerror}") from error
