"""Saving a job's result files; the only place in this package that fetches anything by HTTP."""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath

import httpx

from dispatcher.errors import JobStateError, RequestInvalid, UpstreamUnavailable
from dispatcher.links import end_ms
from dispatcher.models import Attachment, Job

TIMEOUT_S = 60.0
NAME_BYTES = 180
"""File systems take 255; the id in front and `.part` behind must fit as well."""
ID_CHARACTERS = 40


class LinkDead(UpstreamUnavailable):
    """The link to ``attachment`` leads nowhere (any more), and it is one that expires."""

    def __init__(self, attachment: Attachment, message: str) -> None:
        self.attachment = attachment
        super().__init__("download", message)


def save_attachments(job: Job, folder: Path) -> list[Path]:
    """Save every attachment under its own name; of equal names the later ones get their id in front.

    A file appears whole or not at all. One whose name is no file name is saved under its id.

    Raises:
        JobStateError: the job is not completed.
        RequestInvalid: the folder cannot be made or written to.
        LinkDead: the link to a file has expired; those before it are saved.
        UpstreamUnavailable: a file could not be fetched; those before it are saved.
    """
    if job.status != "completed":
        raise JobStateError(job.id, job.status, "completed")
    try:
        return _save_all(job, folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RequestInvalid("folder", f"Folder {str(folder)!r} cannot be used: {reason}; choose another.") from error


def _save_all(job: Job, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    saved: list[Path] = []
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as http:
        for attachment in job.attachments:
            path = folder / _name(attachment)
            if path in saved:
                path = folder / f"{_id(attachment)}_{path.name}"
            saved.append(_save(http, attachment, path))
    return saved


def _name(attachment: Attachment) -> str:
    """The attachment's own name without any folder; its id if that is no name that a file can have."""
    name = PureWindowsPath(attachment.filename).name  # splits at / and at the backslash
    is_name = name.isprintable() and name.strip(". ") and len(name.encode(errors="replace")) <= NAME_BYTES
    return name if is_name else _id(attachment)


def _id(attachment: Attachment) -> str:
    return re.sub(r"[^0-9A-Za-z-]", "", attachment.id)[:ID_CHARACTERS] or "attachment"


def _save(http: httpx.Client, attachment: Attachment, path: Path) -> Path:
    part = path.with_name(path.name + ".part")
    try:
        with http.stream("GET", attachment.url) as answer, part.open("wb") as file:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                file.write(chunk)
        part.replace(path)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"{path.name} could not be fetched: {error}"
        if isinstance(error, httpx.HTTPStatusError) and _is_dead(attachment, error.response):
            raise LinkDead(attachment, message) from error
        raise UpstreamUnavailable("download", message) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _is_dead(attachment: Attachment, answer: httpx.Response) -> bool:
    refusals = (httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.GONE)
    return answer.status_code in refusals and end_ms(attachment.url) is not None
