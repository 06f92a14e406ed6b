"""Which upstreams a worker has: what distributions declare."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
from pydantic import SecretStr

from dispatcher.connection import AsyncStore
from dispatcher.errors import SettingsError
from dispatcher.models import Account
from dispatcher.settings import Settings
from tests.support.desk import Unchecked
from tests.support.memory import memory_store
from workers.upstream import Ended, Ledger, Outcome
from workers.upstream.discord import Discord
from workers.upstream.installed import GROUP, installed

OPENED: list[str] = []


class Echo(Unchecked):
    """An upstream that ends every job with its prompt."""

    name = "echo"

    def __init__(self, settings: Settings, *, open_secret: Callable[[Account], SecretStr], store: AsyncStore) -> None:
        self.settings = settings
        self.store = store
        self.open_secret = open_secret

    async def run(self, ledger: Ledger) -> Outcome:
        return Ended(status="completed", error=ledger.job.prompt)


class Misnamed(Echo):
    """Declared as something else."""

    name = "somebody"


def broken(_: Settings, *, open_secret: Callable[[Account], SecretStr], store: AsyncStore) -> Echo:
    raise RuntimeError(f"its own fault, with {open_secret} and {store}")


def declared(name: str, what: object) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{getattr(what, '__name__', '')}", GROUP)


def opened(account: Account, *, upstream: str) -> SecretStr:
    OPENED.append(f"{upstream}:{account.channel}")
    return SecretStr("a secret")


@pytest.fixture
def account() -> Account:
    stored = {"user": "1", "channel": "c1", "server": "s1", "max_jobs": "1", "state": "active"}
    return Account.model_validate({**stored, "sealed": "", "masked": "", "secret_version": "1"})


def test_ours_is_declared_as_any_other_would_be(settings: Settings) -> None:
    upstreams = installed(settings, opened, memory_store())

    assert isinstance(upstreams["discord"], Discord)


def test_a_distribution_beside_ours_adds_its_upstream(
    settings: Settings, account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = tmp_path / "echo-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: echo\nVersion: 1\n")
    (information / "entry_points.txt").write_text(f"[{GROUP}]\necho = {__name__}:Echo\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    upstreams = installed(settings, opened, memory_store())

    assert {"discord", "echo"} <= set(upstreams)
    echo = upstreams["echo"]
    assert type(echo).__name__ == "Echo"
    assert echo.open_secret(account).get_secret_value() == "a secret"  # type: ignore[attr-defined]  # it is an Echo
    assert OPENED[-1] == "echo:c1"


@pytest.mark.parametrize("fault", [broken, Misnamed])
def test_one_that_cannot_be_loaded_takes_no_other_with_it(settings: Settings, fault: object) -> None:
    upstreams = installed(
        settings, opened, memory_store(), declared=[declared("faulty", fault), declared("echo", Echo)]
    )

    assert set(upstreams) == {"echo"}


def test_one_that_cannot_be_imported_takes_no_other_with_it(settings: Settings) -> None:
    gone = EntryPoint("gone", "no_such_module:Upstream", GROUP)

    assert set(installed(settings, opened, memory_store(), declared=[gone, declared("echo", Echo)])) == {"echo"}


def test_two_of_one_name_are_refused(settings: Settings) -> None:
    with pytest.raises(SettingsError, match=re.escape("Two upstreams are called echo")):
        installed(settings, opened, memory_store(), declared=[declared("echo", Echo), declared("echo", Misnamed)])


def test_none_at_all_is_a_broken_installation(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="No upstream is declared"):
        installed(settings, opened, memory_store(), declared=EntryPoints())


def test_a_distribution_that_is_found_twice_is_one(settings: Settings) -> None:
    assert set(installed(settings, opened, memory_store(), declared=[declared("echo", Echo)] * 2)) == {"echo"}
