"""A channel's messages as Discord lists them, and what of them a job shows.

Source: docs/upstream.md, "Messages".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict

from dispatcher.models import Attachment, Message

LOADING = 128
_BUTTON = 2
_TEXT_DISPLAY = 10


class _Outside(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class User(_Outside):
    """Who wrote, pressed or is mentioned."""

    id: int
    bot: bool = False


class Interaction(_Outside):
    """Which interaction a message answers; follow-ups repeat the id."""

    id: int
    user: User
    type: int = 2
    name: str | None = None


class ChannelMessage(_Outside):
    """One message in its newest state; an edit keeps the id."""

    id: int
    author: User
    type: int = 0
    content: str = ""
    timestamp: str | None = None
    flags: int = 0
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[dict[str, Any], ...] = ()
    components: tuple[dict[str, Any], ...] = ()
    mentions: tuple[User, ...] = ()
    application_id: str | None = None
    interaction_metadata: Interaction | None = None
    interaction: Interaction | None = None

    @property
    def answers(self) -> Interaction | None:
        """The interaction that the message answers; None for an ordinary message."""
        return self.interaction_metadata or self.interaction

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
    def buttons(self) -> tuple[str, ...]:
        """What is written on the buttons that can be pressed: the label, else the emoji's name."""
        labels = (
            component.get("label") or (component.get("emoji") or {}).get("name")
            for component in _walk(self.components)
            if component.get("type") == _BUTTON and component.get("custom_id")
        )
        return tuple(str(label) for label in labels if label)

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


def _walk(components: Any) -> Iterator[dict[str, Any]]:
    """All components, however deep rows, sections and containers nest them."""
    for component in components or ():
        if isinstance(component, dict):
            yield component
            yield from _walk(component.get("components"))


def fingerprint(raw: dict[str, Any]) -> tuple[Any, ...]:
    """Say cheaply, before any model is built, whether a listed message differs from the one listed before."""
    return (
        raw.get("edited_timestamp"),
        raw.get("flags"),
        hash(raw.get("content")),
        len(raw.get("attachments") or ()),
        len(raw.get("components") or ()),
        len(raw.get("embeds") or ()),
    )
