"""`dispatcher up`: the store, the API, the service, the workers and, for play, the simulator, by one command."""

from __future__ import annotations

import re
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from dispatcher.cli.children import POLL_S
from dispatcher.cli.exits import DONE
from dispatcher.cli.fleet import Announcement, Fleet
from dispatcher.cli.place import RUNNING_FILE, AsJson, Place, placed
from dispatcher.cli.roles import DEFAULT_HOST, DEFAULT_PORT, Host, Port
from dispatcher.cli.screen import console, show_json
from dispatcher.errors import InUse, SettingsError
from dispatcher.extras import require_extras
from dispatcher.http.listener import bound
from dispatcher.log import name_role
from dispatcher.settings import Settings
from dispatcher.state_dir import hold_state_dir

CRASH_PATIENCE_S = 15.0
"""The API ends its calls in flight within 10 s."""
TOKEN_VARIABLE = "DISPATCHER_TOKEN"  # noqa: S105 (a name, not a secret)


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command("up", epilog="Example: dispatcher up --simulator --port 8000")(up)


@placed
def up(
    place: Place,
    *,
    host: Host = DEFAULT_HOST,
    port: Port = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=0, help="Worker processes; one carries thousands of jobs.")] = 1,
    token: Annotated[
        list[str] | None,
        typer.Option(
            envvar=TOKEN_VARIABLE,
            show_envvar=True,
            show_default="one in <state-dir>/token",
            help="Bearer token of the API, user:<number>-<string>; repeatable.",
        ),
    ] = None,
    simulator: Annotated[
        bool, typer.Option("--simulator", help="Play Discord too: nobody's account is used. Needs a checkout.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run everything: the API, the service, workers and, without a Redis URL, the store.

    Stops in order on SIGTERM and Ctrl-C, the store last. What it stores is in the state directory.
    """
    settings = place.settings()
    if workers:
        require_extras(settings)
    if simulator and not _simulator_is_here():
        raise SettingsError("The simulator comes with a checkout of the project and is not installed; run it there.")
    with hold_state_dir(settings.state_dir):
        _await_port(settings, host, port)
        name_role("up")
        fleet = Fleet(settings, host=host, port=port, workers=workers, with_simulator=simulator)
        tokens = [SecretStr(text) for text in token or ()]

        def announce(announcement: Announcement) -> None:
            if as_json:
                show_json(announcement)
            else:
                show_banner(settings, announcement, has_own_token=bool(tokens))

        code = fleet.run(tokens, announce)
    if code != DONE:
        raise typer.Exit(code)


def _await_port(settings: Settings, host: str, port: int) -> None:
    """Make sure that the port is free, or will be as soon as the children of an `up` that was killed have ended.

    Raises:
        InUse: another program listens there.
        SettingsError: nobody can.
    """
    left_by_a_crash = settings.state_dir / RUNNING_FILE
    end_s = time.monotonic() + (CRASH_PATIENCE_S if left_by_a_crash.exists() else 0)
    while True:
        try:
            bound(host, port).close()
        except InUse:
            if time.monotonic() >= end_s:
                raise
            time.sleep(POLL_S)
        else:
            break
    left_by_a_crash.unlink(missing_ok=True)


def _simulator_is_here() -> bool:
    return find_spec("simulator") is not None or Path("simulator", "__main__.py").is_file()


def show_banner(settings: Settings, announcement: Announcement, *, has_own_token: bool) -> None:
    """Say where it is and what to do first."""
    token_file = settings.state_dir / "token"
    bearer = "<your token>" if has_own_token else f"$(cat {token_file})"
    out = console()
    out.print(f"[bold green]pixverse-dispatcher serves[/] [bold]{announcement['url']}[/]\n")
    if not has_own_token:
        out.print(f"API token   {token_file}", markup=False)
    out.print(f"Store       {without_password(announcement['redis_url'])}", markup=False, soft_wrap=True)
    if announcement["simulator"]:
        out.print(f"Simulator   {announcement['simulator']}", markup=False)
    out.print("\nRegister the first account (its Discord token, server and channel ids):\n")
    out.print(
        f"  curl -X POST {announcement['url']}/v1/pixverse/account/CHANNEL \\\n"
        f'    -H "Authorization: Bearer {bearer}" -H "Content-Type: application/json" \\\n'
        '    -d \'{"discord": "TOKEN", "server": "SERVER", "channel": "CHANNEL", "maxJobs": 3}\'\n',
        markup=False,
        soft_wrap=True,
    )
    out.print("Then: dispatcher job submit 'a calm sea' --wait. Ctrl-C stops everything.", markup=False)


def without_password(redis_url: str) -> str:
    """A Redis URL as it may be shown: a screen is read, shared and photographed; ``--json`` is for programs."""
    shown = re.sub(r"(?<=//)[^/]*@", "…@", redis_url)
    return re.sub(r"(?<=[?&])(username|password)=[^&]*", r"\1=…", shown)
