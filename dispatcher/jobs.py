"""Jobs in Redis: accept, read, list, cancel. Each method describes one round trip (see ``connection.py``)."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Literal

from dispatcher.connection import Call, command
from dispatcher.errors import AccountNotFound, DuplicateJob, JobNotFound, NoFreeSlot, RequestInvalid, StoreReplyError
from dispatcher.keys import Keys, pool_of
from dispatcher.models import Job, Request, new_job_id, short_id
from dispatcher.replies import entropy, hash_of, table
from dispatcher.settings import Settings

IDEMPOTENCY_TTL_MS = 24 * 3600 * 1000
PRIORITY_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a job is accepted, beside what it asks for."""

    user: int = 1
    idempotency_key: str | None = None
    priority: int = 0
    channel: str | None = None
    deadline_s: float | None = None
    reply_url: str | None = None
    reply_ref: str | None = None
    mode: Literal["wait", "refuse"] = "wait"

    def __post_init__(self) -> None:
        if not -PRIORITY_MAX <= self.priority <= PRIORITY_MAX:
            raise RequestInvalid("priority", f"priority {self.priority} is not between -100 and 100")
        if self.deadline_s is not None and self.deadline_s <= 0:
            raise RequestInvalid("deadline_s", f"deadline_s {self.deadline_s:g} is not a positive number of seconds")
        if self.idempotency_key is not None and not 1 <= len(self.idempotency_key) <= 255:  # noqa: PLR2004 (contract)
            raise RequestInvalid("idempotency_key", "idempotency_key must have 1 to 255 characters")


class Jobs:
    """The jobs of one store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.keep_s = int(settings.jobs_keep_days * 86_400)

    def submit(self, request: Request, options: Options) -> Call[Job]:
        """Accept a job; it is leased a slot in the same step if one is free.

        Raises (when the reply is read):
            AccountNotFound: ``options.channel`` is no account of this user.
            DuplicateJob: the idempotency key was used with another request.
            NoFreeSlot: mode ``refuse``, and no account can take it now; nothing is stored.
        """
        pool = pool_of(options.user, request.upstream)
        body = request.model_dump_json(exclude_none=True)
        digest = hashlib.sha256(f"{request.kind}\n{options.channel or ''}\n{body}".encode()).hexdigest()
        settings = self.settings
        args: list[str | int | float] = [
            entropy(),
            int(settings.lease_ttl_s * 1000),
            self.keep_s,
            options.mode,
            new_job_id(),
            pool,
            options.user,
            options.priority,
            options.channel or "",
            request.maxJobs or "",
            math.ceil((options.deadline_s or 0) * 1000),  # 0 is no deadline
            int(settings.max_wait_s * 1000),
            options.idempotency_key or "",
            digest,
            IDEMPOTENCY_TTL_MS,
            *("kind", request.kind, "request", body),
        ]
        args += ["reply_url", options.reply_url] if options.reply_url else []
        args += ["reply_ref", options.reply_ref] if options.reply_ref else []

        def read(reply: Any) -> Job:
            match reply:
                case ["created" | "exists", [*record]]:
                    return Job.from_record(table(record))
                case ["conflict", str(first)]:
                    raise DuplicateJob(options.idempotency_key or "", first)
                case ["no_account"]:
                    raise AccountNotFound(options.channel or "")
                case ["full" | "throttled" | "unusable", *_]:
                    raise NoFreeSlot(pool)
                case _:
                    raise StoreReplyError("submit", reply)

        return Call("submit", tuple(args), read)

    def get(self, job_id: str, *, user: int | None = None) -> Call[Job]:
        """Read one job by either form of its id; of this user only, where one is given."""

        def read(reply: Any) -> Job:
            record = hash_of(reply)
            if not record or (user is not None and int(record["user"]) != user):
                raise JobNotFound(job_id)
            return Job.from_record(record)

        return command("HGETALL", self.keys.job(short_id(job_id)), read=read)

    def newest(
        self, *, user: int, status: str | None = None, limit: int = 100, before: str | None = None
    ) -> Call[list[str]]:
        """Ids of a user's jobs, newest first; ``before`` is an upper bound of ZREVRANGEBYSCORE, in ms."""
        key = self._list(user, status)
        return command("ZREVRANGEBYSCORE", key, before or "+inf", "-inf", "LIMIT", 0, limit, read=list)

    def newest_after(self, rank: int, *, user: int, status: str | None = None, limit: int = 100) -> Call[list[str]]:
        """Ids that follow the one at ``rank``, newest first."""
        return command("ZREVRANGE", self._list(user, status), rank + 1, rank + limit, read=list)

    def rank(self, job_id: str, *, user: int, status: str | None = None) -> Call[int | None]:
        """Where a job stands in a list, newest first; None if it is not in it."""
        return command("ZREVRANK", self._list(user, status), short_id(job_id), read=lambda reply: reply)

    def _list(self, user: int, status: str | None) -> str:
        return self.keys.of("jobs", str(user), status) if status else self.keys.of("jobs", str(user))

    def record(self, job_id: str) -> Call[Job | None]:
        """Read one job of a list; None if its record has expired meanwhile."""

        def read(reply: Any) -> Job | None:
            record = hash_of(reply)
            return Job.from_record(record) if record else None

        return command("HGETALL", self.keys.job(job_id), read=read)

    def cancel(self, job_id: str, *, user: int | None = None) -> Call[Job]:
        """Cancel for the caller at once; a final job is returned unchanged.

        Raises (when the reply is read):
            JobNotFound: no such job of this user.
        """
        args = (
            entropy(),
            int(self.settings.lease_ttl_s * 1000),
            self.keep_s,
            short_id(job_id),
            "" if user is None else user,
            int(self.settings.hold_s * 1000),
            1 if self.settings.cancel_frees_slot == "at_once" else 0,
        )

        def read(reply: Any) -> Job:
            match reply:
                case ["ok", [*record]]:
                    return Job.from_record(table(record))
                case ["missing"]:
                    raise JobNotFound(job_id)
                case _:
                    raise StoreReplyError("cancel", reply)

        return Call("cancel", args, read)
