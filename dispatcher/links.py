"""Fresh links to a job's files: a worker asks the upstream for them, where links expire (Discord's: after about a day).

What was asked for and found is beside the job (``links:<job>``) for as long as the links last; its record keeps the
links that it came with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dispatcher.connection import Call, command
from dispatcher.errors import JobNotFound, JobStateError, LinksUnavailable, StoreReplyError
from dispatcher.handoff import subject_of
from dispatcher.keys import Keys
from dispatcher.models import Attachment, Job, short_id
from dispatcher.replies import hash_of, is_wanted
from dispatcher.settings import Settings

JOIN_MS = 30_000
"""A refresh that was asked for less long ago, and has no answer yet, is joined rather than repeated."""
ASKED_S = 600
"""How long a refresh that nobody answers is kept, and why there were no links."""
KNOWN_MS = 3_600_000
"""How long fresh links are told again without asking the upstream, where they do not end sooner."""

_END = re.compile(r"[?&]ex=([0-9a-f]{1,10})(?:[&#]|$)")


def job_of(refresh_id: str) -> str:
    """Read the job out of a refresh's id, ``links-<job>-<token>``.

    Raises:
        ValueError: it is not one of ours.
    """
    return subject_of(refresh_id, prefix="links-", noun="refresh of links")


def end_ms(url: str) -> int | None:
    """Read when a link expires: ``ex`` in its query, hex seconds since 1970; None if it does not say, and so lasts."""
    end = _END.search(url)
    return int(end[1], 16) * 1000 if end else None


def may_expire(job: Job) -> bool:
    """Say whether any of the job's links to its files ever expires.

    Raises:
        JobStateError: the job has not ended: its files, and links to them, are yet to come.
    """
    if not job.is_final:
        raise JobStateError(job.id, job.status, "final")
    return any(end_ms(attachment.url) is not None for attachment in job.attachments)


def with_links(job: Job, urls: Mapping[str, str]) -> Job:
    """Return the job with those links, by attachment; one without stays as it was, and so does every ``proxy_url``."""
    fresh = tuple(a.model_copy(update={"url": urls.get(a.id, a.url)}) for a in job.attachments)
    return job.model_copy(update={"attachments": fresh})


class Links:
    """The refreshes of one store."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.namespace)

    def ask(self, job_id: str, *, user: int, dead: Attachment | None = None) -> Call[str]:
        """Have a worker fetch fresh links to a final job's files; returns the refresh's id.

        One under way is joined, and one whose links are still known is it: unless it told ``dead``, the attachment with
        the link that was found dead.

        Raises (when the reply is read):
            JobNotFound: no such job of this user.
            JobStateError: it has not ended.
            LinksUnavailable: it has no files.
        """
        job_id = short_id(job_id)
        found = (dead.id, dead.url) if dead else ("", "")

        def read(reply: Any) -> str:
            match reply:
                case ["ok", str(refresh_id)]:
                    return refresh_id
                case ["missing"]:
                    raise JobNotFound(job_id)
                case ["not_final", str(status)]:
                    raise JobStateError(job_id, status, "final")
                case ["empty"]:
                    raise LinksUnavailable(job_id, "it has no files")
                case _:
                    raise StoreReplyError("links_ask", reply)

        return Call("links_ask", (job_id, user, JOIN_MS, ASKED_S, *found), read)

    def answer(self, refresh_id: str) -> Call[dict[str, str] | None]:
        """Read the fresh links that a refresh brought, by attachment; None while there is no answer.

        That of a later refresh, which took this one's place, serves as well.

        Raises (when the reply is read):
            LinksUnavailable: there are none, and why.
        """
        job_id = job_of(refresh_id)

        def read(reply: Any) -> dict[str, str] | None:
            told = hash_of(reply)
            match told.get("verdict"):
                case "ok":
                    return {name[4:]: url for name, url in told.items() if name.startswith("url:")}
                case "refused":
                    raise LinksUnavailable(job_id, told["reason"])
                case _:
                    return None

        return command("HGETALL", self.keys.of("links", job_id), read=read)

    def is_wanted(self, refresh_id: str) -> Call[bool]:
        """Read whether a refresh still wants an answer: no later one took its place, and it has none yet."""
        fields = ("id", "verdict")
        return command(
            "HMGET", self.keys.of("links", job_of(refresh_id)), *fields, read=lambda reply: reply == [refresh_id, None]
        )

    def tell(self, refresh_id: str, urls: Mapping[str, str]) -> Call[bool]:
        """Answer a refresh with fresh links by attachment; returns whether it still wanted an answer."""
        ends = [end for url in urls.values() if (end := end_ms(url)) is not None]
        pairs = [part for pair in urls.items() for part in pair]
        told = (job_of(refresh_id), refresh_id, "ok", "")
        return Call("links_told", (*told, KNOWN_MS, min(ends, default=0), *pairs), is_wanted("links_told"))

    def refuse(self, refresh_id: str, reason: str) -> Call[bool]:
        """Answer a refresh with why there are no links; returns whether it still wanted an answer."""
        args = (job_of(refresh_id), refresh_id, "refused", reason, ASKED_S * 1000, 0)
        return Call("links_told", args, is_wanted("links_told"))
