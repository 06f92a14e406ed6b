"""A completed job with one file whose link is old, and the scripts that fetch a fresh one."""

from __future__ import annotations

from typing import Any

from dispatcher.models import Attachment, Message
from tests.support.fleet import Fleet

LIFE_MS = 3_600_000
OLD, NEW = "http://cdn.invalid/7/a.mp4?ex=65000000&hm=old", "http://cdn.invalid/7/a.mp4?ex=66000000&hm=new"
SHOWN = Message(messageId="9", attachments=(Attachment(id="7", filename="a.mp4", url=OLD),)).model_dump_json()


def completed(
    fleet: Fleet, job: str = "j1", *, channel: str = "c1", message: str = SHOWN, status: str = "completed"
) -> None:
    """Bring a job to its end on a new account."""
    fleet.put(channel)
    fleet.bring(job, "A")
    fleet.settle(job, status, message=message)


def ask(
    fleet: Fleet, job: str = "j1", *, user: int = 1, join_ms: int = 30_000, dead: tuple[str, str] = ("", "")
) -> Any:
    """Ask for fresh links; ``dead`` is an attachment's id and its link."""
    return fleet.run("links_ask", job, user, join_ms, 600, *dead)


def tell(fleet: Fleet, refresh_id: str, *links: str, verdict: str = "ok", reason: str = "", until_ms: int = 0) -> Any:
    """Answer a refresh of ``j1``; ``links`` are attachments' ids and links in turns."""
    return fleet.run("links_told", "j1", refresh_id, verdict, reason, LIFE_MS, until_ms, *links)
