"""The video that every job yields: a real mp4, stamped so that no two results are the same bytes."""

from __future__ import annotations

from pathlib import Path

_CLIP = Path(__file__).with_name("clip.mp4")
_STAMP_TYPE = bytes.fromhex("70697876657273652d73696d756c6174")
"""The user type of our ``uuid`` box: the bytes of ``pixverse-simulat``; players skip boxes that they do not know."""


class Clip:
    """A playable mp4, with the size of its picture.

    Attributes:
        content: the file without a stamp.
        width: pixels, as the video track's header says.
        height: pixels, likewise.
    """

    def __init__(self, path: Path = _CLIP) -> None:
        self.content = path.read_bytes()
        self.width, self.height = _picture_size(self.content)

    def stamped(self, interaction_id: str, index: int) -> bytes:
        """Return the clip with a last ``uuid`` box whose payload is ``<interaction id>/<index>`` in ASCII."""
        payload = _STAMP_TYPE + f"{interaction_id}/{index}".encode()
        return self.content + (8 + len(payload)).to_bytes(4) + b"uuid" + payload


def _picture_size(content: bytes) -> tuple[int, int]:
    """Read width and height from the last eight bytes of the ``tkhd`` box (two 16.16 fixed-point numbers)."""
    name_at = content.index(b"tkhd")
    end = name_at - 4 + int.from_bytes(content[name_at - 4 : name_at])
    return int.from_bytes(content[end - 8 : end - 6]), int.from_bytes(content[end - 4 : end - 2])
