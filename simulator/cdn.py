"""Files: uploads that wait for a command, results that are downloaded, and the signed links between them."""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from simulator.snowflake import derived_id, parse_snowflake

if TYPE_CHECKING:
    from simulator.clip import Clip

UPLOAD_MAX_BYTES = 10 * 1024 * 1024
GALLERY = 12
CONTAINER = 17


@dataclass(frozen=True, slots=True)
class Attachment:
    """One result file of a job; ``index`` counts from 1 within the job."""

    id: int
    channel_id: str
    interaction_id: str
    index: int
    size_bytes: int
    sha256: str

    @property
    def filename(self) -> str:
        """The name, which carries the interaction id."""
        return f"pixverse_{self.interaction_id}_{self.index}.mp4"

    @property
    def path(self) -> str:
        """Where the file is below ``/cdn`` (and ``/media``, its proxy)."""
        return f"/attachments/{self.channel_id}/{self.id}/{self.filename}"


@dataclass(slots=True)
class Links:
    """Signs paths for ``life_s`` seconds, as Discord's CDN does: ``?ex=<hex end>&is=<hex start>&hm=<signature>``."""

    base_url: str
    life_s: float
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def expire(self) -> None:
        """Let every link that was given out until now expire at once."""
        self._key = secrets.token_bytes(16)

    def period(self) -> tuple[bytes, int]:
        """Name the half life in which we are: links signed in the same one need no renewal yet."""
        return self._key, int(2 * time.time() / self.life_s)

    def query(self, path: str) -> str:
        """Return the signed query for a path."""
        start = int(time.time())
        end = f"{math.ceil(time.time() + self.life_s):x}"
        return f"ex={end}&is={start:x}&hm={self._signature(path, end, f'{start:x}')}"

    def is_valid(self, path: str, query: dict[str, str]) -> bool:
        """Say whether the query was signed here for this path and has not expired."""
        end, start = query.get("ex", ""), query.get("is", "")
        is_signed = self._signature(path, end, start) == query.get("hm")  # plain ==: there is no secret to guard here
        return is_signed and time.time() < int(end, 16)

    def _signature(self, path: str, end: str, start: str) -> str:
        return hmac.new(self._key, f"{path}?{end}&{start}".encode(), hashlib.sha256).hexdigest()


class Cdn:
    """Every file of the fake: what users uploaded and what the bot made.

    Args:
        clip: the video that results are made of.
        links: the signer of their links.
    """

    def __init__(self, clip: Clip, links: Links) -> None:
        self.links = links
        self._clip = clip
        self._attachments: dict[int, Attachment] = {}
        self._uploads: dict[str, bytes | None] = {}

    def clear(self) -> None:
        """Forget all files."""
        self._attachments.clear()
        self._uploads.clear()

    def make_result(self, attachment_id: int, *, channel_id: str, interaction_id: str, index: int) -> Attachment:
        """Make one result file of a job."""
        content = self._clip.stamped(interaction_id, index)
        sha256 = hashlib.sha256(content).hexdigest()
        attachment = Attachment(attachment_id, channel_id, interaction_id, index, len(content), sha256)
        self._attachments[attachment_id] = attachment
        return attachment

    def content_of(self, attachment_id: int, filename: str) -> bytes | None:
        """Return a result's bytes, or None when there is no such file."""
        attachment = self._attachments.get(attachment_id)
        if attachment is None or attachment.filename != filename:
            return None
        return self._clip.stamped(attachment.interaction_id, attachment.index)

    def as_json(self, attachment: Attachment) -> dict[str, Any]:
        """Describe a result as a message does, with links signed now."""
        query = self.links.query(attachment.path)
        return {
            "id": str(attachment.id),
            "filename": attachment.filename,
            "size": attachment.size_bytes,
            "url": f"{self.links.base_url}/cdn{attachment.path}?{query}",
            "proxy_url": f"{self.links.base_url}/media{attachment.path}?{query}",
            "width": self._clip.width,
            "height": self._clip.height,
            "content_type": "video/mp4",
        }

    def with_media(self, components: list[dict[str, Any]], attachments: tuple[Attachment, ...]) -> list[dict[str, Any]]:
        """Return components with the results in their galleries: files that components show are listed nowhere else."""
        shown = []
        for component in components:
            if component["type"] == GALLERY:
                items = [{"media": self._as_media(a), "description": None, "spoiler": False} for a in attachments]
                shown.append({**component, "items": items})
            elif component["type"] == CONTAINER:
                shown.append({**component, "components": self.with_media(component["components"], attachments)})
            else:
                shown.append(component)
        return shown

    def _as_media(self, attachment: Attachment) -> dict[str, Any]:
        described = self.as_json(attachment)
        kept = {name: described[name] for name in ("url", "proxy_url", "width", "height", "content_type")}
        return {"id": derived_id(f"media:{attachment.id}"), **kept, "attachment_id": described["id"]}

    def refreshed(self, url: str) -> str | None:
        """Sign a link to one of our files anew, or return None when it points to none."""
        place = urlsplit(url).path
        path = place.removeprefix("/cdn").removeprefix("/media")
        _, _, attachment_id = path.rpartition("/")[0].rpartition("/")
        attachment = self._attachments.get(parse_snowflake(attachment_id) or 0)
        if attachment is None or attachment.path != path:
            return None
        return f"{self.links.base_url}{place}?{self.links.query(path)}"

    def open_upload(self, filename: str) -> str:
        """Promise a place for one file of a user and return its name there."""
        name = f"{secrets.token_hex(16)}/{filename}"
        self._uploads[name] = None
        return name

    def upload_url(self, name: str) -> str:
        """Return where the bytes of an opened upload are to be PUT."""
        return f"{self.links.base_url}/uploads/{name}"

    def store_upload(self, name: str, content: bytes) -> bool:
        """Keep uploaded bytes; False when no such upload was opened."""
        if name not in self._uploads:
            return False
        self._uploads[name] = content
        return True

    def is_uploaded(self, name: object) -> bool:
        """Say whether the bytes of this upload have arrived."""
        return isinstance(name, str) and self._uploads.get(name) is not None
