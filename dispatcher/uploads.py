"""A caller's file on its way to an upstream: known by its content, kept in the storage, never in Redis."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

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
    for signature, type_, ending in _SIGNATURES:
        if content.startswith(signature):
            name = f"{UPLOADS}/{hashlib.sha256(content).hexdigest()}.{ending}"
            return Upload(size=len(content), type=type_, object=name, content=content)
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
