"""The fuzz of the core in short form; ``make fuzz`` plays the long one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.fuzz.run import played
from tests.fuzz.stage import server
from tests.fuzz.switches import SWITCHES, Switch

JOBS = 2000
JOBS_TO_BREAK = 1500


@pytest.fixture(scope="module")
def client() -> Iterator[redis.Redis]:
    with server() as opened:
        yield opened


@pytest.mark.timeout(300)
def test_no_history_breaks_a_promise(client: redis.Redis) -> None:
    tally = played(client, seed="short", jobs=JOBS)

    assert not tally.breaches, tally.first
    assert all(tally.faults.values()), tally.faults
    assert tally.submissions > JOBS / 4


def test_a_seed_gives_the_same_history_again(client: redis.Redis) -> None:
    first, again = (played(client, seed="twice", jobs=50) for _ in range(2))

    assert (first.submissions, first.virtual_s, first.statuses) == (again.submissions, again.virtual_s, again.statuses)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("switch", SWITCHES, ids=lambda switch: switch.name)
def test_each_rule_is_missed_when_it_is_taken_away(client: redis.Redis, switch: Switch) -> None:
    tally = played(client, seed="short", jobs=JOBS_TO_BREAK, switch=switch, until_broken=True)

    assert any(kind in switch.breaks for kind in tally.breaches), tally.breaches
