"""`dispatcher account`: the accounts that jobs run on."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
import time
from typing import Annotated, Any

import typer
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.checks import Checked, Checks
from dispatcher.cli.exits import NOT_COMPLETED
from dispatcher.cli.oracle import Oracle
from dispatcher.cli.place import AsJson, Place, User, placed
from dispatcher.cli.screen import say, show_fields, show_json, show_table
from dispatcher.connection import Store, open_async_store
from dispatcher.errors import CheckTimeout, SettingsError
from dispatcher.models import Account
from dispatcher.plan import carry_out
from dispatcher.registration import Registration
from dispatcher.requests import DISCORD, MAX_JOBS
from dispatcher.secrets import keys_for
from dispatcher.settings import Settings

SECRET_VARIABLE = "DISPATCHER_ACCOUNT_SECRET"  # noqa: S105 (a name, not a secret)
LOOK_AGAIN_S = 0.1

Channel = Annotated[
    str, typer.Argument(metavar="CHANNEL", help="Discord channel id of the account; of another upstream, its name.")
]
Server = Annotated[str, typer.Option(help="Discord server (guild) id.", show_default=False)]
Upstream = Annotated[str, typer.Option(help="Whose accounts: discord, or another that workers have installed.")]
MaxJobs = Annotated[int, typer.Option(help=f"Jobs it may run at once, 1 to {MAX_JOBS}.")]
DailyCap = Annotated[int | None, typer.Option(min=0, help="Submissions a UTC day, 0 for no cap; else the setting's.")]

app = typer.Typer(
    help="The accounts that jobs run on.",
    epilog="Example: dispatcher account list",
)


@app.command("add", epilog="Example: dispatcher account add 1197013797467074001 --server 1180000000000000000 < secret")
@placed
def add(
    place: Place,
    *,
    channel: Channel,
    server: Server = "",
    max_jobs: MaxJobs = 3,
    daily_cap: DailyCap = None,
    upstream: Upstream = DISCORD,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Register an account, or replace one; waiting jobs start on it at once.

    Its Discord token is read from stdin or DISPATCHER_ACCOUNT_SECRET, never from the command line.
    """
    secret = _read_secret()
    with place.store() as (store, settings):
        accounts = _accounts(settings, upstream)
        given = Registration(channel=channel, server=server, secret=secret, max_jobs=max_jobs)
        _put(place, store, accounts, user=user, given=given, daily_cap=daily_cap)
        _show(store, accounts, user=user, channel=channel, as_json=as_json)


@app.command("list", epilog="Example: dispatcher account list --json")
@placed
def list_(place: Place, *, upstream: Upstream = DISCORD, user: User = 1, as_json: AsJson = False) -> None:
    """List a user's accounts with their slots."""
    with place.store() as (store, settings):
        accounts = carry_out(store, _accounts(settings, upstream).list(user=user))
    if as_json:
        show_json([_fields(account) for account in accounts])
        return
    show_table(
        ("channel", "server", "slots", "state", "reason", "rests", "today", "discord"),
        [
            (a.channel, a.server, f"{a.used}/{a.max_jobs}", a.state, a.reason, _rest(a), a.submitted_today, a.masked)
            for a in accounts
        ],
    )


@app.command("show", epilog="Example: dispatcher account show 1197013797467074001")
@placed
def show(
    place: Place, *, channel: Channel, upstream: Upstream = DISCORD, user: User = 1, as_json: AsJson = False
) -> None:
    """Show one account."""
    with place.store() as (store, settings):
        _show(store, _accounts(settings, upstream), user=user, channel=channel, as_json=as_json)


@app.command("set", epilog="Example: dispatcher account set 1197013797467074001 --max-jobs 5")
@placed
def set_(
    place: Place,
    *,
    channel: Channel,
    server: Annotated[str | None, typer.Option(help="Its new server.")] = None,
    max_jobs: Annotated[int | None, typer.Option(help=f"Its new limit, 1 to {MAX_JOBS}; works at once.")] = None,
    daily_cap: DailyCap = None,
    new_secret: Annotated[
        bool, typer.Option("--new-secret", help=f"Read a new Discord token from stdin or {SECRET_VARIABLE}.")
    ] = False,
    upstream: Upstream = DISCORD,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Change an account; what is not given stays."""
    with place.store() as (store, settings):
        accounts = _accounts(settings, upstream)
        stored = store.do(accounts.get(user=user, channel=channel))
        given = Registration(
            channel=channel,
            server=stored.server if server is None else server,
            secret=_read_secret() if new_secret else accounts.open_secret(stored),
            max_jobs=stored.max_jobs if max_jobs is None else max_jobs,
        )
        _put(place, store, accounts, user=user, given=given, daily_cap=daily_cap)
        _show(store, accounts, user=user, channel=channel, as_json=as_json)


@app.command("pause", epilog="Example: dispatcher account pause 1197013797467074001 --reason 'card expires'")
@placed
def pause(
    place: Place,
    *,
    channel: Channel,
    reason: Annotated[str, typer.Option(help="What lists show.")] = "paused by its owner",
    upstream: Upstream = DISCORD,
    user: User = 1,
) -> None:
    """Submit nothing more on an account; what was submitted goes on, what was not waits for another account."""
    with place.store() as (store, settings):
        store.do(_accounts(settings, upstream).pause(user=user, channel=channel, reason=reason))
    say(f"Account {channel} is paused.")


@app.command("drain", epilog="Example: dispatcher account drain 1197013797467074001 --reason 'moves to a new server'")
@placed
def drain(
    place: Place,
    *,
    channel: Channel,
    reason: Annotated[str, typer.Option(help="What lists show.")] = "drained by its owner",
    upstream: Upstream = DISCORD,
    user: User = 1,
) -> None:
    """Give an account nothing more; what it holds is still submitted and ends, then it is paused."""
    with place.store() as (store, settings):
        store.do(_accounts(settings, upstream).drain(user=user, channel=channel, reason=reason))
        account = carry_out(store, _accounts(settings, upstream).show(user=user, channel=channel))
    if account.state == "draining":
        say(f"Account {channel} drains; {account.used} {'slot is' if account.used == 1 else 'slots are'} still held.")
    else:
        say(f"Account {channel} holds no slot and is {account.state}.")


@app.command("check", epilog="Example: dispatcher account check 1197013797467074001 --json")
@placed
def check(
    place: Place,
    *,
    channel: Channel,
    timeout_s: Annotated[float, typer.Option(min=0, help="Exit 6 when it has passed.")] = 60.0,
    upstream: Upstream = DISCORD,
    user: User = 1,
    as_json: AsJson = False,
) -> None:
    """Have a worker ask Discord whether an account could work; nothing is submitted. Exit 1 unless it could.

    A disabled account that could is used again, unless it was disabled for what only its owner can mend (a captcha). A
    paused one stays paused.
    """
    with place.store() as (store, settings):
        checked = _checked(store, Checks(settings, upstream), user=user, channel=channel, timeout_s=timeout_s)
    told = {"channel": channel, "finding": checked.finding, "reason": checked.reason, "state": checked.state}
    if as_json:
        show_json(told)
    else:
        why = f": {checked.reason}" if checked.reason else ""
        say(f"Account {channel} is {checked.state}; the check says {checked.finding}{why}.")
    if checked.finding != "ok":
        raise typer.Exit(NOT_COMPLETED)


@app.command("resume", epilog="Example: dispatcher account resume 1197013797467074001")
@placed
def resume(place: Place, *, channel: Channel, upstream: Upstream = DISCORD, user: User = 1) -> None:
    """Use a paused or disabled account again, at once."""
    with place.store() as (store, settings):
        store.do(_accounts(settings, upstream).resume(user=user, channel=channel))
    say(f"Account {channel} is active.")


@app.command("remove", epilog="Example: dispatcher account remove 1197013797467074001")
@placed
def remove(place: Place, *, channel: Channel, upstream: Upstream = DISCORD, user: User = 1) -> None:
    """Forget an account; what runs on it goes on unseen, what waits for it alone fails."""
    with place.store() as (store, settings):
        carry_out(store, _accounts(settings, upstream).remove(user=user, channel=channel))
    say(f"Account {channel} is removed.")


def _accounts(settings: Settings, upstream: str) -> Accounts:
    return Accounts(settings, keys_for(settings), upstream)


def _checked(store: Store, checks: Checks, *, user: int, channel: str, timeout_s: float) -> Checked:
    """Ask for a check and wait for what it finds.

    Raises:
        CheckTimeout: no worker answered in time.
    """
    check_id = store.do(checks.ask(user=user, channel=channel))
    end_s = time.monotonic() + timeout_s
    while (found := store.do(checks.answer(check_id, user=user, channel=channel))) is None:
        if time.monotonic() >= end_s:
            raise CheckTimeout(channel, timeout_s)
        time.sleep(LOOK_AGAIN_S)
    return found


def _put(
    place: Place, store: Store, accounts: Accounts, *, user: int, given: Registration, daily_cap: int | None
) -> None:
    """Store an account; a simulator that plays its upstream is told."""
    call = accounts.put(
        user=user,
        channel=given.channel,
        server=given.server,
        secret=given.secret,
        max_jobs=given.max_jobs,
        daily_cap=daily_cap,
    )
    settings = accounts.settings
    simulator_url = place.simulator_url(settings) if accounts.upstream == DISCORD else None
    if simulator_url is None:
        store.do(call)
        return

    async def put_declared() -> None:
        async_store = open_async_store(str(settings.redis_url), settings.namespace)
        async with Oracle(simulator_url).storing(async_store, accounts, user, given):
            await async_store.do(call)
        await async_store.close()

    asyncio.run(put_declared())


def _show(store: Store, accounts: Accounts, *, user: int, channel: str, as_json: bool) -> None:
    account = carry_out(store, accounts.show(user=user, channel=channel))
    (show_json if as_json else show_fields)(_fields(account))


def _fields(account: Account) -> dict[str, Any]:
    """What reads show of an account, in the contract's names; never its secret."""
    return {
        "channel": account.channel,
        "server": account.server,
        "discord": account.masked,
        "maxJobs": account.max_jobs,
        "used": account.used,
        "state": account.state,
        "reason": account.reason,
        "coolingMs": account.cooling_ms,
        "coolingReason": account.cooling_reason if account.cooling_ms else "",
        "coolingRepeats": account.cooling_repeats,
        "submittedToday": account.submitted_today,
        "dailyCap": account.daily_cap,
    }


def _rest(account: Account) -> str:
    """How long the account still cools, and why."""
    if not account.cooling_ms:
        return ""
    return f"{account.cooling_ms / 1000:.0f} s: {account.cooling_reason}"


def _read_secret() -> SecretStr:
    """Read a secret from the environment, a hidden prompt or a pipe.

    Raises:
        SettingsError: there is none.
    """
    text = os.environ.get(SECRET_VARIABLE, "")
    if not text:
        text = getpass.getpass("Discord token: ") if sys.stdin.isatty() else sys.stdin.readline()
    if not text.strip():
        raise SettingsError(f"No secret is given; write it to stdin or set {SECRET_VARIABLE}.")
    return SecretStr(text.strip())
