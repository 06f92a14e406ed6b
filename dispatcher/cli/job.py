"""`dispatcher job`: submit, follow, cancel and fetch jobs."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dispatcher.cli.exits import NOT_COMPLETED
from dispatcher.cli.place import AsJson, Place, User, placed
from dispatcher.cli.screen import say, show_fields, show_json, show_table
from dispatcher.explanation import Explainer
from dispatcher.models import Job, Status
from dispatcher.options import LIST_MAX
from dispatcher.plan import carry_out
from dispatcher.requests import ASPECT_RATIOS, REQUESTS, STYLES, Create, Kind

PROMPT_SHOWN = 48

JobId = Annotated[str, typer.Argument(metavar="ID", help="Either form of a job's id.")]

app = typer.Typer(
    help="Submit, follow, cancel and fetch jobs.",
    epilog="Example: dispatcher job submit 'a calm sea' --style Realistic --wait",
)


@app.command(
    "submit", epilog="Example: dispatcher job submit 'a calm sea' --style Realistic --aspect-ratio 16:9 --wait"
)
@placed
def submit(
    place: Place,
    *,
    prompt: Annotated[
        str | None, typer.Argument(show_default=False, help="What to show, at most 512 characters.")
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="Four videos (create) or one (create_single) from a text, one from an image (animate) or a face "
            "(meme_face), or a press of a completed job's button."
        ),
    ] = "create_single",
    style: Annotated[
        str | None, typer.Option(show_default=STYLES[0], help=f"Of a text: one of {', '.join(STYLES)}.")
    ] = None,
    image: Annotated[Path | None, typer.Option(help="animate: a png or jpeg file.")] = None,
    face: Annotated[Path | None, typer.Option(help="meme_face: a png or jpeg file.")] = None,
    motion: Annotated[int | None, typer.Option(help="animate: how much moves, 1 to 10.")] = None,
    hd_quality: Annotated[str | None, typer.Option(help="animate: Yes or No; clearer, and slower.")] = None,
    job: Annotated[str | None, typer.Option(metavar="ID", help="button: the completed job that shows it.")] = None,
    button: Annotated[str | None, typer.Option(help="button: what is written on it.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="What not to show.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help=f"One of {', '.join(ASPECT_RATIOS)}.")] = None,
    character: Annotated[str | None, typer.Option(help="Name of a character.")] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same video; not with create.")] = None,
    max_jobs: Annotated[int | None, typer.Option(help="Take an account only while it runs fewer jobs.")] = None,
    channel: Annotated[str | None, typer.Option(help="Wait for this account alone.")] = None,
    priority: Annotated[int, typer.Option(help="-100 to 100, larger first.")] = 0,
    deadline_s: Annotated[float | None, typer.Option(help="Seconds from now to its end.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Repeating the command with it submits nothing.")] = None,
    reply_url: Annotated[str | None, typer.Option(help="URL to which the job is posted when it ends.")] = None,
    reply_ref: Annotated[str | None, typer.Option(help="A note that is told with the job.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit 1 unless it completed.")] = False,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Submit a job; it starts as soon as an account has a free slot."""
    given: dict[str, Any] = {
        "prompt": prompt,
        "style": STYLES[0] if style is None and issubclass(REQUESTS[kind], Create) else style,
        "negative_prompt": negative_prompt,
        "aspect_ratio": aspect_ratio,
        "character": character,
        "seed_value": seed,
        "image": image,
        "face": face,
        "motion": motion,
        "hd_quality": hd_quality,
        "jobid": job,
        "button": button,
        "maxJobs": max_jobs,
    }
    request = REQUESTS[kind](**{name: value for name, value in given.items() if value is not None})
    with place.client(user) as client:
        accepted = client.enqueue(
            request,
            idempotency_key=idempotency_key,
            priority=priority,
            channel=channel,
            deadline_s=deadline_s,
            reply_url=reply_url,
            reply_ref=reply_ref,
        )
        if wait:
            accepted = client.wait(accepted.id)
    _tell(accepted, as_json=as_json)
    if wait and accepted.status != "completed":
        raise typer.Exit(NOT_COMPLETED)


@app.command("list", epilog="Example: dispatcher job list --status failed --limit 20")
@placed
def list_(
    place: Place,
    *,
    status: Annotated[str | None, typer.Option(help=f"Only {', '.join(get_args(Status))}.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=LIST_MAX, help="At most so many.")] = 100,
    before: Annotated[str | None, typer.Option(metavar="ID", help="The page after this job.")] = None,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    if status is not None and status not in get_args(Status):
        raise typer.BadParameter(f"{status} is none of {', '.join(get_args(Status))}", param_hint="--status")
    with place.client(user) as client:
        jobs = client.jobs(status=status, limit=limit, before=before)
    if as_json:
        show_json([job.model_dump(mode="json") for job in jobs])
        return
    show_table(
        ("id", "kind", "status", "progress", "channel", "created", "prompt"),
        [
            (job.id, job.kind, job.status, _progress(job), job.channel, f"{job.created:%m-%d %H:%M:%S}", _short(job))
            for job in jobs
        ],
    )


@app.command("show", epilog="Example: dispatcher job show 20261122203000123ABCDEF --json")
@placed
def show(place: Place, *, job_id: JobId, user: User = 1, as_json: AsJson = False) -> None:
    """Show all that is known of one job."""
    with place.client(user) as client:
        job = client.get(job_id)
    if as_json:
        show_json(job.model_dump(mode="json"))
        return
    shown = job.model_dump(mode="json", exclude={"attachments", "history", "embeds", "request"})
    files = "\n".join(file.url for file in job.attachments)
    show_fields({**shown, "attachments": files, "history": "\n".join(job.history)})


@app.command("wait", epilog="Example: dispatcher job wait 20261122203000123ABCDEF --timeout-s 300")
@placed
def wait_(
    place: Place,
    *,
    job_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Either form of the ids.")],
    timeout_s: Annotated[float | None, typer.Option(help="Exit 6 when it has passed; the jobs go on.")] = None,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Wait until the jobs have ended; exit 1 unless all completed."""
    with place.client(user) as client:
        jobs = client.wait_many(job_ids, timeout_s)
    if as_json:
        show_json([job.model_dump(mode="json") for job in jobs])
    else:
        for job in jobs:
            _tell(job, as_json=False)
    if any(job.status != "completed" for job in jobs):
        raise typer.Exit(NOT_COMPLETED)


@app.command("cancel", epilog="Example: dispatcher job cancel 20261122203000123ABCDEF")
@placed
def cancel(place: Place, *, job_id: JobId, user: User = 1, as_json: AsJson = False) -> None:
    """Cancel a job; one that already runs upstream keeps its slot until it ends there. An ended job stays as it is."""
    with place.client(user) as client:
        job = client.cancel(job_id)
    _tell(job, as_json=as_json)


@app.command("retry", epilog="Example: dispatcher job retry 20261122203000123ABCDEF")
@placed
def retry(place: Place, *, job_id: JobId, user: User = 1, as_json: AsJson = False) -> None:
    """Submit an ended job's request again, as a new job; its id is shown."""
    with place.client(user) as client:
        job = client.retry(job_id)
    _tell(job, as_json=as_json)


@app.command("explain", epilog="Example: dispatcher job explain 20261122203000123ABCDEF")
@placed
def explain(place: Place, *, job_id: JobId, user: User = 1, as_json: AsJson = False) -> None:
    """Say why a job waits: each account that may take it with its reason, its place in the line, its history."""
    with place.store() as (store, settings):
        told = carry_out(store, Explainer(settings).explain(job_id, user=user))
    if as_json:
        show_json(told.as_json())
        return
    say(told.sentence)
    lease = ", ".join(f"{name} {value}" for name, value in told.lease.items() if value not in (None, False))
    deadline = None if told.deadline_left_s is None else f"in {told.deadline_left_s:.0f} s"
    show_fields(
        {
            "line": told.line,
            "ahead": told.ahead if told.line else None,
            "lease": lease,
            "refused by": " ".join(told.refused_by),
            "deadline": deadline,
            "history": "\n".join(_dated(line) for line in told.job.history),
        }
    )
    if told.accounts:
        show_table(("channel", "reason"), [(account.channel, account.reason) for account in told.accounts])
    if unseen := sum(told.counts.values()) - len(told.accounts):
        say(f"and {unseen} more")


@app.command("download", epilog="Example: dispatcher job download 20261122203000123ABCDEF --to videos")
@placed
def download(
    place: Place,
    *,
    job_id: JobId,
    to: Annotated[Path, typer.Option(help="Folder for the files, made if it is not there.")] = Path(),
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Save a completed job's files and say where."""
    with place.client(user) as client:
        paths = client.download(client.get(job_id), to)
    if as_json:
        show_json([str(path) for path in paths])
    else:
        for path in paths:
            typer.echo(path)


def _tell(job: Job, *, as_json: bool) -> None:
    """One job in one line."""
    if as_json:
        show_json(job.model_dump(mode="json"))
    else:
        say(f"{job.id} {job.status}{f': {job.error}' if job.error else ''}")


def _dated(line: str) -> str:
    """A line of history, its instant as a person reads it."""
    milliseconds, _, event = line.partition(" ")
    return f"{datetime.fromtimestamp(int(milliseconds) / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + f" {event}"


def _progress(job: Job) -> str | None:
    return None if job.progress_percent is None else f"{job.progress_percent} %"


def _short(job: Job) -> str:
    prompt = job.prompt or ""
    return prompt if len(prompt) <= PROMPT_SHOWN else f"{prompt[: PROMPT_SHOWN - 1]}…"
