"""What leaves: jobs and accounts, as frozen models. What enters is in ``requests.py``.

Field names are the HTTP contract's (``docs/http-api.md``), also in Python, so that a job reads the same everywhere.
"""

from __future__ import annotations

import json
import re
import secrets
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dispatcher.errors import RecordUnreadable
from dispatcher.requests import DISCORD, Kind

Status = Literal["created", "started", "progress", "completed", "failed", "moderated", "cancelled"]
FINAL: frozenset[str] = frozenset({"completed", "failed", "moderated", "cancelled"})
_ID_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID = re.compile(r"\d{17}[A-Z2-7]{6}")
_WIRE_ID = re.compile(r"job:(\d{17}[A-Z2-7]{6})-user:(\d+)-channel:(\S+)-bot:([a-z0-9_]+)")


def new_job_id(at: datetime | None = None) -> str:
    """Make a job id: ``yyyyMMddHHmmssSSS`` in UTC and six random base-32 characters."""
    moment = at or datetime.now(UTC)
    stamp = moment.strftime("%Y%m%d%H%M%S") + f"{moment.microsecond // 1000:03d}"
    return stamp + "".join(secrets.choice(_ID_ALPHABET) for _ in range(6))


def short_id(job_id: str) -> str:
    """Take either form of a job id, the wire's or the short one, and return the short one.

    What has neither form is returned as it is: nothing is stored under it.
    """
    wire = _WIRE_ID.fullmatch(job_id)
    return wire[1] if wire else job_id.encode(errors="replace").decode()  # a lone surrogate could not even be sent


class _Outside(BaseModel):
    """What an upstream sends: fields we do not know are its own business."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Attachment(_Outside):
    """One result file; ``size`` in bytes, ``width`` and ``height`` in pixels."""

    id: str
    filename: str
    url: str
    proxy_url: str | None = None
    content_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None


class Message(_Outside):
    """The bot's message as far as a job shows it, newest state."""

    messageId: str
    content: str = ""
    timestamp: str | None = None
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[dict[str, Any], ...] = ()
    buttons: tuple[str, ...] = ()
    progress_percent: int | None = None


class FileShown(_Outside):
    """A file that the caller gave, as the job shows it; ``size`` in bytes."""

    size: int
    type: str


class Parent(_Outside):
    """The job below whose result a button was pressed, as it stood then.

    ``command`` and ``prompt`` are those of the command that the row of buttons began with: the bot repeats them.
    ``files`` are the ids of the result's attachments.
    """

    jobid: str
    messageId: str
    command: Kind
    prompt: str | None = None
    files: tuple[str, ...] = ()


def _instant(milliseconds: str | None) -> datetime | None:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC) if milliseconds else None


class Job(BaseModel):
    """A job as its caller sees it: the contract's fields, instants as aware datetimes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    jobid: str
    user: int
    kind: str
    verb: str
    status: Status
    created: datetime
    updated: datetime
    started: datetime | None = None
    finished: datetime | None = None
    request: dict[str, Any]
    prompt: str | None = None
    image: FileShown | None = None
    face: FileShown | None = None
    button: str | None = None
    parentJobId: str | None = None
    parent: Parent | None = None
    priority: int = 0
    channel: str | None = None
    server: str | None = None
    discord: str | None = None
    maxJobs: int | None = None
    replyUrl: str | None = None
    replyRef: str | None = None
    messageId: str | None = None
    content: str = ""
    timestamp: str | None = None
    attachments: tuple[Attachment, ...] = ()
    embeds: tuple[dict[str, Any], ...] = ()
    buttons: tuple[str, ...] = ()
    progress_percent: int | None = None
    error: str | None = None
    errorDetails: str | None = None
    attempts: int = 0
    deliveries: int = 0
    retry_of: str | None = None
    """The ended job whose request this one repeats."""
    history: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the job has ended, in whatever way."""
        return self.status in FINAL

    @classmethod
    def from_record(cls, record: dict[str, str]) -> Job:
        """Read a job from the fields of its record in Redis.

        Raises:
            RecordUnreadable: it was edited, or written by another version.
        """
        try:
            return cls._read(record)
        except ValidationError as error:
            named = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
            raise RecordUnreadable(record.get("id", "?"), f"wrong {', '.join(named)}") from error
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError) as error:
            raise RecordUnreadable(record.get("id", "?"), f"{type(error).__name__}: {error!s:.80}") from error

    @classmethod
    def _read(cls, record: dict[str, str]) -> Job:
        request = json.loads(record["request"])
        message = Message.model_validate_json(record["message"]) if record.get("message") else None
        shown = message.model_dump() if message else {}
        parent = Parent.model_validate_json(record["parent"]) if record.get("parent") else None
        upstream = record["pool"].partition(":")[2]
        return cls(
            id=record["id"],
            jobid=wire_id(record["id"], int(record["user"]), record.get("wire_channel") or "0", upstream),
            user=int(record["user"]),
            kind=record["kind"],
            verb=f"{_bot(upstream)}-{record['kind']}",
            status=record["status"],
            created=_instant(record["created_ms"]),
            updated=_instant(record["updated_ms"]),
            started=_instant(record.get("started_ms")),
            finished=_instant(record.get("finished_ms")),
            request=request,
            prompt=request.get("prompt"),
            image=request.get("image"),
            face=request.get("face"),
            button=request.get("button"),
            parentJobId=parent.jobid if parent else None,
            parent=parent,
            priority=int(record["priority"]),
            channel=record.get("channel") or None,
            server=record.get("server") or None,
            discord=record.get("masked") or None,
            maxJobs=int(record.get("limit") or record.get("max_jobs") or 0) or None,
            replyUrl=record.get("reply_url") or None,
            replyRef=record.get("reply_ref") or None,
            error=record.get("error") or None,
            errorDetails=record.get("error_details") or None,
            attempts=int(record.get("attempts") or 0),
            deliveries=int(record.get("deliveries") or 0),
            retry_of=record.get("retry_of") or None,
            history=tuple(record.get("history", "").splitlines()),
            **shown,
        )


def wire_id(job_id: str, user: int, channel: str, upstream: str) -> str:
    """Compose the id that HTTP and ``Job.jobid`` show."""
    return f"job:{job_id}-user:{user}-channel:{channel}-bot:{_bot(upstream)}"


def _bot(upstream: str) -> str:
    """Discord is where PixVerse's bot is; any other upstream is called by its own name."""
    return "pixverse" if upstream == DISCORD else upstream


AccountState = Literal["active", "paused", "draining", "disabled", "deleted"]
ACCOUNT_STATES = get_args(AccountState)


Revive = Literal["check", "operator"]
"""Who can tell that a disabled account is well again."""
DAY_MS = 86_400_000


class Account(BaseModel):
    """A registered account; ``sealed`` is its secret under our keys, ``masked`` what reads show.

    What depends on the moment of reading (``used``, ``cooling_ms``, ``submitted_today``) is None where nobody asked.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    user: int
    channel: str
    server: str
    max_jobs: int
    state: AccountState
    reason: str = ""
    sealed: str = Field(repr=False)
    masked: str
    secret_version: str
    revive: Revive | Literal[""] = ""
    visit: bool = False
    """Nobody registered it: guests' jobs are on its channel."""
    cooling_until_ms: int = 0
    cooling_cause: str = ""
    cooling_reason: str = ""
    cooling_repeats: int = 0
    daily_cap: int | None = None
    day: int = 0
    day_count: int = 0
    used: int | None = None
    cooling_ms: int | None = None
    submitted_today: int | None = None

    def shown_at(self, now_ms: int, *, used: int) -> Account:
        """Add what depends on the moment of reading: ``now_ms`` is Redis's, ``used`` the slots held."""
        told = {
            "used": used,
            "cooling_ms": max(0, self.cooling_until_ms - now_ms),
            "submitted_today": self.day_count if self.day == now_ms // DAY_MS else 0,
        }
        return self.model_copy(update=told)
