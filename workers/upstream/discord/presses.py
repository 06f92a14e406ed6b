"""A button to be pressed: found anew on its message just before, for labels stay and their hidden names change.

Source: docs/upstream.md, "Buttons".
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from dispatcher.errors import RequestRejected
from dispatcher.models import Job, Parent
from workers.upstream import Ledger, Other
from workers.upstream.discord.messages import ChannelMessage, parsed
from workers.upstream.discord.refusals import NAME
from workers.upstream.discord.rest import MESSAGE_COMPONENT, Rest

BUTTON = 2

_LOOK_AGAIN_S = 0.5

FORM = "a form, which is not filled in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """What Discord must be told to press a button."""

    application_id: str
    message_id: str
    message_flags: int
    custom_id: str

    def payload(self) -> dict[str, Any]:
        """The part of an interaction that is a press."""
        return {
            "type": MESSAGE_COMPONENT,
            "application_id": self.application_id,
            "message_id": self.message_id,
            "message_flags": self.message_flags,
            "data": {"component_type": BUTTON, "custom_id": self.custom_id},
        }


def parent_of(job: Job) -> Parent:
    """Return what a press keeps of the job below whose result it is.

    Raises:
        RequestRejected: its record names none.
    """
    if job.parent is None or job.button is None:
        raise RequestRejected(NAME, "the job's record does not name the message whose button is pressed")
    return job.parent


async def wait_for_others(ledger: Ledger) -> None:
    """Wait while another press of the same message may be answered by an edit of it; returns at once for a command.

    Invariant: of the presses of one message at most one is submitted that is not known by a name of its own. So what
    the message shows is that one's. The slots' own order tells who goes first: whoever got one later sees who got one
    before, and none waits for one that waits for it.
    """
    mine = ledger.job.parent
    if mine is None:
        return
    while any(  # noqa: ASYNC110 (it is another job, maybe of another worker, that ends)
        _is_before(mine.messageId, other) for other in await ledger.others()
    ):
        await asyncio.sleep(_LOOK_AGAIN_S)


def _is_before(message_id: str, other: Other) -> bool:
    if other.job.parent is None or other.job.parent.messageId != message_id:
        return False
    return other.remote_id in (None, message_id) if other.is_submitted else other.is_older


async def found_press(rest: Rest, token: str, channel: str, job: Job, *, application_id: str | None) -> Press:
    """Read the message anew and find the button on it.

    Raises:
        RequestRejected: the message or the button is gone, disabled, or not the only one of its label.
        AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked: nothing was submitted.
    """
    parent = parent_of(job)
    raw = await rest.message(token, channel, int(parent.messageId))
    message = next(iter(parsed([raw])), None) if raw else None
    if message is None:
        raise RequestRejected(
            NAME, f"message {parent.messageId} with button {job.button} is not in its channel any more"
        )
    owner = message.application_id or str(message.author.id)
    if application_id not in (None, owner):
        raise RequestRejected(NAME, f"message {parent.messageId} is application {owner}'s, not {application_id}'s")
    return Press(
        application_id=owner,
        message_id=parent.messageId,
        message_flags=message.flags,
        custom_id=_custom_id(message, job.button),
    )


def _custom_id(message: ChannelMessage, label: str | None) -> str:
    found = [button.custom_id for button in message.pressable if button.label == label]
    if len(found) != 1:
        how_many = "is not there, or disabled" if not found else f"is there {len(found)} times"
        raise RequestRejected(NAME, f"button {label} of message {message.id} {how_many}")
    return found[0]
