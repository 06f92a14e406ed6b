"""Every account with free capacity is as likely as any other. Chance is fixed, so that the verdict is too.

``bench/uniformity.py`` draws 20,000 times from real entropy.
"""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest

from dispatcher.connection import Store
from tests.support.fleet import Fleet

SEED_MAX = 2_147_483_646


@pytest.fixture
def fleet(store: Store) -> Fleet:
    chance = random.Random(20_260_101)  # noqa: S311 (a draw that can be repeated)
    opened = Fleet(store)
    opened.seed = lambda: chance.randint(1, SEED_MAX)
    return opened


def chi_square_z(counts: Counter[str], channels: list[str]) -> float:
    """How far the counts are from equal ones, in standard deviations of the chi-square statistic."""
    expected = counts.total() / len(channels)
    freedom = len(channels) - 1
    statistic = sum((counts[channel] - expected) ** 2 / expected for channel in channels)
    return (statistic - freedom) / math.sqrt(2 * freedom)


@pytest.mark.parametrize(("accounts", "draws"), [(20, 2000), (200, 4000)])
def test_unequally_used_channels_are_drawn_equally_often(fleet: Fleet, accounts: int, draws: int) -> None:
    channels = [f"c{index}" for index in range(accounts)]
    for index, channel in enumerate(channels):
        fleet.put(channel, 10)
        for held in range(index % 8):
            fleet.submit(f"held-{channel}-{held}", pin=channel)
    counts: Counter[str] = Counter()

    for number in range(draws):
        job = f"j{number}"
        fleet.submit(job)
        counts[str(fleet.channel(job))] += 1
        fleet.claim(job)
        fleet.settle(job)

    assert abs(chi_square_z(counts, channels)) < 3
    assert set(counts) == set(channels)


def test_a_jobs_own_limit_draws_equally_among_the_channels_below_it(fleet: Fleet) -> None:
    channels = [f"c{index}" for index in range(20)]
    for index, channel in enumerate(channels):
        fleet.put(channel, 10)
        for held in range(index % 4):
            fleet.submit(f"held-{channel}-{held}", pin=channel)
    below = [channel for index, channel in enumerate(channels) if index % 4 < 2]
    counts: Counter[str] = Counter()

    for number in range(1500):
        fleet.submit(f"j{number}", limit=2)
        counts[str(fleet.channel(f"j{number}"))] += 1
        fleet.cancel(f"j{number}")

    assert abs(chi_square_z(counts, below)) < 3
    assert set(counts) == set(below)


def test_the_second_draw_of_one_call_is_as_uniform_as_the_first(fleet: Fleet) -> None:
    channels = [f"c{index}" for index in range(10)]
    for channel in channels:
        fleet.put(channel, 10)
    every_account = dict.fromkeys(channels, 0)
    counts: Counter[str] = Counter()

    for number in range(1000):
        fleet.store.client.delete(fleet.key("free", fleet.pool))
        fleet.submit(f"first-{number}")
        fleet.submit(f"second-{number}")
        fleet.store.client.zadd(fleet.key("free", fleet.pool), every_account)
        assert fleet.dispatch()[0] == 2
        counts[str(fleet.channel(f"second-{number}"))] += 1
        fleet.cancel(f"first-{number}")
        fleet.cancel(f"second-{number}")

    assert abs(chi_square_z(counts, channels)) < 3
