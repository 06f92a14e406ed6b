"""Messages as Discord lists them, for tests that need no server."""

from __future__ import annotations

from typing import Any

from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.snowflake import first_at

BOT, ME = 900, 42
CAPTION = "style: Realistic aspect-ratio: 16:9)"


def raw_message(
    message_id: int,
    text: str = "",
    *,
    interaction: int | None = None,
    user: int = ME,
    name: str = "create",
    **more: Any,
) -> dict[str, Any]:
    """One listed message of the bot; ``videos`` attaches that many."""
    videos = more.pop("videos", 0)
    message: dict[str, Any] = {
        "id": str(message_id),
        "type": 0,
        "author": {"id": str(BOT), "bot": True},
        "content": text,
        "timestamp": "2026-11-22T20:00:00.000000+00:00",
        "edited_timestamp": None,
        "flags": 0,
        "attachments": [
            {"id": str(n), "filename": f"{n}.mp4", "url": f"https://cdn/{n}.mp4", "content_type": "video/mp4"}
            for n in range(videos)
        ],
        "embeds": [],
        "components": [],
        "mentions": [{"id": str(user)}] if text else [],
    }
    if interaction is not None:
        message["type"] = 20
        message["interaction_metadata"] = {"id": str(interaction), "type": 2, "user": {"id": str(user)}, "name": name}
    return {**message, **more}


def message_of(message_id: int, text: str = "", **more: Any) -> ChannelMessage:
    return ChannelMessage.model_validate(raw_message(message_id, text, **more))


def born_at(instant_ms: int) -> int:
    return first_at(instant_ms)


def caption(prompt: str) -> str:
    return f"<@{ME}> (prompt: {prompt} {CAPTION}"
