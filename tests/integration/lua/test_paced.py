"""paced: what one worker was told binds them all, is only ever extended, and ends by itself."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from dispatcher.connection import Store
from tests.support.limits import Road

TIMES_MS = st.just(0) | st.integers(60_000, 180_000)
"""Long enough for no block to end by itself while it is looked at."""

_digests = (f"h{number}" for number in itertools.count())


@pytest.fixture
def road(store: Store) -> Road:
    return Road(store)


def held_ms(road: Road, **place: str) -> int:
    """How long a call is held; 0 if it may leave."""
    verdict, ms, *_ = road.ask(**place)  # type: ignore[arg-type]  # only texts are given here
    return int(ms) if verdict == "held" else 0


def test_an_answer_that_forbids_nothing_changes_nothing(road: Road, store: Store) -> None:
    assert road.tell() == ["ok"]
    assert list(store.client.scan_iter(f"{store.keys.namespace}:*")) == []


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("route", ("blocked", "discord", "d1", "messages", "c1")),
        ("token", ("blocked", "discord", "d1")),
        ("address", ("shut", "discord", "here")),
    ],
)
def test_a_block_lives_as_long_as_was_asked_for(road: Road, scope: str, key: tuple[str, ...]) -> None:
    road.tell(scope, 30_000)

    assert 28_000 < road.life_ms(*key) <= 30_000
    assert 28_000 < held_ms(road) <= 30_000
    road.again()
    assert road.life_ms(*key) <= 30_000


def test_a_shorter_block_changes_nothing(road: Road) -> None:
    road.tell("route", 60_000, "the longer one")

    assert road.tell("route", 1000, "the shorter one") == ["ok"]

    assert road.life_ms("blocked", "discord", "d1", "messages", "c1") > 50_000
    assert road.ask()[3] == "the longer one"


def test_a_block_of_no_time_is_none(road: Road, store: Store) -> None:
    assert road.tell("address", 0) == ["ok"]
    assert list(store.client.scan_iter(f"{store.keys.namespace}:*")) == []


@tried(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(["route", "token", "address"]), TIMES_MS), min_size=1, max_size=12))
def test_no_order_of_answers_ever_shortens_a_block(store: Store, answers: list[tuple[str, int]]) -> None:
    road = Road(store, digest := next(_digests))
    place = {"egress": digest, "digest": digest}
    until_ms: dict[str, int] = {}

    for scope, ms in answers:
        road.tell(scope, ms, **place)  # type: ignore[arg-type]  # only texts are given here
        keys = {
            "route": road.key("blocked", "discord", digest, "messages", "c1"),
            "token": road.key("blocked", "discord", digest),
            "address": road.key("shut", "discord", digest),
        }
        for name, key in keys.items():
            now_until_ms = int(str(store.client.get(key) or "0").partition(" ")[0])
            assert now_until_ms >= until_ms.get(name, 0)
            until_ms[name] = now_until_ms
        seconds, micros = store.client.time()
        least_ms = max(until_ms.values()) - (int(seconds) * 1000 + int(micros) // 1000)
        assert held_ms(road, **place) >= least_ms - 1000
        assert held_ms(road, **place) <= max(ms for _, ms in answers)


def test_the_answer_that_closes_an_address_is_told_so(road: Road) -> None:
    verdict, ms, reason = road.tell("address", 30_000, "a page")

    assert (verdict, ms, reason) == ("shut", "30000", "a page")
    assert road.tell("address", 10_000, "a page") == ["ok"]
    assert road.tell("address", 60_000, "a page")[0] == "shut"


def test_refused_calls_close_their_address_until_the_window_is_empty(road: Road) -> None:
    told = [road.tell(is_invalid=True, digest=f"d{n}", invalid_max=5) for n in range(4)]
    assert told == [["ok"]] * 4
    assert held_ms(road) == 0

    verdict, ms, reason = road.tell(is_invalid=True, digest="d9", invalid_max=5)

    assert (verdict, ms, reason) == ("shut", "600000", "5 of its calls were refused within 10 min")
    assert 590_000 < held_ms(road, digest="somebody else") <= 600_000
    assert held_ms(road, egress="there") == 0


def test_a_refused_call_counts_once_however_often_it_is_told(road: Road) -> None:
    road.tell(is_invalid=True, invalid_max=2)

    assert [road.again() for _ in range(5)] == [["ok"]] * 5
    assert road.invalid() == 1


def test_a_repeated_telling_starts_nothing_anew(road: Road, store: Store) -> None:
    def instants() -> object:
        return store.client.zrange(road.key("invalid", "discord", "here"), 0, -1, withscores=True)

    assert road.tell(is_invalid=True, invalid_max=1)[0] == "shut"
    told, until = instants(), store.client.get(road.key("shut", "discord", "here"))
    began = store.client.time()
    while store.client.time()[1] // 2000 == began[1] // 2000:
        pass  # the server's clock goes on

    assert road.again() == ["ok"]

    assert (instants(), store.client.get(road.key("shut", "discord", "here"))) == (told, until)


def test_each_address_has_a_count_of_its_own(road: Road) -> None:
    for egress in ("here", "there"):
        assert road.tell(is_invalid=True, egress=egress, invalid_max=2) == ["ok"]

    assert (road.invalid("here"), road.invalid("there")) == (1, 1)


def test_what_is_older_than_the_window_counts_no_more(road: Road, store: Store) -> None:
    seconds, _ = store.client.time()
    key = road.key("invalid", "discord", "here")
    now_ms = int(seconds) * 1000
    store.client.zadd(key, {"old": now_ms - 601_000, "still": now_ms - 590_000, "of another clock": now_ms + 60_000})

    assert road.tell(is_invalid=True, invalid_max=3) == ["ok"]

    assert road.invalid() == 2
    assert 590_000 < road.life_ms("invalid", "discord", "here") <= 600_000


def test_refusals_that_were_under_way_keep_the_address_closed(road: Road) -> None:
    road.tell(is_invalid=True, invalid_max=1, window_ms=100_000)

    assert road.tell(is_invalid=True, invalid_max=1, window_ms=200_000)[0] == "shut"

    assert road.life_ms("shut", "discord", "here") > 150_000


def test_a_refusal_may_block_its_route_and_close_the_address_at_once(road: Road) -> None:
    assert road.tell("route", 5000, is_invalid=True, invalid_max=1)[0] == "shut"

    assert road.life_ms("blocked", "discord", "d1", "messages", "c1") > 0
    assert road.ask()[2] == "address"


def test_of_one_bucket_the_smaller_rest_and_the_later_end_count(road: Road, store: Store) -> None:
    road.tell(bucket=("b1", 3, 40_000))
    road.tell(bucket=("b1", 4, 20_000))

    key = ("bucket", "discord", "d1", "b1", "c1")
    assert store.client.hget(road.key(*key), "remaining") == "3"
    assert 35_000 < road.life_ms(*key) <= 40_000
    road.again()
    assert store.client.hget(road.key(*key), "remaining") == "3"


def test_a_bucket_is_forgotten_when_it_is_full_again(road: Road, store: Store) -> None:
    road.tell(bucket=("b1", 0, 0))

    assert held_ms(road) == 0
    assert not store.client.exists(road.key("bucket", "discord", "d1", "b1", "c1"))
    assert 86_000_000 < road.life_ms("bucket_of", "discord", "d1", "messages") <= 86_400_000
