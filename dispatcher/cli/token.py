"""`dispatcher token`: who may call the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer

from dispatcher.access import Access, new_token
from dispatcher.cli.exits import NOT_FOUND
from dispatcher.cli.place import AsJson, Place, placed
from dispatcher.cli.screen import say, show_json, show_table
from dispatcher.plan import carry_out

app = typer.Typer(help="Bearer tokens of the HTTP API.", epilog="Example: dispatcher token add 2 --name films")


@app.command("add", epilog="Example: dispatcher token add 2 --name films")
@placed
def add(
    place: Place,
    *,
    user: Annotated[int, typer.Argument(min=1, max=999_999_999, help="Number of the user it speaks for.")] = 1,
    name: Annotated[str | None, typer.Option(help="What to call the user in lists.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this once: only its hash is stored."""
    token = new_token(user)
    with place.store() as (store, settings):
        added = carry_out(store, Access(settings).add(token, name=name))
    if as_json:
        show_json({**added.model_dump(mode="json"), "token": token.get_secret_value()})
    else:
        typer.echo(token.get_secret_value())


@app.command("list", epilog="Example: dispatcher token list --json")
@placed
def list_(place: Place, *, as_json: AsJson = False) -> None:
    """List the tokens by id; what they are is stored nowhere."""
    with place.store() as (store, settings):
        tokens = carry_out(store, Access(settings).list())
    if as_json:
        show_json([token.model_dump(mode="json") for token in tokens])
    else:
        show_table(
            ("id", "user", "name", "created"),
            [(token.id, token.user, token.name, f"{token.created:%Y-%m-%d %H:%M:%S %Z}") for token in tokens],
        )


@app.command("revoke", epilog="Example: dispatcher token revoke 3f9a1c0b2d4e")
@placed
def revoke(
    place: Place, *, token_id: Annotated[str, typer.Argument(metavar="ID", help="As `token list` shows it.")]
) -> None:
    """Refuse a token from the next request on."""
    with place.store() as (store, settings):
        was_there = store.do(Access(settings).revoke(token_id))
    if not was_there:
        typer.echo(f"No token has the id {token_id}; see `dispatcher token list`.", err=True)
        raise typer.Exit(NOT_FOUND)
    say(f"Token {token_id} is revoked.")
