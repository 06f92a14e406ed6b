"""Why a job waits, and who holds it when it does not: what `dispatcher job explain` shows.

Reads alone, in bounded chunks: an account may change between two of them, as it may change a moment later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dispatcher.connection import command
from dispatcher.errors import JobNotFound
from dispatcher.keys import Keys
from dispatcher.learning import Learning
from dispatcher.models import Job, short_id
from dispatcher.plan import Plan, pieces
from dispatcher.replies import hash_of, milliseconds
from dispatcher.settings import Settings

ACCOUNTS_SHOWN = 50
ACCOUNTS_A_CHUNK = 1000

_FIELDS = ("state", "revive", "reason", "max_jobs", "cooling_until_ms", "cooling_reason")


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account of the job's pool: ``kind`` to count by, ``reason`` to read."""

    channel: str
    kind: str
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a job stands.

    Args:
        job: its record.
        sentence: the answer in one sentence.
        line: the line it waits in, ``any account`` or ``channel <id>``; None when it does not wait.
        ahead: jobs before it in that line.
        accounts: the first fifty accounts that could take it, with their reasons.
        counts: all of them by kind of reason.
        lease: who holds it: state, channel, owner, fencing token, seconds until the lease expires and until its
            deadline; empty when nobody does.
        refused_by: channels that have refused it.
        deadline_left_s: seconds until it ends by its own deadline; None without one.
    """

    job: Job
    sentence: str
    line: str | None
    ahead: int
    accounts: Sequence[AccountView]
    counts: dict[str, int]
    lease: dict[str, Any]
    refused_by: Sequence[str]
    deadline_left_s: float | None

    def as_json(self) -> dict[str, Any]:
        """For programs: the job's record in JSON, all else as it is named here."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("job", "accounts")}
        return {
            "job": self.job.model_dump(mode="json"),
            "accounts": [asdict(account) for account in self.accounts],
            **told,
        }


class Explainer:
    """Explains the jobs of one store."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.namespace)
        self._learning = Learning(settings)

    def explain(self, job_id: str, *, user: int) -> Plan[Explanation]:
        """Read where a job stands.

        Raises:
            JobNotFound: no such job of this user.
        """
        short = short_id(job_id)
        record, lease, now_ms, learning_ms, expires_ms = yield [
            command("HGETALL", self.keys.job(short), read=hash_of),
            command("HGETALL", self.keys.lease(short), read=hash_of),
            command("TIME", read=milliseconds),
            self._learning.left_ms(),
            command("ZSCORE", self.keys.of("expiry"), short, read=_score),
        ]
        if not record or record.get("user") != str(user):
            raise JobNotFound(job_id)
        job, pin = Job.from_record(record), record.get("pin") or ""
        waits = not job.is_final and not lease
        ahead, accounts = (yield from self._line(record, now_ms=now_ms)) if waits else (0, [])
        counts = dict(Counter(account.kind for account in accounts).most_common())
        deadline_ms = int(record.get("deadline_ms") or 0)
        return Explanation(
            job=job,
            sentence=_sentence(job, lease, counts, pin=pin, ahead=ahead, learning_ms=learning_ms),
            line=_line_name(pin) if waits else None,
            ahead=ahead,
            accounts=accounts[:ACCOUNTS_SHOWN],
            counts=counts,
            lease=_shown(lease, now_ms=now_ms, expires_ms=expires_ms),
            refused_by=record.get("refused_by", "").split(),
            deadline_left_s=(deadline_ms - now_ms) / 1000 if deadline_ms and not job.is_final else None,
        )

    def _line(self, record: dict[str, str], *, now_ms: int) -> Plan[tuple[int, list[AccountView]]]:
        """Read how many are ahead of a waiting job, and each account that may take it."""
        pool, pin, limit = record["pool"], record.get("pin") or "", int(record.get("limit") or 0)
        line = self.keys.of("pending", pool, *([pin] if pin else []))
        ahead, channels = yield [
            command("ZRANK", line, record["id"], read=lambda rank: int(rank or 0)),
            command("SMEMBERS", self.keys.of("accounts", pool), read=sorted),
        ]
        accounts: list[AccountView] = []
        for chunk in pieces([pin] if pin else channels, ACCOUNTS_A_CHUNK):
            accounts += yield from self._views(pool, chunk, record, limit=limit, now_ms=now_ms)
        rest_s = (int(record.get("rest_until_ms") or 0) - now_ms) / 1000
        if rest_s > 0:
            reason = f"the job's own token was held up; it rests {rest_s:.0f} s more"
            accounts = [AccountView(pin, "resting", reason)]
        return ahead, accounts

    def _views(
        self, pool: str, channels: Sequence[str], record: dict[str, str], *, limit: int, now_ms: int
    ) -> Plan[list[AccountView]]:
        is_pinned, is_guest = bool(record.get("pin")), "own_sealed" in record
        records = yield [
            command("HMGET", self.keys.account(pool, channel), *_FIELDS, read=list) for channel in channels
        ]
        used = yield [command("ZCARD", self.keys.of("slots", pool, channel), read=int) for channel in channels]
        pinned = yield [command("ZCARD", self.keys.of("pending", pool, channel), read=int) for channel in channels]
        return [
            _view(
                channel,
                dict(zip(_FIELDS, values, strict=True)),
                used=held,
                limit=limit,
                now_ms=now_ms,
                pinned=0 if is_pinned else waiting,
                is_guest=is_guest,
            )
            for channel, values, held, waiting in zip(channels, records, used, pinned, strict=True)
        ]


def _view(
    channel: str,
    account: dict[str, str | None],
    *,
    used: int,
    limit: int,
    now_ms: int,
    pinned: int,
    is_guest: bool,
) -> AccountView:
    """Say why an account does not take the job now, the most lasting reason first."""
    state, max_jobs = account["state"] or "deleted", int(account["max_jobs"] or 0)
    cooling_s = (int(account["cooling_until_ms"] or 0) - now_ms) / 1000
    takes_guests = state == "disabled" and bool(account["revive"])  # its own token was refused, not theirs
    if state != "active" and not (is_guest and takes_guests):
        kind, reason = state, f"{state}: {account['reason']}" if account["reason"] else state
    elif cooling_s > 0:
        why = f": {account['cooling_reason']}" if account["cooling_reason"] else ""
        kind, reason = "cooling", f"cooling {cooling_s:.0f} s{why}"
    elif used >= max_jobs:
        kind, reason = "full", f"full {used}/{max_jobs}"
    elif limit and used >= limit:
        kind, reason = "limit", f"runs {used}, and the job asks for fewer than {limit}"
    elif pinned:
        kind, reason = "pinned", f"kept for {pinned} jobs that wait for it alone"
    else:
        kind, reason = "free", f"free {used}/{max_jobs}"
    return AccountView(channel, kind, reason)


def _sentence(
    job: Job, lease: dict[str, str], counts: dict[str, int], *, pin: str, ahead: int, learning_ms: int
) -> str:
    if job.is_final:
        held = f"; its slot on {lease['channel']} is held until the upstream ends" if lease else ""
        return f"It has ended: {job.status}{f' ({job.error})' if job.error else ''}{held}."
    if lease:
        return f"It holds a slot on {lease['channel']} (state {lease['state']}){_owned(lease)}."
    if learning_ms:
        left_s = learning_ms / 1000
        return f"Nothing is granted for {left_s:.0f} s more: the server changed, and owners tell it what they hold."
    where = _line_name(pin)
    if not counts:
        return f"It waits for {where}, and none is registered."
    if "free" in counts and not ahead:
        return f"It waits for {where}; a slot is free, and the next grant takes it."
    those_ahead = f"; {ahead} jobs are ahead of it" if ahead else ""
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    return f"It waits for {where}: {told}{those_ahead}."


def _owned(lease: dict[str, str]) -> str:
    return f", worked on by {lease['owner']}" if lease.get("owner") else ", and no worker has taken it up yet"


def _line_name(pin: str) -> str:
    return f"channel {pin}" if pin else "any account"


def _shown(lease: dict[str, str], *, now_ms: int, expires_ms: int | None) -> dict[str, Any]:
    if not lease:
        return {}
    deadline_ms = int(lease.get("deadline_ms") or 0)
    return {
        "state": lease["state"],
        "channel": lease["channel"],
        "owner": lease.get("owner") or None,
        "token": lease["token"],
        "remote": lease.get("remote") or None,
        "expires_in_s": (expires_ms - now_ms) / 1000 if expires_ms else None,
        "deadline_in_s": (deadline_ms - now_ms) / 1000 if deadline_ms else None,
        "is_suspect": bool(lease.get("suspect")),
    }


def _score(reply: Any) -> int | None:
    return None if reply is None else int(float(reply))
