"""`dispatcher account` and `dispatcher token` on a real store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.access import Access
from dispatcher.cli.account import SECRET_VARIABLE
from dispatcher.connection import Store
from dispatcher.errors import Unauthorized
from dispatcher.settings import Settings
from tests.support.cli import Cli, Outcome
from tests.support.fleet import Fleet

CHANNEL = "1197013797467074001"
SECOND = "1197013797467074002"
SERVER = "1180000000000000000"
SECRET = "MTE5NzAx.GxYz12.secret-of-the-account"


def add(cli: Cli, channel: str = CHANNEL, *more: str, secret: str = SECRET) -> Outcome:
    return cli("account", "add", channel, "--server", SERVER, "--json", *more, stdin=f"{secret}\n")


def test_an_account_is_added_with_the_secret_from_stdin(cli: Cli) -> None:
    outcome = add(cli, CHANNEL, "--max-jobs", "5")

    assert outcome.data == {
        "channel": CHANNEL,
        "server": SERVER,
        "discord": "MTE…secured…unt",
        "maxJobs": 5,
        "used": 0,
        "state": "active",
        "reason": "",
        "coolingMs": 0,
        "coolingReason": "",
        "coolingRepeats": 0,
        "submittedToday": 0,
        "dailyCap": None,
    }
    assert cli("account", "list", "--json").data == [outcome.data]
    assert cli("account", "show", CHANNEL, "--json").data == outcome.data


def test_the_secret_may_come_from_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)

    assert cli("account", "add", CHANNEL, "--server", SERVER).code == 0


def test_no_secret_is_exit_2(cli: Cli) -> None:
    outcome = cli("account", "add", CHANNEL, "--server", SERVER)

    assert outcome.code == 2
    assert SECRET_VARIABLE in outcome.stderr


def test_no_command_takes_a_secret_as_an_argument_or_shows_one(cli: Cli) -> None:
    add(cli)

    refused = cli("account", "add", CHANNEL, "--server", SERVER, "--discord", SECRET)
    shown = [cli("account", "list"), cli("account", "show", CHANNEL), cli("account", "list", "--json")]

    assert refused.code == 2
    assert not [outcome for outcome in [refused, *shown] if SECRET in outcome.stdout + outcome.stderr]


@pytest.mark.parametrize("max_jobs", ["0", "11"])
def test_a_limit_out_of_range_is_exit_2(cli: Cli, max_jobs: str) -> None:
    assert add(cli, CHANNEL, "--max-jobs", max_jobs).code == 2


def test_a_secret_on_two_channels_is_exit_4(cli: Cli) -> None:
    add(cli)

    outcome = add(cli, SECOND)

    assert outcome.code == 4
    assert outcome.stderr == f"Channel {CHANNEL} configuration has same discord value\n"


def test_set_changes_what_is_given_and_keeps_the_rest(cli: Cli) -> None:
    before = add(cli, CHANNEL, "--max-jobs", "2").data

    changed = cli("account", "set", CHANNEL, "--max-jobs", "7", "--json").data

    assert changed == {**before, "maxJobs": 7}


def test_set_can_replace_the_secret(cli: Cli) -> None:
    before = add(cli).data

    changed = cli("account", "set", CHANNEL, "--new-secret", "--json", stdin="another-discord-token\n").data

    assert changed == {**before, "discord": "ano…secured…ken"}


def test_pause_and_resume(cli: Cli) -> None:
    add(cli)

    cli("account", "pause", CHANNEL, "--reason", "card expires")
    paused = cli("account", "show", CHANNEL, "--json").data
    cli("account", "resume", CHANNEL)
    resumed = cli("account", "show", CHANNEL, "--json").data

    assert (paused["state"], paused["reason"]) == ("paused", "card expires")
    assert (resumed["state"], resumed["reason"]) == ("active", "")


def test_drain_waits_for_what_the_account_holds_and_then_pauses_it(cli: Cli, store: Store) -> None:
    add(cli)
    fleet = Fleet(store)
    fleet.bring("j1", "A")

    drains = cli("account", "drain", CHANNEL, "--reason", "moves")
    shown = cli("account", "show", CHANNEL, "--json").data
    fleet.settle("j1")
    drained = cli("account", "show", CHANNEL, "--json").data

    assert drains.stdout == f"Account {CHANNEL} drains; 1 slot is still held.\n"
    assert (shown["state"], shown["reason"], shown["used"]) == ("draining", "moves", 1)
    assert (drained["state"], drained["reason"], drained["used"]) == ("paused", "moves", 0)


def test_an_idle_account_drains_at_once(cli: Cli) -> None:
    add(cli)

    assert cli("account", "drain", CHANNEL).stdout == f"Account {CHANNEL} holds no slot and is paused.\n"


def test_how_long_an_account_rests_and_why_is_shown(cli: Cli, store: Store) -> None:
    add(cli)
    fleet = Fleet(store)
    fleet.bring("j1", "S")
    fleet.handback("j1", "too many jobs", cool_ms=600_000)

    shown = cli("account", "show", CHANNEL, "--json").data

    assert 0 < shown["coolingMs"] <= 750_000
    assert (shown["coolingReason"], shown["coolingRepeats"], shown["submittedToday"]) == ("too many jobs", 1, 1)
    assert " s: too many jobs" in cli("account", "list").stdout


def test_the_count_of_another_day_is_not_todays(cli: Cli, store: Store) -> None:
    add(cli)
    fleet = Fleet(store)
    fleet.bring("j1", "A")
    store.client.hincrby(fleet.key("account", fleet.pool, CHANNEL), "day", -1)

    assert cli("account", "show", CHANNEL, "--json").data["submittedToday"] == 0


def test_an_account_may_have_a_daily_cap_of_its_own(cli: Cli) -> None:
    assert add(cli, CHANNEL, "--daily-cap", "40").data["dailyCap"] == 40
    assert cli("account", "set", CHANNEL, "--max-jobs", "2", "--json").data["dailyCap"] == 40
    assert cli("account", "set", CHANNEL, "--daily-cap", "0", "--json").data["dailyCap"] == 0
    assert add(cli, CHANNEL, "--daily-cap", "-1").code == 2


def test_a_removed_account_is_gone(cli: Cli) -> None:
    add(cli)

    assert cli("account", "remove", CHANNEL).code == 0
    assert cli("account", "remove", CHANNEL).code == 3
    assert cli("account", "list", "--json").data == []


def test_users_see_their_own_accounts_alone(cli: Cli) -> None:
    add(cli)

    assert cli("account", "list", "--user", "2", "--json").data == []
    assert cli("account", "show", CHANNEL, "--user", "2").code == 3


def test_tables_show_slots_and_states(cli: Cli) -> None:
    add(cli)

    shown = cli("account", "list").stdout

    assert CHANNEL in shown
    assert "0/3" in shown
    assert "active" in shown


def test_a_token_is_shown_once_and_works_until_it_is_revoked(cli: Cli, store: Store, settings: Settings) -> None:
    token = cli("token", "add", "7", "--name", "films").stdout.strip()
    access = Access(settings)
    assert store.do(access.authenticate(f"Bearer {token}")) == 7
    listed = cli("token", "list", "--json")
    assert token not in listed.stdout
    assert [(entry["user"], entry["name"]) for entry in listed.data] == [(7, "films")]

    assert cli("token", "revoke", listed.data[0]["id"]).code == 0

    with pytest.raises(Unauthorized):
        store.do(access.authenticate(f"Bearer {token}"))
    assert cli("token", "revoke", listed.data[0]["id"]).code == 3


def test_the_secret_is_on_no_command_line_of_a_pipe(cli: Cli, tmp_path: Path) -> None:
    """The documented way: `dispatcher account add … < file`."""
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    line = [sys.executable, "-m", "dispatcher", "account", "add", CHANNEL, "--server", SERVER]

    with (tmp_path / "secret").open() as secret:
        done = subprocess.run(line, stdin=secret, env=dict(os.environ), capture_output=True, text=True, check=True)

    assert "MTE…secured…unt" in done.stdout
    assert SECRET not in done.stdout + done.stderr
