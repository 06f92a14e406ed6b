from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from workers.upstream.discord import snowflake
from workers.upstream.discord.clock import UpstreamClock


def test_an_id_carries_the_millisecond_of_its_birth() -> None:
    assert snowflake.born_ms(175_928_847_299_117_063) == 1_462_015_105_796


def test_the_first_id_of_an_instant_is_born_in_it_and_the_one_before_is_not() -> None:
    first = snowflake.first_at(1_462_015_105_796)

    assert snowflake.born_ms(first) == 1_462_015_105_796
    assert snowflake.born_ms(first - 1) == 1_462_015_105_795


def test_no_instant_gives_a_negative_id() -> None:
    assert snowflake.first_at(0) == 0


def ahead_ms(discord_ahead_s: float, *, age_s: float = 0) -> float:
    """How far the clock is ahead of ours after it heard an answer."""
    clock = UpstreamClock()
    clock.hear(formatdate(time.time() + discord_ahead_s, usegmt=True), sent_s=time.monotonic() - age_s)
    return clock.now_ms() - time.time() * 1000


@pytest.mark.parametrize("ahead_s", [60, -60, 5, 0])
def test_it_is_known_to_about_half_a_second(ahead_s: float) -> None:
    assert abs(ahead_ms(ahead_s) - ahead_s * 1000) < 1500


def test_a_slow_answer_says_nothing_about_the_clock() -> None:
    assert abs(ahead_ms(60, age_s=5)) < 1500


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_a_missing_or_strange_date_is_passed_over(date: str | None) -> None:
    clock = UpstreamClock()

    clock.hear(date, sent_s=time.monotonic())

    assert abs(clock.now_ms() - time.time() * 1000) < 1500


def test_a_step_of_our_own_clock_does_not_move_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, wall_s = UpstreamClock(), time.time()
    clock.hear(formatdate(wall_s, usegmt=True), sent_s=time.monotonic())

    monkeypatch.setattr(time, "time_ns", lambda: int((wall_s + 90) * 1e9))

    assert abs(clock.now_ms() - wall_s * 1000) < 2500
