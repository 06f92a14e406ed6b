"""Exit codes: one table over the whole error tree, and what a shell sees of it."""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher import errors
from dispatcher.cli import program
from dispatcher.cli.exits import EXIT_CODES, exit_code_of
from dispatcher.connection import Store
from dispatcher.embedded import EmbeddedStore
from tests.support.cli import Cli
from tests.support.up import TERMINAL

PROGRAM = (*TERMINAL, sys.executable, "-m", "dispatcher")
CHANNEL = "1197013797467074001"
EXPECTED = {
    "RequestInvalid": 2,
    "SettingsError": 2,
    "JobNotFound": 3,
    "AccountNotFound": 3,
    "JobStateError": 4,
    "DuplicateJob": 4,
    "LinksUnavailable": 4,
    "LinksTimeout": 6,
    "AccountConflict": 4,
    "AccountUnavailable": 4,
    "CheckTimeout": 6,
    "NoFreeSlot": 4,
    "LeaseLost": 4,
    "LeasingClosed": 4,
    "Unauthorized": 4,
    "Forbidden": 4,
    "CallbackRefused": 4,
    "CallbackUnanswered": 1,
    "NoReplyUrl": 4,
    "SecretError": 4,
    "InUse": 4,
    "StoreUnavailable": 5,
    "StoreReplyError": 5,
    "WaitTimeout": 6,
    "RateLimited": 1,
    "AccountRejected": 1,
    "RequestRejected": 1,
    "Moderated": 1,
    "SubmitUnknown": 1,
    "UpstreamUnavailable": 1,
}
TREE: dict[str, type[errors.DispatcherError]] = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.DispatcherError)
}


@pytest.mark.parametrize(("name", "code"), EXPECTED.items())
def test_each_error_has_its_exit_code(name: str, code: int) -> None:
    error = TREE[name].__new__(TREE[name])

    assert exit_code_of(error) == code


def test_every_branch_of_the_tree_is_in_the_table() -> None:
    rows = tuple(kind for kind, _ in EXIT_CODES)
    missing = [name for name, kind in TREE.items() if kind is not errors.DispatcherError and not issubclass(kind, rows)]

    assert missing == []


def test_an_unknown_job_is_exit_3(cli: Cli) -> None:
    outcome = cli("job", "show", "20261122203000123ABCDEF")

    assert (outcome.code, outcome.stdout) == (3, "")
    assert outcome.stderr == "Unable to locate job 20261122203000123ABCDEF\n"


def test_an_unknown_account_is_exit_3(cli: Cli) -> None:
    assert cli("account", "show", CHANNEL).code == 3


def test_waiting_too_long_is_exit_6(cli: Cli) -> None:
    job = cli("job", "submit", "a calm sea", "--json").data

    outcome = cli("job", "wait", job["id"], "--timeout-s", "0.05")

    assert outcome.code == 6
    assert "did not end within 0.05 s" in outcome.stderr


def test_no_store_anywhere_is_exit_5_and_says_what_to_do(bare_cli: Cli, tmp_path: Path) -> None:
    outcome = bare_cli("job", "list", "--state-dir", str(tmp_path))

    assert outcome.code == 5
    assert "dispatcher up" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_store_that_is_away_is_exit_5(bare_cli: Cli, tmp_path: Path) -> None:
    outcome = bare_cli("token", "list", "--redis-url", f"unix://{tmp_path}/absent.sock")

    assert outcome.code == 5
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["namespace = 3", "no_such_setting = 1", "not toml"])
def test_a_bad_settings_file_is_exit_2(
    bare_cli: Cli, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCHER_CONFIG", "")  # set by --config; put back afterwards
    (tmp_path / "settings.toml").write_text(text)

    outcome = bare_cli("job", "list", "--config", str(tmp_path / "settings.toml"))

    assert outcome.code == 2
    assert outcome.stderr.count("\n") == 1


def test_keys_are_demanded_with_a_redis_url(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPATCHER_SECRET_KEYS")

    outcome = cli("account", "list")

    assert outcome.code == 2
    assert "DISPATCHER_SECRET_KEYS" in outcome.stderr


def test_the_embedded_store_is_found_with_its_keys(bare_cli: Cli, tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    url = store.start()
    try:
        found = bare_cli("account", "list", "--state-dir", str(tmp_path), "--json")
        named = bare_cli("account", "list", "--state-dir", str(tmp_path), "--redis-url", url, "--json")
    finally:
        store.stop()

    assert (found.code, found.data) == (0, [])
    assert (named.code, named.data) == (0, [])


def test_a_defect_is_one_sentence_too(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("dispatcher.client.Client.get", defect)

    outcome = cli("job", "show", "x")

    assert outcome.code == 1
    assert outcome.stderr.startswith("Unexpected ZeroDivisionError: division by zero.")
    assert outcome.stderr.count("\n") == 1


def test_a_defect_shows_where_it_is_when_asked(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("dispatcher.client.Client.get", defect)
    monkeypatch.setenv(program.DEBUG_VARIABLE, "1")

    with pytest.raises(ZeroDivisionError):
        cli("job", "show", "x")


def waiters(store: Store) -> set[str]:
    """Connections that wait for events."""
    return {client["id"] for client in store.client.client_list() if client["cmd"] == "xread"}


def test_ctrl_c_is_exit_130_without_a_traceback(cli: Cli, store: Store) -> None:
    job = cli("job", "submit", "a calm sea", "--json").data
    before = waiters(store)
    line = [*PROGRAM, "job", "wait", job["id"]]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as waiting:
        while not waiters(store) - before:
            assert waiting.poll() is None

        waiting.send_signal(signal.SIGINT)

        _, said = waiting.communicate()
    assert (waiting.returncode, said) == (130, "")


@pytest.mark.parametrize("module", ["pydantic", "redis", "typer", "dispatcher.cli.program"])
def test_ctrl_c_while_the_program_loads_shows_no_traceback(tmp_path: Path, module: str) -> None:
    """An import of this name is met by the signal, as by a person's hand."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, CtrlC())\n"
    )

    ended = subprocess.run(
        [*PROGRAM, "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == -signal.SIGINT  # which a shell shows as 130
    assert (ended.stdout, ended.stderr) == ("", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_role_that_is_stopped_ends_with_0_as_the_table_says(cli: Cli, number: signal.Signals) -> None:
    del cli  # it names the store in the environment
    with subprocess.Popen([*PROGRAM, "run"], stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        while "service started" not in service.stderr.readline():
            assert service.poll() is None

        service.send_signal(number)

        service.communicate()
    operations = Path(__file__).parents[2].joinpath("docs/operations.md").read_text()
    assert service.returncode == 0
    assert "SIGTERM and Ctrl-C both end them with 0" in operations
