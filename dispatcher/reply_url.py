"""Where a caller wants to be called back: what is acceptable when a job is submitted, and how it is shown.

Whether the address may be called is decided when it is called (``webhooks.py``): what a name stands for changes.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from dispatcher.errors import RequestInvalid

FIELD = "replyUrl"
CHARACTERS_MAX = 1024
"""Source: contract, "replyUrl"."""


def check_reply_url(url: Any) -> None:
    """Refuse what no callback could ever be sent to.

    Raises:
        RequestInvalid: it is longer than 1024 characters, or not a http:// or https:// URL with a host.
    """
    if isinstance(url, str) and len(url) > CHARACTERS_MAX:
        raise RequestInvalid(FIELD, f"{FIELD} is too long")
    if not isinstance(url, str) or not _is_web_address(url):
        told = str(url).encode(errors="replace").decode()  # half a surrogate pair could not be answered with
        raise RequestInvalid(FIELD, f"Param {FIELD} value {told:.80} is not supported")


def shown_url(url: str) -> str:
    """Show a URL without what may be a secret of it: user and password, query, fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _is_web_address(url: str) -> bool:
    if any(not character.isprintable() or character.isspace() for character in url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
