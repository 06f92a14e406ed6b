"""`dispatcher callback`: what callers are still to be told, and what could not be told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from dispatcher.callbacks import Outbox, Owed
from dispatcher.cli.place import AsJson, Place, placed
from dispatcher.cli.screen import say, show_json, show_table
from dispatcher.connection import Store
from dispatcher.errors import JobError
from dispatcher.plan import carry_out
from dispatcher.reply_url import shown_url

LISTED_MAX = 10_000
PAGE = 256

app = typer.Typer(
    help="Callbacks that wait, and those that were given up.", epilog="Example: dispatcher callback list --dead"
)


@app.command("list", epilog="Example: dispatcher callback list --dead --json")
@placed
def list_(
    place: Place,
    *,
    dead: Annotated[
        bool, typer.Option("--dead", help="Those that were given up, in place of those that wait.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=LISTED_MAX, help="At most so many, the sooner first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List callbacks, of all users, with what became of the last attempt."""
    with place.store() as (store, settings):
        listed = carry_out(store, Outbox(settings).listed("callbacks_dead" if dead else "callbacks", limit=limit))
    if as_json:
        show_json([_fields(owed) for owed in listed])
        return
    show_table(
        ("job", "callback", "attempts", "given up" if dead else "next", "to", "last error"),
        [(o.job_id, o.id, o.attempts, _at(o.at_ms), shown_url(o.reply_url), o.error) for o in listed],
    )


@app.command("replay", epilog="Example: dispatcher callback replay 20261124003917217S5DARM")
@placed
def replay(
    place: Place,
    *,
    job_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID...", help="Of jobs that have ended, in either form.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every callback that was given up.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make callbacks again, now, under the ids that they had; also one that was answered."""
    if bool(job_ids) == every:
        raise typer.BadParameter("name jobs, or give --all")
    with place.store() as (store, settings):
        outbox = Outbox(settings)
        if every:
            replayed = _replay_dead(store, outbox)
        else:
            replayed = [store.do(outbox.replay(job_id)) for job_id in job_ids or ()]
    if as_json:
        show_json({"replayed": replayed})
    else:
        say(f"Callbacks that are due now: {len(replayed)}. A running `dispatcher run` makes them.")


def _replay_dead(store: Store, outbox: Outbox) -> list[str]:
    """Replay what is dead by now; one whose job is forgotten meanwhile is left out."""
    replayed: list[str] = []
    while page := _replay_page(store, outbox):
        replayed += page
    return replayed


def _replay_page(store: Store, outbox: Outbox) -> list[str]:
    replayed = []
    for owed in carry_out(store, outbox.listed("callbacks_dead", limit=PAGE)):
        with suppress(JobError):
            replayed.append(store.do(outbox.replay(owed.job_id)))
    return replayed


def _fields(owed: Owed) -> dict[str, Any]:
    fields = asdict(owed)
    at = datetime.fromtimestamp(fields.pop("at_ms") / 1000, UTC).isoformat()
    return {**fields, "reply_url": shown_url(owed.reply_url), "dead_at" if owed.is_dead else "next_at": at}


def _at(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
