"""What a submission asks for, read from its fields: the request, and how it is accepted.

Unknown fields, and those that the endpoint does not know, are ignored; the first rule that a known one breaks is told
in the contract's words.

Source: contract §3, §2.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dispatcher.errors import RequestInvalid
from dispatcher.http.forms import Form
from dispatcher.options import REPLY_CHARACTERS
from dispatcher.registration import NumberAsSent, check_channel_id, read_max_jobs
from dispatcher.requests import Request
from dispatcher.uploads import Upload, too_large, upload_of

NUMBERS = ("motion", "seed_value")
FILES = ("image", "face")


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission's own words.

    ``channel`` names a stored account. ``discord`` is a token of the job's own, as it was sent, with the ``place``
    (server and channel) that it was sent for.
    """

    request: Request
    channel: str | None
    discord: Any
    place: Mapping[str, Any]
    reply_url: str | None
    reply_ref: str | None


def read_asked(model: type[Request], form: Form, *, upload_max_bytes: int) -> Asked:
    """Read a submission.

    Raises:
        RequestInvalid: the first rule that it breaks.
    """
    texts = form.texts
    given = {name: _value(name, texts[name]) for name in model.model_fields if name in texts and name not in FILES}
    given |= {name: _file(name, form, upload_max_bytes) for name in FILES if name in model.model_fields}
    request = model(**{**given, "maxJobs": read_max_jobs(texts.get("maxJobs"))})
    discord = texts.get("discord")
    named = texts.get("channel") if discord is None and not hasattr(request, "jobid") else None
    return Asked(
        request=request,
        channel=None if named is None else check_channel_id(named),
        discord=discord,
        place={name: texts.get(name) for name in ("server", "channel")},
        reply_url=_text("replyUrl", texts),
        reply_ref=_text("replyRef", texts),
    )


def _value(name: str, value: Any) -> Any:
    """A number's digits, which a client may send as a text as well; whatever else it is, the request judges."""
    if name not in NUMBERS:
        return value
    return value.text if isinstance(value, NumberAsSent) else str(value).lower() if isinstance(value, bool) else value


def _file(name: str, form: Form, max_bytes: int) -> Upload | None:
    if name not in form.files:
        return None  # a URL or another text in its place is no file
    upload = upload_of(form.files[name], name)
    if upload.size > max_bytes:
        raise too_large(name, max_bytes)
    return upload


def _text(name: str, texts: Mapping[str, Any]) -> str | None:
    value = texts.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise RequestInvalid(name, f"Param {name} is not text")
    if len(value) > REPLY_CHARACTERS:
        raise RequestInvalid(name, f"{name} is too long")
    return value
