"""Small files that are png and jpeg by their first bytes; no two with different words are equal."""

from __future__ import annotations


def png(words: str = "a face") -> bytes:
    return b"\x89PNG\r\n\x1a\n" + words.encode()


def jpeg(words: str = "a face") -> bytes:
    return b"\xff\xd8\xff\xe0" + words.encode()
