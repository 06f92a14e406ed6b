"""Jobs in Redis: accept, read, list, cancel. A method describes one round trip (see ``connection.py``), or a plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dispatcher.connection import Call, command
from dispatcher.errors import (
    AccountConflict,
    AccountNotFound,
    DuplicateJob,
    JobNotFound,
    JobStateError,
    LeasingClosed,
    NoFreeSlot,
    RecordUnreadable,
    StoreReplyError,
)
from dispatcher.keys import Keys, pool_of
from dispatcher.models import FINAL, Job, Parent, new_job_id, short_id, wire_id
from dispatcher.options import Options, check_request
from dispatcher.plan import Plan, pieces
from dispatcher.replies import entropy, hash_of, table
from dispatcher.requests import Request, request_type
from dispatcher.settings import Settings

IDEMPOTENCY_TTL_MS = 24 * 3600 * 1000
READ_A_CALL = 256
_SLOT_STATES = frozenset("RCSAU")
"""States of a lease that holds a slot for a job which has not ended; see docs/job-lifecycle.md."""


class Jobs:
    """The jobs of one store."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.keep_s = int(settings.jobs_keep_days * 86_400)

    def submit(self, request: Request, options: Options, *, parent: Parent | None = None) -> Call[Job]:
        """Accept a job; it is leased a slot in the same step if one is free.

        Args:
            request: what to make; its files are in the storage by the time the call is made.
            options: how it is accepted.
            parent: of a pressed button, what the job keeps of the one below whose result it stands.

        Raises:
            RequestInvalid: ``request`` is none of the kinds of request, or a file of it is too large.

        Raises (when the reply is read):
            AccountNotFound: ``options.channel`` is no account of this user, and no guest comes with a token of its own.
            AccountConflict: a guest's channel is another user's.
            DuplicateJob: the idempotency key was used with another request.
            NoFreeSlot: mode ``refuse``, and no account can take it now; nothing is stored.
            LeasingClosed: mode ``refuse``, and the store is learning; nothing is stored.
        """
        check_request(request, upload_max_bytes=self.settings.upload_max_bytes)
        pool = pool_of(options.user, request.upstream)
        body = request.model_dump_json(exclude_none=True)
        guest = options.guest
        asked = [request.kind, options.channel or "", body, *((guest.server, guest.digest) if guest else ())]
        asked += [told for told in (options.reply_url, options.reply_ref) if told]
        digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
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
            min(request.maxJobs or guest.max_jobs, guest.max_jobs) if guest else request.maxJobs or "",
            math.ceil((options.deadline_s or 0) * 1000),  # 0 is no deadline
            int(settings.max_wait_s * 1000),
            options.idempotency_key or "",
            digest,
            IDEMPOTENCY_TTL_MS,
            math.ceil(options.held_s * 1000),
            *("kind", request.kind, "request", body),
        ]
        args += ["reply_url", options.reply_url] if options.reply_url else []
        args += ["reply_on", "progress"] if options.reply_url and settings.callback_progress else []
        args += ["reply_ref", options.reply_ref] if options.reply_ref else []
        args += ["retry_of", options.retry_of] if options.retry_of else []
        args += ["parent", parent.model_dump_json()] if parent else []
        args += guest.record_fields() if guest else []

        def read(reply: Any) -> Job:
            match reply:
                case ["created" | "exists", [*record]]:
                    return Job.from_record(table(record))
                case ["conflict", str(first)]:
                    raise DuplicateJob(options.idempotency_key or "", first)
                case ["no_account"]:
                    raise AccountNotFound(options.channel or "")
                case ["foreign"]:
                    raise AccountConflict(f"Channel {options.channel} is registered by another user")
                case ["learning", wait_ms]:
                    raise LeasingClosed(int(wait_ms))
                case ["full", [*running]]:
                    raise NoFreeSlot(pool, running=running)
                case ["throttled", wait_ms]:
                    raise NoFreeSlot(pool, "throttled", wait_ms=int(wait_ms))
                case ["unusable"]:
                    raise NoFreeSlot(pool, "unusable")
                case _:
                    raise StoreReplyError("submit", reply)

        return Call("submit", tuple(args), read)

    def answer(self, job_id: str) -> Call[Job]:
        """Read a job to answer its submission with it: from here on it waits like any other where it is refused.

        Raises (when the reply is read):
            NoFreeSlot: it was refused while the answer was held, and ended.
            JobNotFound: its record is gone.
        """

        def read(reply: Any) -> Job:
            match reply:
                case ["ok", [*record]]:
                    return _unless_refused(table(record))
                case ["missing"]:
                    raise JobNotFound(job_id)
                case _:
                    raise StoreReplyError("answer", reply)

        return Call("answer", (short_id(job_id),), read)

    def get(self, job_id: str, *, user: int | None = None) -> Call[Job]:
        """Read one job by either form of its id; of this user only, where one is given."""

        def read(reply: Any) -> Job:
            record = hash_of(reply)
            if not record or (user is not None and record.get("user") != str(user)):
                raise JobNotFound(job_id)
            return Job.from_record(record)

        return command("HGETALL", self.keys.job(short_id(job_id)), read=read)

    def again(self, job_id: str, *, user: int) -> Call[tuple[Request, Options]]:
        """Read what makes an ended job's request a new job: the same request, pin, priority, time and reply.

        Its idempotency key is the ended job's own, so that repeating a retry makes no second job.

        Raises (when the reply is read):
            JobNotFound: no such job of this user.
            JobStateError: it has not ended.
            RequestInvalid: its kind of request is of an upstream that is not installed here.
        """

        def read(reply: Any) -> tuple[Request, Options]:
            record = hash_of(reply)
            if not record or record.get("user") != str(user):
                raise JobNotFound(job_id)
            job = Job.from_record(record)
            if not job.is_final:
                raise JobStateError(job.id, job.status, "a final one")
            given_ms = int(record["deadline_ms"]) - int(record["created_ms"])
            model = request_type(record["pool"].partition(":")[2], job.kind)
            return model(**job.request), Options(
                user=user,
                idempotency_key=f"retry:{job.id}",
                priority=job.priority,
                channel=record.get("pin") or None,
                deadline_s=given_ms / 1000 if given_ms > 0 else None,
                reply_url=job.replyUrl,
                reply_ref=job.replyRef,
                retry_of=job.id,
            )

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
        """Read one job of a list; None if its record has expired meanwhile, or cannot be read, which is logged.

        One bad record must not hide the others.
        """

        def read(reply: Any) -> Job | None:
            record = hash_of(reply)
            try:
                return Job.from_record(record) if record else None
            except RecordUnreadable as error:
                _warn(job_id, error.why)
                return None

        return command("HGETALL", self.keys.job(job_id), read=read)

    def executing(self, *, user: int) -> Plan[list[str]]:
        """Read the wire ids of the user's jobs that hold a slot and have not ended, the oldest first.

        Every lease is in ``expiry``, so there are never more to read than there are slots in use.
        """
        mine, leased = self._list(user, None), self.keys.of("expiry")
        (ids,) = yield [command("ZINTER", 2, mine, leased, "WEIGHTS", 1, 0, read=list)]
        held: list[str] = []
        for piece in pieces(ids, READ_A_CALL):
            states = yield [command("HGET", self.keys.lease(job_id), "state", read=str) for job_id in piece]
            held += [job_id for job_id, state in zip(piece, states, strict=True) if state in _SLOT_STATES]
        return [wire for wire, status in (yield from self._wire_ids_and_statuses(held)) if status not in FINAL]

    def wire_ids(self, job_ids: Sequence[str]) -> Plan[list[str]]:
        """Read the ids that HTTP shows for short ones; a job whose record has expired is left out."""
        return [wire for wire, _ in (yield from self._wire_ids_and_statuses(job_ids))]

    def _wire_ids_and_statuses(self, job_ids: Sequence[str]) -> Plan[list[tuple[str, str]]]:
        def read(reply: Any) -> Iterator[tuple[str, str]]:
            job_id, pool, channel, status = reply
            if job_id and pool and status:
                user, _, upstream = pool.partition(":")
                yield wire_id(job_id, int(user), channel or "0", upstream), status

        found: list[tuple[str, str]] = []
        for piece in pieces(job_ids, READ_A_CALL):
            fields = ("id", "pool", "wire_channel", "status")
            records = yield [command("HMGET", self.keys.job(job_id), *fields, read=read) for job_id in piece]
            found += [row for rows in records for row in rows]
        return found

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


def _unless_refused(record: dict[str, str]) -> Job:
    if refused := record.get("refused"):
        why, _, wait_ms = refused.partition(" ")
        raise NoFreeSlot(
            record["pool"], "unusable" if why == "unusable" else "throttled", wait_ms=int(wait_ms) if wait_ms else None
        )
    return Job.from_record(record)


def _warn(job_id: str, reason: str) -> None:
    from dispatcher.log import get_logger  # noqa: PLC0415 (structlog loads rich; no application shall wait for that)

    log = get_logger(__name__)
    log.warning("job record unreadable", job_id=job_id, reason=reason)
