"""links_told: a worker answers a refresh of links."""

from __future__ import annotations

import pytest

from tests.support.fleet import Fleet
from tests.support.links import ask, completed, tell

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def left_ms(fleet: Fleet) -> int:
    return int(fleet.store.client.pttl(fleet.key("links", "j1")))


def asked(fleet: Fleet) -> str:
    completed(fleet)
    return str(ask(fleet)[1])


def test_the_links_are_kept_by_attachment_and_the_record_stays(fleet: Fleet) -> None:
    refresh_id = asked(fleet)
    before = fleet.record("j1")

    assert tell(fleet, refresh_id, "7", "http://x/7", "8", "http://x/8") == ["ok"]

    told = fleet.hash("links", "j1")
    assert (told["id"], told["verdict"], told["reason"]) == (refresh_id, "ok", "")
    assert (told["url:7"], told["url:8"]) == ("http://x/7", "http://x/8")
    assert int(told["asked_ms"]) <= int(told["answered_ms"]) <= fleet.now_ms()
    assert fleet.record("j1") == before


def test_an_answer_that_is_told_twice_is_the_first(fleet: Fleet) -> None:
    refresh_id = asked(fleet)
    tell(fleet, refresh_id, "7", "http://x/7")

    assert fleet.again_changes_nothing() == ["stale"]
    assert tell(fleet, refresh_id, verdict="refused", reason="late") == ["stale"]
    assert fleet.hash("links", "j1")["verdict"] == "ok"


def test_why_there_are_none_is_kept_too(fleet: Fleet) -> None:
    refresh_id = asked(fleet)

    assert tell(fleet, refresh_id, verdict="refused", reason="no account") == ["ok"]

    told = fleet.hash("links", "j1")
    assert (told["verdict"], told["reason"]) == ("refused", "no account")
    assert 0 < left_ms(fleet) <= HOUR_MS


def test_the_answer_of_a_refresh_that_a_later_one_replaced_is_dropped(fleet: Fleet) -> None:
    first = asked(fleet)
    second = ask(fleet, join_ms=0)[1]

    assert tell(fleet, first, "7", "http://x/old") == ["stale"]
    assert "verdict" not in fleet.hash("links", "j1")
    assert tell(fleet, second, "7", "http://x/new") == ["ok"]


def test_a_refresh_that_is_forgotten_leaves_nothing(fleet: Fleet) -> None:
    refresh_id = asked(fleet)
    fleet.store.client.delete(fleet.key("links", "j1"))

    assert tell(fleet, refresh_id, "7", "http://x/7") == ["stale"]
    assert fleet.hash("links", "j1") == {}


@pytest.mark.parametrize(
    ("lasts_ms", "kept_ms"),
    [
        (24 * HOUR_MS, HOUR_MS),
        (20 * MINUTE_MS, 20 * MINUTE_MS),
        (1000, MINUTE_MS),
        (-HOUR_MS, MINUTE_MS),
    ],
    ids=[
        "no longer than told",
        "no longer than it lasts",
        "long enough to be read",
        "an upstream's clock that is behind",
    ],
)
def test_an_answer_is_kept_while_its_links_last(fleet: Fleet, lasts_ms: int, kept_ms: int) -> None:
    refresh_id = asked(fleet)

    tell(fleet, refresh_id, "7", "http://x/7", until_ms=fleet.now_ms() + lasts_ms)

    assert kept_ms - 10_000 < left_ms(fleet) <= kept_ms


def test_links_that_do_not_say_when_they_end_are_kept_as_long_as_was_told(fleet: Fleet) -> None:
    tell(fleet, asked(fleet), "7", "http://x/7")

    assert HOUR_MS - 10_000 < left_ms(fleet) <= HOUR_MS
