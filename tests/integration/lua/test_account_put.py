"""account_put: create or update an account, live."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet


def test_a_new_account_is_active_and_free(fleet: Fleet) -> None:
    assert fleet.put("c1", 3) == ["created", "v-secret-c1"]
    account = fleet.account("c1")
    assert (account["state"], account["max_jobs"], account["user"], fleet.free()) == ("active", "3", "1", ["c1"])


def test_put_again_updates_and_changes_nothing(fleet: Fleet) -> None:
    fleet.put("c1")

    assert fleet.again_changes_nothing() == ["updated", "v-secret-c1"]


def test_a_new_account_takes_what_waits(fleet: Fleet) -> None:
    for index in range(3):
        fleet.submit(f"j{index}")

    fleet.put("c1", 2)

    assert (fleet.used("c1"), fleet.pending()) == (["j0", "j1"], ["j2"])


def test_a_raised_limit_is_granted_from_in_the_same_step(fleet: Fleet) -> None:
    fleet.put("c1")
    for index in range(3):
        fleet.submit(f"j{index}")

    fleet.put("c1", 3)

    assert fleet.used("c1") == ["j0", "j1", "j2"]


def test_a_lowered_limit_drains(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for index in range(4):
        fleet.submit(f"j{index}")

    fleet.put("c1", 2)
    assert len(fleet.used("c1")) == 3
    fleet.cancel("j0")
    assert (fleet.used("c1"), fleet.pending()) == (["j1", "j2"], ["j3"])
    fleet.cancel("j1")
    assert fleet.used("c1") == ["j2", "j3"]


def test_a_channel_of_another_user_is_foreign(fleet: Fleet) -> None:
    fleet.put("c1")

    assert Fleet(fleet.store, user=2).put("c1") == ["foreign"]
    assert fleet.account("c1")["user"] == "1"


def test_a_secret_on_another_channel_is_a_duplicate(fleet: Fleet) -> None:
    fleet.put("c1", secret="same")

    assert fleet.put("c2", secret="same") == ["duplicate", "c1", "1:discord"]
    assert fleet.account("c2") == {}


def test_a_secret_of_another_user_is_a_duplicate_of_his_pool(fleet: Fleet) -> None:
    Fleet(fleet.store, user=2).put("c2", secret="same")

    assert fleet.put("c1", secret="same") == ["duplicate", "c2", "2:discord"]


def test_a_new_secret_frees_the_old_one(fleet: Fleet) -> None:
    fleet.put("c1", secret="first")

    assert fleet.put("c1", secret="second") == ["updated", "v-second"]
    assert fleet.put("c2", secret="first") == ["created", "v-first"]


def test_the_same_secret_keeps_its_version_and_seal(fleet: Fleet) -> None:
    fleet.put("c1", secret="same")
    digest = fleet.account("c1")["digest"]

    reply = fleet.run("account_put", 1, 1000, 1, fleet.pool, "c1", "11", "k1:resealed", "m", digest, 4, "v-newer", "")

    account = fleet.account("c1")
    assert reply == ["updated", "v-same"]
    assert (account["sealed"], account["server"], account["max_jobs"]) == ("k1:same", "11", "4")


def test_the_same_secret_under_another_key_is_sealed_anew(fleet: Fleet) -> None:
    fleet.put("c1", secret="same")
    digest = fleet.account("c1")["digest"]

    reply = fleet.run("account_put", 1, 1000, 1, fleet.pool, "c1", "11", "k2:same", "m", digest, 4, "v-newer", "")

    assert (reply, fleet.account("c1")["sealed"]) == (["updated", "v-newer"], "k2:same")


def test_a_new_secret_revives_a_disabled_account_and_the_same_does_not(fleet: Fleet) -> None:
    fleet.put("c1", secret="first")
    fleet.stand("c1", "disabled", "401")

    fleet.put("c1", secret="first")
    assert (fleet.account("c1")["state"], fleet.free()) == ("disabled", [])
    fleet.put("c1", secret="second")
    assert (fleet.account("c1")["state"], fleet.account("c1")["reason"], fleet.free()) == ("active", "", ["c1"])


def test_a_pause_stays_its_owners(fleet: Fleet) -> None:
    fleet.put("c1", secret="first")
    fleet.stand("c1", "paused")

    fleet.put("c1", secret="second")

    assert fleet.account("c1")["state"] == "paused"


@pytest.mark.parametrize("state", ["A", "D"])
def test_a_channel_posted_again_while_it_drains_counts_its_old_jobs(fleet: Fleet, state: str) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", state)
    fleet.remove("c1")

    assert fleet.put("c1", 2) == ["created", "v-secret-c1"]
    for index in range(2):
        fleet.submit(f"new-{index}")
    assert (fleet.used("c1"), fleet.pending()) == (["j1", "new-0"], ["new-1"])


def test_an_account_registered_again_while_it_cools_cools_on_and_returns(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.bring("j2", "A")
    fleet.handback("j2", cool_ms=60_000)
    fleet.remove("c1")

    fleet.put("c1", 2)
    assert (fleet.free(), fleet.state("j2")) == ([], "P")
    fleet.end_cooling("c1")
    fleet.dispatch()
    assert fleet.state("j2") == "R"


def test_a_new_secret_needs_no_more_checks(fleet: Fleet) -> None:
    fleet.put("c1", secret="first")
    fleet.bring("j1", "S")
    fleet.handback("j1", "401", disable=True, requeues_max="")

    fleet.put("c1", secret="second")

    assert (fleet.account("c1")["revive"], fleet.score(f"{fleet.pool}:c1", "checks")) == ("", None)


def test_its_own_daily_cap_stays_until_another_is_given_or_it_is_registered_anew(fleet: Fleet) -> None:
    fleet.put("c1", 2, daily_cap=5)
    fleet.put("c1", 3)
    assert fleet.account("c1")["daily_cap"] == "5"
    fleet.put("c1", daily_cap=0)
    assert fleet.account("c1")["daily_cap"] == "0"

    fleet.bring("j1", "A")
    fleet.remove("c1")
    fleet.put("c1")

    assert "daily_cap" not in fleet.account("c1")
