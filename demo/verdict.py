"""Judging the demo by the simulator's oracle: each job's own file, no limit breached, how close to ideal."""

from __future__ import annotations

import hashlib
import heapq
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def ideal_makespan_s(durations_s: Sequence[float], slots: int) -> float:
    """Makespan of a list schedule: each job, in order, on the slot that frees first."""
    free_at = [0.0] * slots
    for duration_s in durations_s:
        heapq.heapreplace(free_at, free_at[0] + duration_s)
    return max(free_at)


def is_playable_mp4(content: bytes) -> bool:
    """Whether the boxes of an mp4 file add up: type, index and data, each where its size says."""
    boxes: set[bytes] = set()
    offset = 0
    while offset + 8 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, offset)
        if size < 8 or offset + size > len(content):  # noqa: PLR2004 (a box is at least its own header)
            return False
        boxes.add(kind)
        offset += size
    return offset == len(content) and {b"ftyp", b"moov", b"mdat"} <= boxes


@dataclass(frozen=True, slots=True)
class Saved:
    """One job's downloaded file."""

    prompt: str
    path: Path


def wrong_files(saved: Sequence[Saved], oracle: dict[str, Any]) -> list[str]:
    """Names of saved files that are not playable, or not the oracle's file for that job's prompt."""
    made = {job["prompt"]: {file["sha256"] for file in job["files"]} for job in oracle["jobs"]}
    return [
        file.path.name
        for file in saved
        if not is_playable_mp4(content := file.path.read_bytes())
        or hashlib.sha256(content).hexdigest() not in made.get(file.prompt, set())
    ]


def summary(*, statuses: dict[str, int], makespan_s: float, oracle: dict[str, Any]) -> dict[str, Any]:
    """The figures, in the shape of ``demo-out/summary.json``."""
    jobs = sorted(oracle["jobs"], key=lambda job: job["n"])
    durations_s = [(job["finished_ms"] - job["submitted_ms"]) / 1000 for job in jobs if job["finished_ms"]]
    accounts = oracle["accounts"]
    ideal_s = ideal_makespan_s(durations_s, sum(a["limit"] for a in accounts.values()))
    return {
        "jobs": statuses,
        "accounts": [
            {"channel": channel, "maxJobs": a["limit"], "peak": a["peak"], "jobs": a["accepted"]}
            for channel, a in sorted(accounts.items())
        ],
        "makespan_s": round(makespan_s, 3),
        "ideal_s": round(ideal_s, 3),
        "ratio": round(makespan_s / ideal_s, 3),
        "breaches": oracle["breaches"],
        "duplicates": oracle["totals"]["duplicates"],
    }
