"""The program's commands, and how each ends: an exit code, and one sentence on stderr where it failed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, cast

import typer

from dispatcher.cli import account, callback, doctor, job, roles, token, up
from dispatcher.cli.exits import BAD_INPUT, DONE, INTERRUPTED, NOT_COMPLETED, exit_code_of
from dispatcher.errors import DispatcherError
from dispatcher.log import configure_log

DEBUG_VARIABLE = "DISPATCHER_DEBUG"

app = typer.Typer(
    name="dispatcher",
    help="Spread PixVerse video jobs over many accounts.",
    epilog="Example: dispatcher up --simulator",
    pretty_exceptions_enable=False,
    add_completion=False,
)
up.add_to(app)
roles.add_to(app)
doctor.add_to(app)
app.add_typer(token.app, name="token")
app.add_typer(account.app, name="account")
app.add_typer(job.app, name="job")
app.add_typer(callback.app, name="callback")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(version("pixverse-dispatcher"))
        raise typer.Exit


@app.callback()
def _root(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Spread PixVerse video jobs over many accounts."""


_USAGE_ERROR = cast("type[Exception]", typer.BadParameter.__mro__[2])
"""The root of what Typer raises about a command line, wherever this version of it keeps that class."""


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; errors are one sentence on stderr."""
    configure_log()
    try:
        code = app(args=arguments, prog_name="dispatcher", standalone_mode=False)
    except DispatcherError as error:
        return _told(str(error), exit_code_of(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except typer.Abort:
        return _told("Aborted.", INTERRUPTED)
    except _USAGE_ERROR as error:
        message = error.format_message().strip().rstrip(".")  # type: ignore[attr-defined]
        return _told(f"{message}. See {_help_of(error)}.", BAD_INPUT)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        return _told(
            f"Unexpected {type(error).__name__}: {error}. This is a defect; {DEBUG_VARIABLE}=1 shows where it is.",
            NOT_COMPLETED,
        )
    return code if isinstance(code, int) else DONE


def _help_of(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path if context else 'dispatcher'} --help`"


def _told(sentence: str, code: int) -> int:
    sys.stderr.write(" ".join(sentence.split()) + "\n")
    return code
