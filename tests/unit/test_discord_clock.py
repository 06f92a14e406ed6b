from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from workers.upstream.discord import snowflake
from workers.upstream.discord.clock import ClockGap


def test_an_id_carries_the_millisecond_of_its_birth() -> None:
    assert snowflake.born_ms(175_928_847_299_117_063) == 1_462_015_105_796


def test_the_first_id_of_an_instant_is_born_in_it_and_the_one_before_is_not() -> None:
    first = snowflake.first_at(1_462_015_105_796)

    assert snowflake.born_ms(first) == 1_462_015_105_796
    assert snowflake.born_ms(first - 1) == 1_462_015_105_795


def test_no_instant_gives_a_negative_id() -> None:
    assert snowflake.first_at(0) == 0


def gap_for(discord_ahead_s: float, *, age_s: float = 0) -> int:
    gap, now_s, wall_s = ClockGap(), time.monotonic(), time.time()
    gap.hear_redis(instant_ms=int((wall_s + 777) * 1000), asked_s=now_s)
    gap.hear_discord(formatdate(wall_s + 777 + discord_ahead_s, usegmt=True), sent_s=now_s - age_s)
    return gap.ms


@pytest.mark.parametrize("ahead_s", [60, -60, 5])
def test_clocks_that_differ_are_measured_to_a_second(ahead_s: float) -> None:
    assert abs(gap_for(ahead_s) - ahead_s * 1000) < 1500


@pytest.mark.parametrize("ahead_s", [0, 0.4, -0.4])
def test_clocks_that_agree_as_far_as_whole_seconds_can_tell_have_no_gap(ahead_s: float) -> None:
    assert gap_for(ahead_s) == 0


def test_a_slow_answer_says_nothing_about_the_clock() -> None:
    assert gap_for(60, age_s=5) == 0


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_missing_or_strange_date_is_passed_over(date: str | None) -> None:
    gap, now_s = ClockGap(), time.monotonic()
    gap.hear_redis(instant_ms=1, asked_s=now_s)

    gap.hear_discord(date, sent_s=now_s)

    assert gap.ms == 0
