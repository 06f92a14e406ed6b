"""A channel's messages as Discord lists them, and what of them a job shows.

Source: docs/upstream.md, "Messages".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from dispatcher.log import get_logger
from dispatcher.models import Attachment, Message
from workers.upstream.discord.snowflake import born_ms

log = get_logger(__name__)

LOADING = 128
_BUTTON = 2
_TEXT_DISPLAY = 10
_FILE = 13
_GALLERY = 12


class _Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class User(_Outside):
    """Who wrote, pressed or is mentioned."""

    id: int
    bot: bool = False


class Interaction(_Outside):
    """Which interaction a message answers; follow-ups repeat the id. ``interacted_message_id``: whose button it was."""

    id: int
    user: User
    type: int = 2
    name: str | None = None
    interacted_message_id: int | None = None


class Reference(_Outside):
    """Which message another one replies to."""

    message_id: int | None = None


class Component(_Outside):
    """A button as it can be pressed: what is written on it, and by what name it is sent."""

    label: str
    custom_id: str


class ChannelMessage(_Outside):
    """One message in its newest state; an edit keeps the id."""

    id: int
    author: User
    type: int = 0
    content: str = ""
    timestamp: str | None = None
    edited_timestamp: str | None = None
    flags: int = 0
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[dict[str, Any], ...] = ()
    components: tuple[dict[str, Any], ...] = ()
    mentions: tuple[User, ...] = ()
    application_id: str | None = None
    interaction_metadata: Interaction | None = None
    interaction: Interaction | None = None
    message_reference: Reference | None = None

    @model_validator(mode="before")
    @classmethod
    def _gather_files(cls, raw: Any) -> Any:
        """Take in the files that components show: Discord lists them nowhere else (discord-api-docs, issue 8277)."""
        if not isinstance(raw, dict) or not raw.get("components"):
            return raw
        listed = list(raw.get("attachments") or ())
        known = {str(file.get("id")) for file in listed if isinstance(file, dict)}
        shown = (_file_of(media) for media in _media(raw["components"]))
        return {**raw, "attachments": [*listed, *(file for file in shown if file["id"] not in known)]}

    @property
    def answers(self) -> Interaction | None:
        """The interaction that the message answers; None for an ordinary message."""
        return self.interaction_metadata or self.interaction

    @property
    def told_ms(self) -> int:
        """When Discord got its newest state, in ms by Discord's clock: its last edit, else when it was made."""
        return born_ms(self.id) if self.edited_ms is None else self.edited_ms

    @property
    def is_loading(self) -> bool:
        """Whether it still says "thinking"."""
        return bool(self.flags & LOADING)

    @property
    def media_count(self) -> int:
        """How many videos and images are attached."""
        return sum((a.content_type or "").startswith(("video/", "image/")) for a in self.attachments)

    @property
    def text(self) -> str:
        """All words of the message: content, embeds and text components."""
        parts = [self.content]
        for embed in self.embeds:
            parts += [str(embed[part]) for part in ("title", "description") if embed.get(part)]
        parts += [str(c.get("content", "")) for c in _walk(self.components) if c.get("type") == _TEXT_DISPLAY]
        return "\n".join(part for part in parts if part)

    @property
    def edited_ms(self) -> int | None:
        """When it was last edited, on Discord's clock."""
        try:
            return int(datetime.fromisoformat(self.edited_timestamp or "").timestamp() * 1000)
        except ValueError:
            return None

    @property
    def replies_to(self) -> int | None:
        """The message that it replies to."""
        return self.message_reference.message_id if self.message_reference else None

    @property
    def pressable(self) -> tuple[Component, ...]:
        """The buttons that can be pressed; what is written on one is its label, else its emoji's name."""
        return tuple(
            Component(label=str(label), custom_id=str(component["custom_id"]))
            for component in _walk(self.components)
            if component.get("type") == _BUTTON and component.get("custom_id") and not component.get("disabled")
            if (label := component.get("label") or (component.get("emoji") or {}).get("name"))
        )

    @property
    def buttons(self) -> tuple[str, ...]:
        """What is written on the buttons that can be pressed."""
        return tuple(button.label for button in self.pressable)

    def shown(self, progress_percent: int | None = None) -> Message:
        """What a job shows of it."""
        return Message(
            messageId=str(self.id),
            content=self.content,
            timestamp=self.timestamp,
            attachments=self.attachments,
            embeds=self.embeds,
            buttons=self.buttons,
            progress_percent=progress_percent,
        )


def _media(components: Any) -> Iterator[dict[str, Any]]:
    """Uploaded files in galleries and file components, in their order; not a link to somewhere else."""
    for component in _walk(components):
        entries = component.get("items") if component.get("type") == _GALLERY else None
        media = [entry.get("media") for entry in entries or () if isinstance(entry, dict)]
        if component.get("type") == _FILE:
            media.append(component.get("file"))
        yield from (one for one in media if isinstance(one, dict) and one.get("attachment_id") and one.get("url"))


def _file_of(media: dict[str, Any]) -> dict[str, Any]:
    """Describe a component's file as an attachment; its name is the last part of its link's path."""
    name = unquote(urlsplit(str(media["url"])).path.rpartition("/")[2])
    kept = {key: media.get(key) for key in ("url", "proxy_url", "content_type", "size", "width", "height")}
    return {"id": str(media["attachment_id"]), "filename": name, **kept}


def _walk(components: Any) -> Iterator[dict[str, Any]]:
    """All components, however deep rows, sections and containers nest them."""
    for component in components or ():
        if isinstance(component, dict):
            yield component
            yield from _walk(component.get("components"))


def fingerprint(raw: dict[str, Any]) -> str:
    """Say cheaply, before any model is built, whether a listed message differs from the one listed before.

    The same in every process. Addresses of files are left out: Discord signs them anew in each list.
    """
    visible = (
        raw.get("edited_timestamp"),
        raw.get("flags"),
        raw.get("content"),
        len(raw.get("attachments") or ()),
        len(raw.get("components") or ()),
        len(raw.get("embeds") or ()),
    )
    return hashlib.blake2b(json.dumps(visible).encode(), digest_size=8).hexdigest()


def trimmed(raw: dict[str, Any]) -> dict[str, Any]:
    """Leave out of a listed message what no job reads: it is kept in Redis for all workers."""
    return {name: raw[name] for name in ChannelMessage.model_fields if name in raw}


def parsed(window: Iterable[dict[str, Any]]) -> list[ChannelMessage]:
    """Read the messages of bots; one in an unknown shape is passed over, by name."""
    messages = []
    for raw in window:
        if not is_bots(raw):
            continue
        try:
            messages.append(ChannelMessage.model_validate(raw))
        except ValidationError as error:
            log.warning("message in an unknown shape", message_id=raw.get("id"), reason=error.errors()[0]["msg"])
    return messages


def answered_in(raw: dict[str, Any]) -> int | None:
    """Return which interaction a listed message answers; None where it names none."""
    named = raw.get("interaction_metadata") or raw.get("interaction")
    told = str(named.get("id")) if isinstance(named, dict) else ""
    return int(told) if told.isdecimal() else None


def is_bots(raw: dict[str, Any]) -> bool:
    """Whether a bot wrote a listed message."""
    return bool((raw.get("author") or {}).get("bot"))


def id_of(raw: dict[str, Any]) -> int:
    """The id of a listed message."""
    return int(raw["id"])
