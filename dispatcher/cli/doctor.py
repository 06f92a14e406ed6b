"""`dispatcher doctor`: is what the store holds consistent, and what can be put right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated

import typer

from dispatcher.audit import CONFIRM_S, MEANINGS, REPAIRABLE, Audit, Finding
from dispatcher.callbacks import Outbox
from dispatcher.cli.exits import NOT_COMPLETED
from dispatcher.cli.place import AsJson, Place, placed
from dispatcher.cli.screen import say, show_json, show_table
from dispatcher.connection import Store
from dispatcher.plan import carry_out

FINDINGS_SHOWN = 200


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("doctor", epilog="Example: dispatcher doctor --repair")(doctor)


@placed
def doctor(
    place: Place,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help=f"Put right what can be: {', '.join(REPAIRABLE)}. The rest is only told.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold jobs, leases, slots and deliveries against each other; exit 1 on findings. Safe on a live system."""
    with place.store() as (store, settings):
        audit = Audit(settings, repairs="all" if repair else "none")
        _examine(store, audit, is_quiet=as_json)
        waiting, dead = carry_out(store, Outbox(settings).counts())
    if as_json:
        findings = [finding.as_json() for finding in audit.findings]
        callbacks = {"waiting": waiting, "dead": dead}
        show_json({"findings": findings, "learning": audit.is_learning, "callbacks": callbacks})
    else:
        _tell(audit)
        if waiting or dead:
            say(f"Callbacks: {waiting} wait, {dead} were given up (`dispatcher callback list --dead`).")
    if audit.findings:
        raise typer.Exit(NOT_COMPLETED)


def _examine(store: Store, audit: Audit, *, is_quiet: bool) -> None:
    """Walk over the store, and look twice at leases that seem abandoned: a living owner speaks in between."""
    carry_out(store, audit.everything())
    suspected = [finding for finding in audit.findings if finding.outcome == "suspected"]
    if not suspected:
        return
    if not is_quiet:
        say(f"{len(suspected)} leases look abandoned; looking again in {CONFIRM_S:.0f} s.")
    time.sleep(CONFIRM_S)
    carry_out(store, audit.confirm(suspected))


def _tell(audit: Audit) -> None:
    if audit.is_learning:
        say("The store is learning who holds what: deliveries are not judged, and nothing is repaired meanwhile.")
    if not audit.findings:
        say("All is well.")
        return
    show_table(
        ("finding", "job", "pool", "channel", "detail", "done"),
        [(f.kind, f.job, f.pool, f.channel, f.detail, f.outcome) for f in audit.findings[:FINDINGS_SHOWN]],
    )
    if len(audit.findings) > FINDINGS_SHOWN:
        say(f"… and {len(audit.findings) - FINDINGS_SHOWN} more: --json shows all.")
    say("")
    for kind, count in Counter(finding.kind for finding in audit.findings).most_common():
        say(f"{kind} ({count}): {MEANINGS[kind]}{_advice(kind, audit.findings)}")


def _advice(kind: str, findings: Sequence[Finding]) -> str:
    is_open = any(finding.kind == kind and finding.outcome != "repaired" for finding in findings)
    return " `dispatcher doctor --repair` can put it right." if kind in REPAIRABLE and is_open else ""
