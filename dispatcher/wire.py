"""A job as HTTP shows it, in answers and in callbacks: one JSON object, the contract's names, no secret.

Source: docs/http-api.md, "Jobs"; contract §4.3.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from dispatcher.models import Job

OK = 200
"""Stands in every job: a client of the contract takes a body without it for an error."""

_PLAIN = (
    "jobid", "verb", "status", "prompt", "button", "parentJobId", "discord", "server", "channel", "maxJobs", "replyUrl",
    "replyRef", "messageId", "content", "timestamp", "error", "errorDetails",
)  # fmt: skip
_ECHOED = ("style", "negative_prompt", "aspect_ratio", "character", "seed_value", "motion", "hd_quality")
"""What was asked for, told again where it was given."""


def job_body(job: Job) -> dict[str, Any]:
    """Show a job; what it has not is left out, but for ``content``, ``buttons`` and ``attachments``."""
    shown = {name: getattr(job, name) for name in _PLAIN}
    shown |= {name: job.request.get(name) for name in _ECHOED}
    shown |= {name: file.model_dump() for name in ("image", "face") if (file := getattr(job, name)) is not None}
    body = {name: value for name, value in shown.items() if value is not None}
    body |= {"created": instant(job.created), "updated": instant(job.updated)}
    body |= {"buttons": list(job.buttons)}
    body |= {"attachments": [file.model_dump(exclude_none=True) for file in job.attachments]}
    if job.embeds:
        body["embeds"] = list(job.embeds)
    return body | {"code": OK}


def instant(at: datetime) -> str:
    """Write an instant as the contract does: ``2024-06-10T12:34:56.789Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
