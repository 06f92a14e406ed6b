"""The command line in this process: commands with the test's store, what they wrote, how they ended."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from dispatcher.cli.program import run
from dispatcher.connection import Store
from dispatcher.settings import Settings
from tests.support.api import new_key_text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> Any:
        """The one line of JSON on stdout."""
        assert self.stdout.count("\n") == 1, self.stdout + self.stderr
        return json.loads(self.stdout)


Cli = Callable[..., Outcome]


@pytest.fixture
def bare_cli(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    """Run a command line as it is given."""

    def invoke(*arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capfd.readouterr()
        code = run(arguments)
        written = capfd.readouterr()
        return Outcome(code, written.out, written.err)

    yield invoke
    structlog.reset_defaults()  # a command's log goes to the stderr of its own test


@pytest.fixture
def cli(bare_cli: Cli, settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command on the test's store."""
    del store  # it cleans up
    monkeypatch.setenv("DISPATCHER_REDIS_URL", str(settings.redis_url))
    monkeypatch.setenv("DISPATCHER_NAMESPACE", settings.namespace)
    monkeypatch.setenv("DISPATCHER_STATE_DIR", str(settings.state_dir))
    monkeypatch.setenv("DISPATCHER_SECRET_KEYS", new_key_text())
    return bare_cli
