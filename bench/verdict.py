"""Judging a run by the simulator's oracle: what it accepted, what it finished, and which file belongs to whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dispatcher.models import Job


def verdict(jobs: Sequence[Job], oracle: dict[str, Any], *, slots_held: int) -> dict[str, Any]:
    """Hold final jobs against the oracle; prompts are unique.

    Returns:
        ``jobs`` by status, ``breaches``, ``duplicates``, ``lost`` (not final, or finished upstream and yet not
        completed), ``wrong_files`` (completed with another file than the upstream made for it), ``leaked`` slots,
        ``failures`` by error, ``retried`` jobs that were delivered more than once.
    """
    made = {job["prompt"]: job for job in oracle["jobs"]}
    lost = [job.id for job in jobs if not job.is_final]
    lost += [
        job.id
        for job in jobs
        if job.is_final
        and job.status not in ("completed", "cancelled")
        and made.get(str(job.prompt), {}).get("outcome") == "completed"
    ]
    return {
        "jobs": dict(Counter(str(job.status) for job in jobs)),
        "breaches": oracle["breaches"],
        "duplicates": oracle["totals"]["duplicates"],
        "lost": len(lost),
        "wrong_files": sum(1 for job in jobs if job.status == "completed" and not has_own_files(job, made)),
        "leaked": slots_held,
        "failures": dict(Counter(str(job.error) for job in jobs if job.status == "failed")),
        "redelivered": sum(1 for job in jobs if job.deliveries > 1),
    }


def has_own_files(job: Job, made: dict[str, Any]) -> bool:
    """Whether the job shows exactly the files that the upstream made for its prompt."""
    files = {file["filename"] for file in made.get(str(job.prompt), {}).get("files", ())}
    return bool(files) and {attachment.filename for attachment in job.attachments} == files


def is_clean(figures: dict[str, Any]) -> bool:
    """Whether nothing that must never happen did."""
    return not any(figures[name] for name in ("breaches", "duplicates", "lost", "wrong_files", "leaked"))
