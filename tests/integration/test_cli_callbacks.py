"""`dispatcher callback`: what waits, what was given up, and making it again."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store
from tests.support.callbacks import URL, bury, dead, ended, id_of, put_off, under_way, waiting
from tests.support.cli import Cli
from tests.support.fleet import Fleet

SECRET_URL = "https://user:hunter2@listener.example/hook?key=hunter2"
UNKNOWN = "20261122203000123ABCDEF"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


def test_what_waits_is_listed_with_its_last_error(cli: Cli, fleet: Fleet) -> None:
    ended(fleet, "j1", url=SECRET_URL)
    put_off(fleet, "j1", delay_ms=60_000, error="it took too long")
    ended(fleet, "j2")
    bury(fleet, "j2")

    (owed,) = cli("callback", "list", "--json").data
    shown = cli("callback", "list").stdout

    assert owed.pop("next_at").startswith("20")
    assert owed == {
        "job_id": "j1",
        "id": "j1-final",
        "is_dead": False,
        "attempts": 1,
        "error": "it took too long",
        "reply_url": "https://listener.example/hook",
    }
    assert all(word in shown for word in ("j1-final", "it took too long", "https://listener.example/hook"))
    assert "hunter2" not in shown


def test_the_dead_are_listed_by_themselves_and_counted_by_doctor(cli: Cli, fleet: Fleet) -> None:
    ended(fleet, "j1")
    ended(fleet, "j2")
    bury(fleet, "j2", error="refused: 10.0.0.0/8 is Private-Use")

    (owed,) = cli("callback", "list", "--dead", "--json").data

    assert (owed["job_id"], owed["is_dead"], owed["error"]) == ("j2", True, "refused: 10.0.0.0/8 is Private-Use")
    assert "dead_at" in owed
    assert cli("doctor", "--json").data["callbacks"] == {"waiting": 1, "dead": 1}
    assert "Callbacks: 1 wait, 1 were given up" in cli("doctor").stdout


def test_replay_makes_a_dead_one_due(cli: Cli, fleet: Fleet) -> None:
    ended(fleet, "j1")
    bury(fleet, "j1")

    assert cli("callback", "replay", "j1", "--json").data == {"replayed": ["j1"]}
    assert (list(waiting(fleet)), dead(fleet), id_of(fleet, "j1")) == (["j1"], [], "j1-final")


def test_replay_all_takes_every_dead_one_and_leaves_what_is_forgotten(cli: Cli, fleet: Fleet) -> None:
    for job in ("j1", "j2", "j3"):
        ended(fleet, job, url=URL)
        bury(fleet, job)
    ended(fleet, "j4")
    put_off(fleet, "j4", delay_ms=60_000)
    fleet.store.client.delete(fleet.key("callback", "j3"))

    assert sorted(cli("callback", "replay", "--all", "--json").data["replayed"]) == ["j1", "j2"]
    assert waiting(fleet)["j4"] > 30_000


def test_what_cannot_be_replayed_says_why(cli: Cli, fleet: Fleet) -> None:
    under_way(fleet, "j1", on="")
    fleet.submit("j2")
    fleet.cancel("j2")

    assert cli("callback", "replay", UNKNOWN).code == 3
    assert cli("callback", "replay", "j1").code == 4
    no_url = cli("callback", "replay", "j2")
    assert (no_url.code, no_url.stderr) == (4, "Job j2 has no replyUrl: nobody is to be called back.\n")


@pytest.mark.parametrize("words", [(), ("j1", "--all")])
def test_replay_wants_jobs_or_all_of_them(cli: Cli, words: tuple[str, ...]) -> None:
    assert cli("callback", "replay", *words).code == 2
