"""Saving a job's result files; the only place in this package, beside callbacks, that speaks HTTP."""

from __future__ import annotations

from pathlib import Path

import httpx

from dispatcher.errors import JobStateError, UpstreamUnavailable
from dispatcher.models import Attachment, Job

TIMEOUT_S = 60.0


def save_attachments(job: Job, folder: Path) -> list[Path]:
    """Save every attachment under its own name; of equal names the later ones get their id in front.

    A file appears whole or not at all.

    Raises:
        JobStateError: the job is not completed.
        UpstreamUnavailable: a file could not be fetched; those before it are saved.
    """
    if job.status != "completed":
        raise JobStateError(job.id, job.status, "completed")
    folder.mkdir(parents=True, exist_ok=True)
    saved: list[Path] = []
    with httpx.Client(timeout=TIMEOUT_S, follow_redirects=True) as http:
        for attachment in job.attachments:
            name = Path(attachment.filename).name or attachment.id
            path = folder / name
            saved.append(_save(http, attachment, folder / f"{attachment.id}_{name}" if path in saved else path))
    return saved


def _save(http: httpx.Client, attachment: Attachment, path: Path) -> Path:
    part = path.with_name(path.name + ".part")
    try:
        with http.stream("GET", attachment.url) as answer, part.open("wb") as file:
            answer.raise_for_status()
            for chunk in answer.iter_bytes():
                file.write(chunk)
    except httpx.HTTPError as error:
        part.unlink(missing_ok=True)
        raise UpstreamUnavailable("download", f"{attachment.filename} could not be fetched: {error}") from error
    part.replace(path)
    return path
