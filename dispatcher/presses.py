"""Pressing a button: what of the job below whose result it stands makes a request of it."""

from __future__ import annotations

from dataclasses import replace

from dispatcher.errors import RequestInvalid
from dispatcher.models import Job, Parent
from dispatcher.options import Options
from dispatcher.requests import Button


def pressed(request: Button, options: Options, parent: Job) -> tuple[Button, Options, Parent]:
    """Check a press against the job below whose result it is; it is pinned to that job's channel.

    Returns:
        The request and the options as they are stored, and what the new job keeps of the other one.

    Raises:
        RequestInvalid: that job is not completed or does not offer the button, or the options pin another channel.
    """
    if parent.status != "completed" or parent.messageId is None or parent.channel is None:
        raise RequestInvalid("jobid", f"Job {parent.jobid} status is {parent.status}, expected completed")
    if request.button not in parent.buttons:
        label = request.button
        message = f"Button {label} not supported or not found in job {parent.jobid} buttons array"
        raise RequestInvalid("button", message)
    if options.channel not in (None, parent.channel):
        message = f"channel {options.channel} is not that of job {parent.jobid}, whose button is pressed"
        raise RequestInvalid("channel", message)
    first = parent.parent
    kept = Parent(
        jobid=parent.jobid,
        messageId=parent.messageId,
        command=first.command if first else parent.kind,
        prompt=first.prompt if first else parent.prompt,
        files=tuple(file.id for file in parent.attachments),
    )
    return request.model_copy(update={"jobid": parent.jobid}), replace(options, channel=parent.channel), kept
