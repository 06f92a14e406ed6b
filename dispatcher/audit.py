"""Hold what Redis knows against itself: jobs, leases, slots, free sets, deliveries.

Names are listed by plain, bounded reads; what they name is judged by the script ``audit``, up to 256 at a time, each on
the state of that instant. So a name that is listed late can only be judged as it is by then, and a living fleet, whose
every transition is one step, is never seen half done. Nothing is locked, and no call holds the server for more than
some milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dispatcher.connection import Call, command
from dispatcher.errors import StoreReplyError
from dispatcher.keys import Keys, rule_for
from dispatcher.leases import REDELIVERIES_MAX, STRIKE_MS
from dispatcher.plan import Plan, pieces
from dispatcher.replies import entropy
from dispatcher.settings import Settings

Repairs = Literal["none", "free", "all"]
Item = tuple[str, str, str]
"""What, where, name: as ``lua/audit.lua`` takes them."""

ITEMS_A_CALL = 64
"""Fewer than the script takes: such a call holds the server for some 2 ms."""
PAGE = 256
CONFIRM_S = 2 * STRIKE_MS / 1000 + 1
"""After this long a lease that was suspected is judged again: a living owner or reaper has spoken by then."""
LIVING = ("created", "started", "progress")
_ESCAPED = re.compile(r"([\\*?\[\]])")

MEANINGS: dict[str, str] = {
    "slot_without_lease": "A slot is held by a job that holds no lease on that channel: the account runs one job less.",
    "lease_without_slot": "A job holds a lease and no slot: the account may be given one job too many.",
    "free_wrong": "The set of channels with room is wrong about this one: jobs wait beside it, or meet it full.",
    "lease_without_delivery": "No worker will ever hear of this leased job: RQ does not have it, and nobody renews it.",
    "job_nowhere": "A job that has not ended waits in no line and holds no lease: it would never run.",
    "job_waits_and_runs": "A job is in a line and holds a lease: it could be granted a second slot.",
    "final_job_waits": "A job that has ended is still in a line.",
    "final_job_leased": "A job has ended, and its lease is not in state D: nobody watches for its end upstream.",
    "live_job_draining": "A lease is in state D, and its job has not ended.",
    "pending_misplaced": "A job waits in a line or at a place that is not its own.",
    "pending_without_record": "A line holds an id without a record.",
    "listed_without_record": "A list of jobs that have not ended holds an id without a record.",
    "list_mismatch": "The lists of a user tell another status than the job's record.",
    "record_unreadable": "A job's record lacks what it is judged by: status, user, pool or score.",
    "record_life": "A record that should stay would expire, or an ended one would stay for ever.",
    "lease_without_record": "A lease is held by a job without a record.",
    "lease_unreadable": "A lease lacks a state, token, pool or channel.",
    "expiry_missing": "A lease has no expiry: if its worker dies, nobody notices before its deadline.",
    "expiry_without_lease": "An expiry is kept for a job without a lease.",
    "deadline_missing": "A job that must end in time is not timed.",
    "deadline_stray": "A job is timed for which no time limit is left.",
    "token_beyond_fence": "A fencing token is larger than the last one issued: two owners could hold the same.",
    "over_limit": "An account holds more slots than max_jobs, granted after that limit was set.",
    "submission_without_lease": "The gate of a channel waits for a submission that nobody makes, 60 s at most.",
    "account_missing": "A channel is registered or holds slots, and its account is gone.",
    "account_unlisted": "An account and the lists that name it differ.",
    "account_unreadable": "An account has no readable max_jobs: nothing is granted on it.",
    "drain_unended": "A drained account should have been forgotten or paused.",
    "visit_unended": "A channel without an account is claimed for guests, and none is there.",
    "token_kept": "A job has ended and holds no slot, and its record still has the token that came with it.",
    "due_missing": "An account cools, and nobody will re-admit it when that is over.",
    "check_mismatch": "A disabled account is not checked by itself, or another one is.",
    "unreadable": "Redis refused to read what belongs to it, mostly a key of a wrong type.",
    "wrong_type": "A key is not of the type that the schema says.",
    "life_missing": "A key that must expire by itself would stay for ever.",
    "unknown_key": "A key in our namespace is not in the schema: another version or another program wrote it.",
}
"""Every kind of finding, in a sentence. The first four can be repaired."""
REPAIRABLE = tuple(MEANINGS)[:4]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: its kind (see ``MEANINGS``), where it is, and what was done."""

    kind: str
    job: str = ""
    pool: str = ""
    channel: str = ""
    detail: str = ""
    outcome: Literal["reported", "repaired", "suspected"] = "reported"

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What makes it the same finding when it is met again."""
        return self.kind, self.job, self.pool, self.channel

    def as_json(self) -> dict[str, Any]:
        """For programs; what is not known of its place is null."""
        return {
            "kind": self.kind,
            "job": self.job or None,
            "pool": self.pool or None,
            "channel": self.channel or None,
            "detail": self.detail,
            "repaired": self.outcome == "repaired",
        }


class Audit:
    """One walk over a store; what it finds is added to ``findings`` while it goes.

    Args:
        settings: of the fleet.
        repairs: ``none``, ``free`` (only what is derived, the sets of channels with room) or ``all`` four.
    """

    def __init__(self, settings: Settings, *, repairs: Repairs = "none") -> None:
        self.keys = Keys(settings.namespace)
        self.findings: list[Finding] = []
        self.is_learning = False
        """Whether the store was learning at some call: deliveries were not judged then, and nothing was repaired."""
        self._ttl_ms = int(settings.lease_ttl_s * 1000)
        self._repairs = repairs
        self._seen: set[Item] = set()
        self._told: set[Finding] = set()

    # --- what is walked over -------------------------------------------------------------------------------------

    def living(self) -> Plan[None]:
        """Judge all accounts, and all jobs that wait, run or drain; ended jobs are left alone."""
        keys = self.keys
        yield [self._call(())]  # whether it learns, also where there is nothing to judge
        yield from self._walk("HSCAN", keys.of("channels"), lambda channel, pool: ("channel", pool, channel))
        pools = yield from self._names("SMEMBERS", keys.of("pools"))
        users = yield from self._names("HKEYS", keys.of("users"))
        for pool in pools:
            yield from self._members("free", pool)
            yield from self._members("pending", pool)
        for name in ("expiry", "deadlines"):
            yield from self._members(name)
        for user in sorted({*users, *(pool.partition(":")[0] for pool in pools)}):
            for status in LIVING:
                yield from self._members("jobs", f"{user}:{status}")

    def everything(self) -> Plan[None]:
        """Judge every key of the namespace, found by SCAN: its name, type and life, and all that it tells of."""
        pattern, cursor = _ESCAPED.sub(r"\\\1", self.keys.namespace) + ":*", "0"
        yield [self._call(())]
        while True:
            ((cursor, found),) = yield [command("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE, read=_scanned)]
            ours = [key for key in found if not key.startswith(self.keys.of("rq:"))]
            yield from self._judge_keys(ours)
            names = [key.removeprefix(f"{self.keys.namespace}:") for key in ours]
            yield from self._judge(item for name in names if (item := _item_of(name)))
            for name in names:
                yield from self._behind(name)
            if cursor == "0":
                return

    def confirm(self, suspected: Sequence[Finding]) -> Plan[None]:
        """Judge suspected leases again, ``CONFIRM_S`` later; those that are still the same stay findings."""
        self.findings = [finding for finding in self.findings if finding.outcome != "suspected"]
        sound, self.findings = self.findings, []
        self._seen.clear()
        self._told.clear()
        yield from self._judge(("job", "", finding.job) for finding in suspected)
        before = {(*finding.place, finding.detail) for finding in suspected}
        self.findings = sound + [
            finding
            for finding in self.findings
            if finding.kind == "lease_without_delivery"
            and (finding.outcome != "suspected" or (*finding.place, finding.detail) in before)
        ]

    # --- how -----------------------------------------------------------------------------------------------------

    def _behind(self, name: str) -> Plan[None]:
        """Judge what a sorted set, set or hash of names tells of."""
        head, _, rest = name.partition(":")
        if (
            head in ("free", "accounts", "guests", "pending", "submitting")
            or name in ("expiry", "deadlines")
            or (head == "jobs" and rest.partition(":")[2] in LIVING)
        ):
            yield from self._members(head, rest)
        elif name == "channels":
            yield from self._walk("HSCAN", self.keys.of(name), lambda channel, pool: ("channel", pool, channel))

    def _members(self, head: str, where: str = "") -> Plan[None]:
        """Judge the members of one of our sets."""
        scan = "SSCAN" if head in ("accounts", "guests") else "ZSCAN"
        channels = dict.fromkeys(("free", "accounts", "guests"), "channel")
        what = {**channels, "pending": "pending", "jobs": "listed"}.get(head, "job")
        place = where if what != "job" else ""
        yield from self._walk(scan, self.keys.of(*filter(None, (head, where))), lambda name, _: (what, place, name))

    def _walk(self, scan: str, key: str, item: Any) -> Plan[None]:
        """Judge what a cursor leads over, a page at a time."""
        if not (yield from self._is_sound(key)):
            return
        cursor = "0"
        while True:
            ((cursor, members),) = yield [command(scan, key, cursor, "COUNT", PAGE, read=_pairs)]
            yield from self._judge(item(name, value) for name, value in members)
            if cursor == "0":
                return

    def _names(self, read: str, key: str) -> Plan[list[str]]:
        """Read a short set, or the names of a short hash."""
        if not (yield from self._is_sound(key)):
            return []
        (names,) = yield [command(read, key, read=sorted)]
        return [str(name) for name in names]

    def _is_sound(self, key: str) -> Plan[bool]:
        """Say whether a key is of its type, or is not there; what cannot be read is a finding and ends no walk."""
        return not (yield from self._judge_keys([key]))

    def _judge(self, items: Iterable[Item]) -> Plan[None]:
        """Judge things, each once a walk; who is in a line or list is judged as a job, too."""
        fresh = []
        for item in items:
            own = [item] if item[0] in ("job", "channel") else [item, ("job", "", item[2])]
            fresh += [each for each in own if each not in self._seen]
            self._seen.update(own)
        for chunk in pieces(fresh, ITEMS_A_CALL):
            (found,) = yield [self._call(chunk)]
            self._tell(found)

    def _tell(self, found: Iterable[Finding]) -> None:
        for finding in found:
            if finding not in self._told:
                self._told.add(finding)
                self.findings.append(finding)

    def _judge_keys(self, keys: Sequence[str]) -> Plan[list[str]]:
        """Hold names, types and lives against the schema; returns the keys of a wrong type."""
        types = yield [command("TYPE", key, read=str) for key in keys]
        lives = yield [command("PTTL", key, read=int) for key in keys]
        wrong = []
        for key, kind, life_ms in zip(keys, types, lives, strict=True):
            rule = rule_for(key, self.keys.namespace)
            if kind == "none":
                continue
            if rule is None:
                self._tell([Finding("unknown_key", detail=f"{key} ({kind})")])
            elif rule.type != kind:
                wrong.append(key)
                self._tell([Finding("wrong_type", detail=f"{key} is a {kind}, not a {rule.type}")])
            elif rule.life == "ttl" and life_ms == _NO_TTL:
                self._tell([Finding("life_missing", detail=key)])
        return wrong

    def _call(self, items: Sequence[Item]) -> Call[list[Finding]]:
        flat = [part for item in items for part in item]

        def read(reply: Any) -> list[Finding]:
            match reply:
                case [0 | 1 as learning, [*found]]:
                    self.is_learning = self.is_learning or bool(learning)
                    return [Finding(*fields) for fields in found]
                case _:
                    raise StoreReplyError("audit", reply)

        return Call("audit", (entropy(), self._ttl_ms, self._repairs, STRIKE_MS, REDELIVERIES_MAX, *flat), read)


_NO_TTL = -1
"""What PTTL says of a key that stays; of one that is gone it says -2."""


def _item_of(name: str) -> Item | None:
    """The thing that a key is about, if that is a job or a channel."""
    head, _, rest = name.partition(":")
    if head in ("job", "lease"):
        return "job", "", rest
    if head in ("account", "slots", "submitting"):
        pool, _, channel = rest.rpartition(":")
        return "channel", pool, channel
    return None


def _scanned(reply: Any) -> tuple[str, list[str]]:
    cursor, keys = reply
    return str(cursor), [str(key) for key in keys]


def _pairs(reply: Any) -> tuple[str, list[tuple[str, str]]]:
    """Read a page of HSCAN, ZSCAN or SSCAN, which redis-py shapes into a dict, pairs or members."""
    cursor, members = reply
    if isinstance(members, dict):
        return str(cursor), list(members.items())
    return str(cursor), [(str(m[0]), str(m[1])) if isinstance(m, (tuple, list)) else (str(m), "") for m in members]
