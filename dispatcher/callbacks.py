"""The outbox: callbacks that are owed to the callers of jobs, from the step that owes them until they are heard.

The script that makes a job final puts its callback here; `caller.py` makes the calls. A callback is made at least once,
under one id: a service that dies in the call, or before it could say what became of it, leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dispatcher.connection import Call, command
from dispatcher.errors import JobNotFound, JobStateError, NoReplyUrl, StoreReplyError
from dispatcher.keys import Keys
from dispatcher.models import short_id
from dispatcher.plan import Plan
from dispatcher.replies import hash_of, is_wanted, milliseconds
from dispatcher.settings import Settings

AGAIN_MS = 60_000
"""When a callback that was taken, and of which nobody says what became of it, is made again."""
ASIDE_MIN_MS, ASIDE_MAX_MS = 20, 2000
"""When those of a host that is being called often enough are looked at again: a host that hangs costs no more looks."""
HOST_CALLS_MAX = 4
"""Calls that one service makes to one host at once."""
REASON_CHARACTERS = 200
_FINAL = "-final"

Where = Literal["callbacks", "callbacks_dead"]


@dataclass(frozen=True, slots=True)
class Due:
    """A callback that is ours to make now; ``attempts`` and ``tried_s`` since the first tell what went before."""

    job_id: str
    id: str
    """The `webhook-id`: the same in each attempt."""
    attempts: int
    tried_s: float
    host: str
    """With its port, as the job's replyUrl has it."""

    @property
    def is_final(self) -> bool:
        """Whether it tells of the job's end: of progress, later news make up for what was not heard."""
        return self.id.endswith(_FINAL)


@dataclass(frozen=True, slots=True)
class Busy:
    """Calls that are being made to a host, and since when the first of them is."""

    calls: int
    for_s: float


@dataclass(frozen=True, slots=True)
class Owed:
    """A callback as the outbox lists it; ``at_ms`` is its next attempt, or when it was given up."""

    job_id: str
    id: str
    is_dead: bool
    attempts: int
    at_ms: int
    error: str
    reply_url: str


class Outbox:
    """The callbacks of one store."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.namespace)
        self.keep_ms = int(settings.jobs_keep_days * 86_400_000)

    # --- for whoever makes the calls ---------------------------------------------------------------------------

    def take(self, count: int, *, under_way: Mapping[str, Busy]) -> Call[tuple[list[Due], bool]]:
        """Take due callbacks, ``count`` at most; also returns whether more may be due.

        Each is made again in a minute unless it is reported on before.

        Args:
            count: how many.
            under_way: calls that the caller is making, by host: of one host it gets no more than four. What is due to
                a host that has enough is looked at again after as long as its calls take.
        """
        flat = [part for host, busy in under_way.items() for part in (host, busy.calls, _aside_ms(busy))]

        def read(reply: Any) -> tuple[list[Due], bool]:
            match reply:
                case ["ok", 0 | 1 as more, *taken]:
                    return [_due(*fields) for fields in taken], bool(more)
                case _:
                    raise StoreReplyError("callback_take", reply)

        return Call("callback_take", (count, AGAIN_MS, HOST_CALLS_MAX, ASIDE_MIN_MS, *flat), read)

    def done(self, due: Due) -> Call[bool]:
        """Take a callback out: it was heard. Returns whether it was still the one that waits."""
        return Call("callback_done", (due.job_id, due.id), is_wanted("callback_done"))

    def put_off(self, due: Due, *, delay_s: float, reason: str) -> Call[bool]:
        """Make a callback again later; returns whether it was still the one that waits."""
        args = (due.job_id, due.id, due.attempts, int(delay_s * 1000), reason[:REASON_CHARACTERS])
        return Call("callback_put_off", args, is_wanted("callback_put_off"))

    def bury(self, due: Due, *, reason: str) -> Call[bool]:
        """Give a callback up, and keep it for people to look at; returns whether it was still the one that waits."""
        args = (due.job_id, due.id, due.attempts, reason[:REASON_CHARACTERS], self.keep_ms)
        return Call("callback_bury", args, is_wanted("callback_bury"))

    # --- for people ----------------------------------------------------------------------------------------------

    def replay(self, job_id: str) -> Call[str]:
        """Make an ended job's callback now, whatever became of it before; returns the short id of the job.

        Raises (when the reply is read):
            JobNotFound: no such job, or its record has expired.
            JobStateError: it has not ended.
            NoReplyUrl: its caller asked for no callback.
        """
        job_id = short_id(job_id)

        def read(reply: Any) -> str:
            match reply:
                case ["ok"]:
                    return job_id
                case ["missing"]:
                    raise JobNotFound(job_id)
                case ["not_final", str(status)]:
                    raise JobStateError(job_id, status, "a final one")
                case ["no_url"]:
                    raise NoReplyUrl(job_id)
                case _:
                    raise StoreReplyError("callback_replay", reply)

        return Call("callback_replay", (job_id,), read)

    def counts(self) -> Plan[tuple[int, int]]:
        """Count the callbacks that wait, and the dead letters that are not forgotten yet."""
        (now_ms,) = yield [command("TIME", read=milliseconds)]
        waiting, dead = yield [
            command("ZCARD", self.keys.of("callbacks"), read=int),
            command("ZCOUNT", self.keys.of("callbacks_dead"), now_ms - self.keep_ms, "+inf", read=int),
        ]
        return waiting, dead

    def listed(self, where: Where, *, limit: int) -> Plan[list[Owed]]:
        """List the callbacks that wait, or the dead ones: the sooner first."""
        (entries,) = yield [command("ZRANGE", self.keys.of(where), 0, limit - 1, "WITHSCORES", read=_scored)]
        told = yield [command("HGETALL", self.keys.of("callback", job), read=hash_of) for job, _ in entries]
        urls = yield [
            command("HGET", self.keys.job(job), "reply_url", read=lambda url: url or "") for job, _ in entries
        ]
        is_dead = where == "callbacks_dead"
        return [
            Owed(job, kept["id"], is_dead, int(kept["attempts"]), at_ms, kept.get("error", ""), url)
            for (job, at_ms), kept, url in zip(entries, told, urls, strict=True)
            if "id" in kept and url
        ]

    def forget(self, *, before_ms: int) -> Call[int]:
        """Forget the dead letters that were given up before an instant; returns how many."""
        return command("ZREMRANGEBYSCORE", self.keys.of("callbacks_dead"), "-inf", f"({before_ms}", read=int)


def _aside_ms(busy: Busy) -> int:
    return max(ASIDE_MIN_MS, min(ASIDE_MAX_MS, int(busy.for_s * 1000)))


def _due(job_id: str, callback_id: str, attempts: str, tried_ms: str, host: str) -> Due:
    return Due(job_id, callback_id, int(attempts), int(tried_ms) / 1000, host)


def _scored(reply: Iterable[Sequence[Any]]) -> list[tuple[str, int]]:
    """Read ZRANGE with scores, which redis-py shapes into pairs."""
    return [(str(member), int(float(score))) for member, score in reply]
