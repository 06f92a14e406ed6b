"""What a submission asks for, read from its fields: the request, and how it is accepted.

Unknown fields, and those that the endpoint does not know, are ignored; the first rule that a known one breaks is told in
the contract's words.

Source: contract §3, §2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dispatcher.errors import RequestInvalid
from dispatcher.http.forms import Form
from dispatcher.options import REPLY_CHARACTERS
from dispatcher.registration import (
    NumberAsSent,
    Registration,
    check_channel_id,
    read_max_jobs,
    read_registration,
)
from dispatcher.requests import MAX_JOBS, Request
from dispatcher.uploads import Upload, too_large, upload_of

NUMBERS = ("motion", "seed_value")
FILES = ("image", "face")


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission's own words; ``inline`` is an account that comes with it, ``channel`` the stored one it names."""

    request: Request
    channel: str | None
    inline: Registration | None
    discord: str | None
    reply_url: str | None
    reply_ref: str | None


def read_asked(model: type[Request], form: Form, *, upload_max_bytes: int) -> Asked:
    """Read a submission.

    Raises:
        RequestInvalid: the first rule that it breaks.
    """
    texts = form.texts
    max_jobs = read_max_jobs(texts.get("maxJobs"))
    given = {name: _value(name, texts[name]) for name in model.model_fields if name in texts and name not in FILES}
    given |= {name: _file(name, form, upload_max_bytes) for name in FILES if name in model.model_fields}
    request = model(**{**given, "maxJobs": max_jobs})
    reply_url, reply_ref = (_reply(name, texts) for name in ("replyUrl", "replyRef"))
    discord = texts.get("discord")
    if discord is None:  # a server alone names nothing: the channel's stored account has its own
        channel = check_channel_id(texts["channel"]) if "channel" in texts else None
        return Asked(request, channel, None, None, reply_url, reply_ref)
    if "jobid" in model.model_fields:  # a button is pressed where its job is, with this token
        return Asked(request, None, None, str(discord), reply_url, reply_ref)
    inline = read_registration({**texts, "maxJobs": max_jobs or MAX_JOBS}, channel=str(texts.get("channel", "")))
    return Asked(request, None, inline, None, reply_url, reply_ref)


def _value(name: str, value: Any) -> Any:
    if name not in NUMBERS:
        return value
    return value.text if isinstance(value, NumberAsSent) else str(value).lower() if isinstance(value, bool) else value


def _file(name: str, form: Form, max_bytes: int) -> Upload | None:
    if name not in form.files:
        return None  # a URL or a text in its place is no file
    upload = upload_of(form.files[name], name)
    if upload.size > max_bytes:
        raise too_large(name, max_bytes)
    return upload


def _reply(name: str, texts: Mapping[str, Any]) -> str | None:
    value = texts.get(name)
    if value is None:
        return None
    text = str(value)
    if len(text) > REPLY_CHARACTERS:
        raise RequestInvalid(name, f"{name} is too long")
    return text
