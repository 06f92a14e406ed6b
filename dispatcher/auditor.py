"""Watches over the store: every 30 s all that lives in it is held against itself, and what is wrong is logged, once.

It mends the sets of channels with room and nothing else. They are derived: rebuilt, they say what accounts and slots
say, whoever is right about those. The other repairs decide who holds a slot and who runs a job; that they are needed at
all means that something wrote where only scripts write, and then a person should look before `dispatcher doctor
--repair` acts.

A step is one call, with a pause behind it, so that a store of any size is walked through without being kept busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dispatcher.audit import MEANINGS, Audit, Finding
from dispatcher.connection import AsyncStore
from dispatcher.log import get_logger
from dispatcher.loop import Loop
from dispatcher.plan import Plan
from dispatcher.settings import Settings

INTERVAL_S = 30.0
PAUSE_S = 0.05

log = get_logger(__name__)


class Auditor(Loop):
    """Walks over what lives in the store, again and again."""

    def __init__(self, store: AsyncStore, settings: Settings) -> None:
        super().__init__()
        self._store = store
        self._settings = settings
        self._audit: Audit | None = None
        self._walk: Plan[None] | None = None
        self._calls: Sequence[Any] = ()
        self._known: set[tuple[str, str, str, str]] = set()
        self._suspected: set[Finding] = set()

    def interval(self) -> float:
        """50 ms within a walk, 30 s between two."""
        return INTERVAL_S if self._walk is None else PAUSE_S

    async def step(self) -> None:
        """Make the next call of the walk; where it fails, the walk begins anew."""
        walk, audit = self._walk, self._audit
        if walk is None or audit is None:
            self._audit = audit = Audit(self._settings, repairs="free")
            walk = audit.living()
            self._calls = next(walk)
        self._walk = None
        try:
            self._calls = walk.send(await self._store.do_many(self._calls))
        except StopIteration:
            self._report(audit.findings)
        else:
            self._walk = walk

    def _report(self, findings: Sequence[Finding]) -> None:
        """Log what was not there at the last walk; a lease is reported when two walks found it unchanged."""
        suspected = {finding for finding in findings if finding.outcome == "suspected"}
        standing = [f for f in findings if f.outcome != "suspected" or f in self._suspected]
        for finding in standing:
            if finding.outcome == "repaired":
                log.warning("store mended", **_fields(finding))
            elif finding.place not in self._known:
                log.error("store unsound", **_fields(finding), meaning=MEANINGS[finding.kind])
        self._known = {finding.place for finding in standing if finding.outcome != "repaired"}
        self._suspected = suspected


def _fields(finding: Finding) -> dict[str, str]:
    named = {"job_id": finding.job, "pool": finding.pool, "channel_id": finding.channel, "detail": finding.detail}
    return {"kind": finding.kind, **{name: value for name, value in named.items() if value}}
