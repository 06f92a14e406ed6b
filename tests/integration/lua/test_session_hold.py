"""session_hold, session_leave: one process at a time has a token's gateway session."""

from __future__ import annotations

from typing import Any

from tests.support.fleet import Fleet
from tests.support.player import wait_for

TTL_MS = 60_000


def hold(fleet: Fleet, owner: str, *, digest: str = "d", ttl_ms: int = TTL_MS) -> Any:
    return fleet.run("session_hold", digest, owner, ttl_ms)


def leave(fleet: Fleet, owner: str, *, closed_ms: int = 0) -> Any:
    return fleet.run("session_leave", "d", owner, closed_ms)


def life_ms(fleet: Fleet) -> int:
    return int(fleet.store.client.pttl(fleet.key("session:d")))


def test_the_first_has_the_place_and_the_second_is_told_how_long(fleet: Fleet) -> None:
    verdict, number = hold(fleet, "a")
    refused, left_ms = hold(fleet, "b")

    assert (verdict, refused) == ("ours", "taken")
    assert int(number) > 1_600_000_000_000
    assert TTL_MS / 2 < left_ms <= TTL_MS


def test_who_has_the_place_keeps_it_under_its_number_and_for_longer(fleet: Fleet) -> None:
    first = hold(fleet, "a", ttl_ms=1000)

    assert hold(fleet, "a") == first
    assert life_ms(fleet) > 1000
    assert fleet.again_changes_nothing() == first


def test_a_place_that_ran_out_goes_to_the_next_under_a_larger_number(fleet: Fleet) -> None:
    _, old = hold(fleet, "a")
    fleet.store.client.delete(fleet.key("session:d"))

    verdict, new = hold(fleet, "b")

    assert verdict == "ours"
    assert int(new) >= int(old)
    assert hold(fleet, "a")[0] == "taken"


def test_a_place_given_up_goes_to_the_next_at_once_under_a_larger_number(fleet: Fleet) -> None:
    hold(fleet, "a")
    ahead = fleet.now_ms() + TTL_MS  # as after many claims in one moment, or a clock that was set back
    fleet.store.client.hset(fleet.key("session:d"), "number", ahead)

    assert leave(fleet, "a") == 1
    assert life_ms(fleet) > 0
    assert hold(fleet, "b") == ["ours", str(ahead + 1)]


def test_only_who_has_the_place_gives_it_up(fleet: Fleet) -> None:
    held = hold(fleet, "a")

    assert leave(fleet, "b") == 0
    assert hold(fleet, "a") == held
    assert leave(fleet, "a") == 1
    assert leave(fleet, "a") == 0


def test_a_closed_place_is_nobodys_until_its_time_is_over(fleet: Fleet) -> None:
    hold(fleet, "a", ttl_ms=1000)

    assert leave(fleet, "a", closed_ms=TTL_MS) == 1
    assert fleet.again_changes_nothing() == 0
    for owner in ("a", "b"):
        verdict, left_ms = hold(fleet, owner)
        assert verdict == "closed"
        assert 1000 < left_ms <= TTL_MS
    fleet.store.client.pexpire(fleet.key("session:d"), 1)
    wait_for(lambda: hold(fleet, "b")[0] == "ours" or None)


def test_who_does_not_have_the_place_cannot_close_it(fleet: Fleet) -> None:
    held = hold(fleet, "a")

    assert leave(fleet, "b", closed_ms=TTL_MS) == 0
    assert hold(fleet, "a") == held


def test_tokens_have_a_place_each(fleet: Fleet) -> None:
    assert hold(fleet, "a", digest="d")[0] == "ours"
    assert hold(fleet, "b", digest="e")[0] == "ours"
