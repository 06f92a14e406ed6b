"""Every command explains itself, and every mistake on a command line is one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer

from dispatcher.cli.program import app
from tests.support.cli import Cli


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, (*path, name))


PATHS = sorted(commands(typer.main.get_command(app)))


def test_the_commands_are_those_of_the_documentation() -> None:
    assert {" ".join(path) for path in PATHS} == {
        *("", "up", "api", "run", "work", "doctor"),
        *("callback", "callback list", "callback replay"),
        *("token", "token add", "token list", "token revoke"),
        *("account", "account add", "account list", "account show", "account set"),
        *("account check", "account pause", "account drain", "account resume", "account remove"),
        *(
            "job",
            "job submit",
            "job list",
            "job show",
            "job wait",
            "job cancel",
            "job retry",
            "job explain",
            "job download",
        ),
    }


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_has_an_example_of_its_own_command(bare_cli: Cli, path: tuple[str, ...]) -> None:
    outcome = bare_cli(*path, "--help")

    assert outcome.code == 0
    assert " ".join(("Example: dispatcher", *path)) in " ".join(outcome.stdout.split())


@pytest.mark.parametrize(
    ("path", "default"),
    [
        (("up",), "one in <state-dir>/token"),
        (("job", "list"), "./dispatcher.toml"),
        (("job", "list"), "the setting, else the embedded store that runs"),
        (("job", "list"), "{pxd}"),
    ],
)
def test_help_tells_the_default(
    bare_cli: Cli, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], default: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")

    shown = " ".join(bare_cli(*path, "--help").stdout.split())

    assert f"[default: ({default})]" in shown


@pytest.mark.parametrize(
    "path", [p for p in PATHS if p and p not in {("token",), ("account",), ("job",), ("callback",)}], ids=" ".join
)
def test_every_command_names_its_fleet_by_the_same_options(bare_cli: Cli, path: tuple[str, ...]) -> None:
    shown = bare_cli(*path, "--help").stdout

    assert [option for option in ("--config", "--redis-url", "--namespace", "--state-dir") if option not in shown] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ((), "Missing command."),
        (("bogus",), "No such command 'bogus'."),
        (("job", "show"), "Missing argument"),
        (("job", "show", "x", "--bogus"), "No such option: --bogus"),
        (("job", "submit", "a", "--priority", "high"), "'--priority'"),
        (("job", "list", "--status", "late"), "late is none of created"),
        (("up", "--workers", "-1"), "--workers"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_2(bare_cli: Cli, line: tuple[str, ...], said: str) -> None:
    outcome = bare_cli(*line)

    assert outcome.code == 2
    assert outcome.stdout == ""
    assert said in outcome.stderr
    assert "--help`" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_version_is_that_of_the_distribution(bare_cli: Cli) -> None:
    assert bare_cli("--version").stdout.strip() == version("pixverse-dispatcher")
