"""What the bot says: the JSON of its messages at each point of a job's life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.accounts import user_json
from simulator.cdn import CONTAINER, GALLERY
from simulator.channels import COMPONENTS_V2
from simulator.commands import PIXVERSE_ID
from simulator.snowflake import clock_ms, timestamp_of

if TYPE_CHECKING:
    from simulator.job import Job

DEFAULT = 0
REPLY = 19
CHAT_INPUT_COMMAND = 20
EPHEMERAL = 64
LOADING = 128
_TEXT_DISPLAY = 10

_ROW_LENGTH = 5
_GRID_BUTTONS = ("U1", "U2", "U3", "U4", "", "V1", "V2", "V3", "V4", "ReDo")
"""Of a four-video result, by rows of five; an empty place is no button."""
_SINGLE_BUTTONS = ("🔀", "ReDo")

_BOT = {**user_json(PIXVERSE_ID), "username": "PixVerse", "global_name": None, "bot": True, "flags": 524_288}


def message_json(job: Job, message_id: int, text: str, *, flags: int = 0) -> dict[str, Any]:
    """Build the first message of an answer: of type 20 to a command, a reply to the message of a pressed button.

    Such a reply is an ordinary one where the bot names no interaction.
    """
    message = plain_json(job, message_id, text)
    if job.press and not job.is_named:
        return {**message, "type": REPLY, "message_reference": _reference(job, str(job.press.message_id))}
    message["flags"] = flags
    message["application_id"] = message["webhook_id"] = PIXVERSE_ID
    message["interaction_metadata"] = _metadata(job)
    if job.press:
        message["type"] = REPLY
        message["message_reference"] = _reference(job, str(job.press.message_id))
    else:
        message["type"] = CHAT_INPUT_COMMAND
        message["interaction"] = {"id": job.interaction_id, "type": 2, "name": job.command, "user": job.user}
    return message


def followup_json(job: Job, message_id: int, text: str, original_id: int) -> dict[str, Any]:
    """Build a further message of the same answer: a reply to its first message, with the same interaction.

    One that names no interaction is one more reply to the message of the pressed button.
    """
    message = message_json(job, message_id, text)
    if not job.is_named:
        return message
    message.pop("interaction", None)
    message["type"] = REPLY
    message["message_reference"] = _reference(job, str(original_id))
    message["interaction_metadata"]["original_response_message_id"] = str(original_id)
    return message


def plain_json(job: Job, message_id: int, text: str) -> dict[str, Any]:
    """Build an ordinary message, which says nothing of the interaction but mentions its user."""
    return {
        "type": DEFAULT,
        "content": text,
        "mentions": [job.user] if text else [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "timestamp": timestamp_of(clock_ms()),
        "edited_timestamp": None,
        "flags": 0,
        "components": [],
        "id": str(message_id),
        "channel_id": job.channel_id,
        "author": _BOT,
        "pinned": False,
        "mention_everyone": False,
        "tts": False,
    }


def v2_of(job: Job, text: str, *, is_done: bool) -> dict[str, Any]:
    """Build the changes that make a message one of components: its words, files and buttons are all in them."""
    parts: list[dict[str, Any]] = [{"type": _TEXT_DISPLAY, "id": 2, "content": text}]
    if is_done:
        parts.append({"type": GALLERY, "id": 3, "items": []})
        parts += buttons_of(job, first_id=4)
    container = {"type": CONTAINER, "id": 1, "accent_color": None, "components": parts, "spoiler": False}
    return {"content": "", "mentions": [job.user], "flags": COMPONENTS_V2, "components": [container]}


def edit_of(job: Job, text: str) -> dict[str, Any]:
    """Build the changes of an edit, which also ends the LOADING state."""
    return {
        "content": text,
        "mentions": [job.user],
        "flags": 0,
        "edited_timestamp": timestamp_of(clock_ms()),
    }


def waiting_text(job: Job) -> str:
    """Say that the job waits, where no LOADING message says so."""
    return f"{_mention(job)} ({job.caption}) (Waiting to start)"


def queued_text(job: Job, before: int) -> str:
    """Say that the job waits for others of its user."""
    return f"{_mention(job)} ({job.caption}) (Queued, {before} before you)"


def progress_text(job: Job, percent: int) -> str:
    """Say how far the job is: ``… (45%)``."""
    return f"{_mention(job)} ({job.caption}) ({percent}%)"


def final_text(job: Job) -> str:
    """Say how the job ended."""
    if job.directive.outcome == "failed":
        return f"{_mention(job)} ({job.caption}) Generation failed. Please try again later."
    if job.directive.outcome == "moderated":
        return (
            f"{_mention(job)} ({job.caption}) Your prompt was blocked: it may contain sensitive content (moderation)."
        )
    if job.directive.outcome == "busy":
        return f"{_mention(job)} You have too many jobs running at once. Please wait until one has finished."
    # The bracket without a partner stands in the only printed sample of the live bot.
    return f"{_mention(job)} ({job.caption}) Author: {_mention(job)})"


def ephemeral_json(job: Job, message_id: int) -> dict[str, Any]:
    """Build the refusal that only its user sees, and only on the gateway."""
    text = {
        "busy": "You have too many jobs running at once. Please wait until one has finished.",
        "moderated": "Your prompt was blocked: it may contain sensitive content (moderation).",
        "failed": "Generation failed. Please try again later.",
    }[job.directive.says]
    return {**message_json(job, message_id, f"{_mention(job)} {text}", flags=EPHEMERAL), "guild_id": job.server_id}


def modal_json(job: Job) -> dict[str, Any]:
    """Build the form that a pressed button opens: one text input, for a prompt."""
    text_input = {"type": 4, "id": 2, "custom_id": "prompt", "style": 2, "label": "Prompt", "required": True}
    return {
        "channel_id": job.channel_id,
        "custom_id": f"pixverse:modal:{job.interaction_id}",
        "title": "New prompt",
        "application": {"id": PIXVERSE_ID, "name": "PixVerse", "icon": None, "description": ""},
        "components": [{"type": 1, "id": 1, "components": [text_input]}],
    }


def buttons_of(job: Job, *, first_id: int = 1) -> list[dict[str, Any]]:
    """Build the rows of buttons below a finished job's videos; components are numbered from ``first_id``."""
    labels = _GRID_BUTTONS if job.file_count > 1 else _SINGLE_BUTTONS
    rows: list[dict[str, Any]] = []
    component_id = first_id - 1
    for start in range(0, len(labels), _ROW_LENGTH):
        component_id += 1
        row: dict[str, Any] = {"type": 1, "id": component_id, "components": []}
        for label in filter(None, labels[start : start + _ROW_LENGTH]):
            component_id += 1
            row["components"].append(_button(job, label, component_id))
        rows.append(row)
    return rows


def label_of(components: list[dict[str, Any]], custom_id: object) -> str | None:
    """Return what is written on the button with this custom id, or None when there is none."""
    for component in components:
        if component.get("custom_id") == custom_id:
            return str(component.get("label") or component["emoji"]["name"])
        if label := label_of(component.get("components", []), custom_id):
            return label
    return None


def _button(job: Job, label: str, component_id: int) -> dict[str, Any]:
    face: dict[str, Any] = {"label": label} if label.isascii() else {"emoji": {"name": label}}
    custom_id = f"pixverse:{label}:{job.interaction_id}"
    return {"type": 2, "id": component_id, "style": 2, "custom_id": custom_id, **face}


def _metadata(job: Job) -> dict[str, Any]:
    metadata = {
        "id": job.interaction_id,
        "type": 3 if job.press else 2,
        "user": job.user,
        "authorizing_integration_owners": {"0": job.server_id},
    }
    if job.press:
        return {**metadata, "interacted_message_id": str(job.press.message_id)}
    return {**metadata, "name": job.command, "command_type": 1}


def _reference(job: Job, message_id: str) -> dict[str, Any]:
    return {"type": 0, "channel_id": job.channel_id, "message_id": message_id, "guild_id": job.server_id}


def _mention(job: Job) -> str:
    return f"<@{job.user['id']}>"
