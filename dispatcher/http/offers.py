"""What the submissions declare for the OpenAPI document: their fields, as JSON and as a form, and their answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from dispatcher.http.document import RETRY_AFTER, query, refusals
from dispatcher.http.shown import JobShown
from dispatcher.options import KEY_CHARACTERS, REPLY_CHARACTERS
from dispatcher.requests import (
    ASPECT_RATIOS,
    BUTTON_CHARACTERS,
    MAX_JOBS,
    MOTION_MAX,
    PROMPT_CHARACTERS,
    SEED_MAX,
    STYLES,
)

SUMMARIES = {
    "create": "Four videos from a text",
    "create_single": "One video from a text",
    "animate": "A video from an image",
    "meme_face": "A video from a face and a text",
    "button": "Press a button below a result",
}
_PROMPT = {"type": "string", "maxLength": PROMPT_CHARACTERS}
_ASKED = {"type": "string", "minLength": 1, "maxLength": PROMPT_CHARACTERS}
_FILE = {"type": "string", "format": "binary", "description": "png or jpeg, by its first bytes"}
_SEED = {"type": "integer", "minimum": 0, "maximum": SEED_MAX}
_RATIO = {"type": "string", "enum": list(ASPECT_RATIOS)}
_TEXT = {"prompt": _ASKED, "style": {"type": "string", "enum": list(STYLES)}, "negative_prompt": _PROMPT}
_TEXT |= {"aspect_ratio": _RATIO, "character": {"type": "string", "description": "With the style Anime alone"}}
_MOTION = {"type": "integer", "minimum": 1, "maximum": MOTION_MAX}
_YES_NO = {"type": "string", "enum": ["Yes", "No"]}
_BUTTON = {"type": "string", "minLength": 1, "maxLength": BUTTON_CHARACTERS}
FIELDS: dict[str, dict[str, Any]] = {
    "create": _TEXT,
    "create_single": {**_TEXT, "seed_value": _SEED},
    "animate": {"image": _FILE, "prompt": _PROMPT, "motion": _MOTION, "seed_value": _SEED, "hd_quality": _YES_NO},
    "meme_face": {
        "face": _FILE,
        "prompt": _ASKED,
        "negative_prompt": _PROMPT,
        "seed_value": _SEED,
        "aspect_ratio": _RATIO,
    },
    "button": {"jobid": {"type": "string", "minLength": 1}, "button": _BUTTON, "prompt": _PROMPT},
}
REQUIRED = {
    "create": ["prompt", "style"],
    "create_single": ["prompt", "style"],
    "animate": ["image"],
    "meme_face": ["face", "prompt"],
    "button": ["jobid", "button"],
}
_ACCOUNT = {
    "discord": {"type": "string", "description": "A token of the job's own, for `server` and `channel`"},
    "server": {"type": "string"},
    "channel": {"type": "string", "pattern": "^[0-9]{17,20}$", "description": "Alone: that stored account"},
}
_COMMON = {
    "maxJobs": {"type": "integer", "minimum": 1, "maximum": MAX_JOBS, "description": "Can only lower the account's"},
    "replyUrl": {"type": "string", "maxLength": REPLY_CHARACTERS, "description": "Called when the job ends"},
    "replyRef": {"type": "string", "maxLength": REPLY_CHARACTERS, "description": "Told again with the job"},
}


class FullBody(BaseModel):
    """No account is free; with `executingJobs` your own jobs fill them, without it the upstream throttles."""

    error: str
    code: int
    executingJobs: list[str] | None = None  # noqa: N815 (the contract's name)


class ModeratedBody(BaseModel):
    """The upstream refused what was asked for; the job can be read."""

    error: str
    jobid: str
    status: str
    code: int


def declared(kind: str) -> dict[str, Any]:
    """Everything that a submission's route declares."""
    responses: dict[int | str, dict[str, Any]] = {
        200: {"model": JobShown, "description": "The job: accepted upstream, or queued"},
        **refusals(400, 404, 409, 413, 415),
        422: {"model": ModeratedBody, "description": "Moderated"},
        429: {"model": FullBody, "description": "No account is free now", "headers": RETRY_AFTER},
    }
    return {
        "summary": SUMMARIES[kind],
        "response_model": None,
        "responses": responses,
        "openapi_extra": {"parameters": _parameters(), "requestBody": _body(kind)},
    }


def _parameters() -> list[dict[str, Any]]:
    queue = query("queue", "`true`: wait for a slot instead of 429, answered at once", required=False, example="true")
    queue["schema"] = {"type": "string", "enum": ["true", "false"]}
    key = {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS, "pattern": "^[!-~]+$"}
    described = "The same key and body within 24 hours: the first job; another body: 409"
    return [
        queue,
        {"name": "Idempotency-Key", "in": "header", "required": False, "description": described, "schema": key},
    ]


def _body(kind: str) -> dict[str, Any]:
    account = {"discord": _ACCOUNT["discord"]} if kind == "button" else _ACCOUNT
    schema = {"type": "object", "properties": {**FIELDS[kind], **account, **_COMMON}, "required": REQUIRED[kind]}
    has_file = any(name in FIELDS[kind] for name in ("image", "face"))
    types = ("multipart/form-data",) if has_file else ("application/json", "multipart/form-data")
    return {"required": True, "content": {media_type: {"schema": schema} for media_type in types}}
