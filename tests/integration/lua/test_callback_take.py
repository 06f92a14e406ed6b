"""callback_take: what is due goes to one caller, for a while; a host that hangs holds no other up."""

from __future__ import annotations

import pytest

from tests.support.callbacks import HOST, ended, make_due, put_off, take, under_way, waiting
from tests.support.fleet import FAR_MS, PAST_MS, Fleet


def test_what_is_due_is_taken_once_and_comes_again_in_a_minute(fleet: Fleet) -> None:
    ended(fleet, "j1")

    assert take(fleet) == ["ok", 0, ["j1", "j1-final", "0", "0", HOST]]
    assert take(fleet) == ["ok", 0]
    assert 50_000 < waiting(fleet)["j1"] <= 60_000


def test_what_was_taken_by_one_who_died_is_taken_again_under_the_same_id(fleet: Fleet) -> None:
    ended(fleet, "j1")
    first = take(fleet)

    make_due(fleet, "j1")

    assert take(fleet) == first


def test_the_longest_due_come_first_and_no_more_than_asked_for(fleet: Fleet) -> None:
    for job in ("j1", "j2", "j3"):
        ended(fleet, job, url=f"http://{job}.example/")
    fleet.store.client.zadd(fleet.key("callbacks"), {"j3": PAST_MS, "j2": PAST_MS + 1})

    verdict, more, *taken = take(fleet, 2)

    assert (verdict, more, [job for job, *_ in taken]) == ("ok", 1, ["j3", "j2"])


def test_a_host_with_calls_enough_waits_aside_while_others_are_served(fleet: Fleet) -> None:
    for job in ("j1", "j2", "j3"):
        ended(fleet, job)
    ended(fleet, "j4", url="http://another.example/")

    _, _, *taken = take(fleet, per_host=2, under_way=1)

    assert [job for job, *_ in taken] == ["j1", "j4"]
    assert all(1000 < waiting(fleet)[job] <= 2000 for job in ("j2", "j3"))


def test_a_host_that_was_not_called_yet_is_looked_at_again_soon(fleet: Fleet) -> None:
    for job in ("j1", "j2", "j3"):
        ended(fleet, job)

    take(fleet, per_host=2, aside_ms=500)

    assert sorted(ms > 0 for ms in waiting(fleet).values()) == [True] * 3
    assert min(waiting(fleet).values()) <= 500


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/other",
        f"http://user:pass@{HOST}/",
        f"http://{HOST.upper()}",
        f"http://{HOST}?x=@evil",
        f"http://{HOST}#x",
    ],
)
def test_a_host_is_told_by_its_name_and_port_alone(fleet: Fleet, url: str) -> None:
    ended(fleet, "j1", url=url)

    assert take(fleet)[2][4] == HOST


def test_attempts_and_the_time_since_the_first_are_told(fleet: Fleet) -> None:
    ended(fleet, "j1")
    take(fleet)
    put_off(fleet, "j1")
    fleet.store.client.hset(fleet.key("callback", "j1"), "first_ms", fleet.now_ms() - FAR_MS)
    make_due(fleet, "j1")

    _, _, (_, callback_id, attempts, tried_ms, _) = take(fleet)

    assert (callback_id, attempts) == ("j1-final", "1")
    assert FAR_MS <= int(tried_ms) < FAR_MS + 5000


@pytest.mark.parametrize("forgotten", ["job", "callback"])
def test_what_is_forgotten_leaves_the_outbox(fleet: Fleet, forgotten: str) -> None:
    ended(fleet, "j1")
    fleet.store.client.delete(fleet.key(forgotten, "j1"))
    if forgotten == "job":
        fleet.store.client.delete(fleet.key("jobs", "1"), fleet.key("jobs", "1", "cancelled"))

    assert take(fleet) == ["ok", 0]
    assert waiting(fleet) == {}
    assert not fleet.store.client.exists(fleet.key("callback", "j1"))
    fleet.submit("j1")  # the list of the user names it: it is there again for the closing check
    fleet.cancel("j1")


def test_a_full_look_says_that_there_may_be_more(fleet: Fleet) -> None:
    ended(fleet, "j1")
    fleet.store.client.zadd(fleet.key("callbacks"), {f"gone-{n}": PAST_MS for n in range(64)})

    assert take(fleet) == ["ok", 1]
    assert take(fleet)[2][0] == "j1"


def test_progress_is_owed_where_it_was_asked_for(fleet: Fleet) -> None:
    under_way(fleet, "j1")

    _, _, (job, callback_id, *_) = take(fleet)

    assert job == "j1"
    assert callback_id.startswith("j1-")
    assert callback_id != "j1-final"


def test_progress_is_not_owed_where_only_the_end_was_asked_for(fleet: Fleet) -> None:
    under_way(fleet, "j1", on="")

    assert take(fleet) == ["ok", 0]


def test_the_end_takes_the_place_of_progress_that_still_waits(fleet: Fleet) -> None:
    under_way(fleet, "j1")

    fleet.settle("j1")

    _, _, *taken = take(fleet)
    assert [callback_id for _, callback_id, *_ in taken] == ["j1-final"]


def test_a_job_without_a_reply_url_owes_nothing(fleet: Fleet) -> None:
    fleet.submit("j1")
    fleet.cancel("j1")

    assert waiting(fleet) == {}
