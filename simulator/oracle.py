"""The judge: what was submitted, what ran when, and each time that an account was over-used.

Tests believe this, never the counters of the system that they check.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from simulator.census import Census
from simulator.snowflake import clock_ms

_VISIBLY_ENDED_BADLY = frozenset({"failed", "moderated", "busy", "deleted", "modal"})
"""Outcomes after which the same submission is a fair second try, no duplicate."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What the fake accepted.

    Attributes:
        account: the channel id.
        command: the command's name, or ``button:<label>``.
        prompt: as sent, the directive included.
        reference: the interaction id.
        message_id: of a pressed button: the message it stands on.
        runs: False for one that takes no place (a button that only opens a modal).
    """

    account: str
    command: str
    prompt: str
    reference: str
    message_id: int | None = None
    runs: bool = True


@dataclass(slots=True, eq=False)
class Record:
    """An accepted submission and its end; times are wall-clock milliseconds, ``n`` counts from 1."""

    n: int
    submission: Submission
    submitted_ms: int
    finished_ms: int | None = None
    outcome: str | None = None
    files: tuple[dict[str, Any], ...] = ()
    _rendered: bytes = b""

    def finish(self, outcome: str, files: tuple[dict[str, Any], ...]) -> None:
        """Record the end; from now on the JSON is kept, so that a verdict on thousands of jobs is cheap."""
        self.finished_ms = clock_ms()
        self.outcome = outcome
        self.files = files
        self._rendered = self._render()

    def rendered(self) -> bytes:
        """Return the record as JSON."""
        return self._rendered or self._render()

    def _render(self) -> bytes:
        described = {
            "n": self.n,
            "account": self.submission.account,
            "command": self.submission.command,
            "prompt": self.submission.prompt,
            "reference": self.submission.reference,
            "submitted_ms": self.submitted_ms,
            "finished_ms": self.finished_ms,
            "outcome": self.outcome,
            "files": self.files,
        }
        return json.dumps(described, ensure_ascii=False).encode()


@dataclass(slots=True, eq=False)
class Tally:
    """One account's counts; ``limit`` None means that nobody declared one."""

    limit: int | None = None
    running: int = 0
    peak: int = 0
    accepted: int = 0
    breaches: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the counts under their names."""
        return {
            "limit": self.limit,
            "running": self.running,
            "peak": self.peak,
            "accepted": self.accepted,
            "breaches": self.breaches,
            "refused": dict(self.refused),
        }


REQUEST_KINDS = (
    *("users", "index", "channels", "messages", "message", "interactions"),
    *("attachments", "uploads", "refresh_urls", "cdn", "gateway"),
)
"""Kinds of requests to the fake; ``messages`` are the polls."""


class Oracle:
    """Counts per account (a channel id) and for all of them.

    A breach is a submission accepted while its account already ran at its declared limit. A job runs from its
    acceptance to its final message, its deletion or, where no message ever comes, ``min(seconds, 10)``.
    """

    def __init__(self) -> None:
        self._tallies: dict[str, Tally] = {}
        self._requests: Counter[str] = Counter()
        self._troubles: Counter[tuple[str, str]] = Counter()
        self._records: list[Record] = []
        self._last_of: dict[tuple[str, str, int | None], Record] = {}
        self._submissions = 0
        self._duplicates = 0
        self.census = Census()

    def reset(self) -> None:
        """Forget every count, and the accounts that nobody declared; declared limits stay."""
        self._tallies = {
            account: Tally(limit=tally.limit) for account, tally in self._tallies.items() if tally.limit is not None
        }
        self._requests.clear()
        self._troubles.clear()
        self._records.clear()
        self._last_of.clear()
        self._submissions = self._duplicates = 0
        self.census.reset()

    def forget_limits(self) -> None:
        """Treat every account as undeclared."""
        for tally in self._tallies.values():
            tally.limit = None

    def declare(self, account: str, limit: int | None) -> None:
        """Set the limit that submissions are judged by from now on."""
        self._tally(account).limit = limit

    def count_request(self, kind: str) -> None:
        """Count one request to the fake."""
        self._requests[kind] += 1

    def count_trouble(self, kind: str, answer: str) -> None:
        """Count one request that a control had answered, by what it was answered."""
        self._troubles[kind, answer] += 1

    def refuse(self, account: str | None, kind: str) -> None:
        """Count a submission that was not accepted."""
        self._submissions += 1
        if account is not None:
            self._tally(account).refused[kind] += 1

    def accept(self, submission: Submission) -> Record:
        """Record an accepted submission and judge it."""
        self._submissions += 1
        tally = self._tally(submission.account)
        tally.accepted += 1
        record = Record(len(self._records) + 1, submission, clock_ms())
        self._records.append(record)
        self._judge_duplicate(record)
        if submission.runs:
            tally.breaches += tally.limit is not None and tally.running >= tally.limit
            tally.running += 1
            tally.peak = max(tally.peak, tally.running)
        return record

    def finish(self, record: Record, outcome: str, files: tuple[dict[str, Any], ...] = ()) -> None:
        """Record how an accepted submission ended; its place is free from now on."""
        record.finish(outcome, files)
        if record.submission.runs:
            self._tally(record.submission.account).running -= 1

    def report(self, *, with_jobs: bool = True) -> bytes:
        """Return the verdict as JSON, in the shape of ``simulator/README.md``."""
        tallies = self._tallies.values()
        breaches = sum(tally.breaches for tally in tallies)
        totals = {
            "submissions": self._submissions,
            "accepted": sum(tally.accepted for tally in tallies),
            "duplicates": self._duplicates,
            "breaches": breaches,
            "running": sum(tally.running for tally in tallies),
        }
        verdict = {
            "breaches": breaches,
            "totals": totals,
            "requests": {kind: self._requests[kind] for kind in REQUEST_KINDS},
            "troubles": {f"{kind} {answer}": count for (kind, answer), count in self._troubles.items()},
            "sessions": self.census.as_json(),
            "session_overlaps": self.census.overlaps_as_json(),
            "accounts": {account: tally.as_json() for account, tally in self._tallies.items()},
        }
        head = json.dumps(verdict).encode()
        if not with_jobs:
            return head
        return head[:-1] + b', "jobs": [' + b",".join(record.rendered() for record in self._records) + b"]}"

    def _judge_duplicate(self, record: Record) -> None:
        key = (record.submission.command, record.submission.prompt, record.submission.message_id)
        previous = self._last_of.get(key)
        self._duplicates += previous is not None and previous.outcome not in _VISIBLY_ENDED_BADLY
        self._last_of[key] = record

    def _tally(self, account: str) -> Tally:
        return self._tallies.setdefault(account, Tally())
