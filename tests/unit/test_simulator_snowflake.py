from __future__ import annotations

import pytest

from simulator.snowflake import DISCORD_EPOCH_MS, Snowflakes, clock_ms, derived_id, parse_snowflake, timestamp_of


def test_an_id_carries_the_millisecond_of_its_birth() -> None:
    before_ms = clock_ms()

    born_ms = (Snowflakes().issue() >> 22) + DISCORD_EPOCH_MS

    assert before_ms <= born_ms <= clock_ms()


def test_ids_only_grow_also_when_the_clock_steps_back(monkeypatch: pytest.MonkeyPatch) -> None:
    snowflakes = Snowflakes()
    issued = [snowflakes.issue() for _ in range(10_000)]
    monkeypatch.setattr("simulator.snowflake.clock_ms", lambda: DISCORD_EPOCH_MS)

    issued.append(snowflakes.issue())

    assert issued == sorted(set(issued))


def test_a_derived_id_is_plausible_and_always_the_same() -> None:
    assert derived_id("user:token") == derived_id("user:token") != derived_id("user:other")
    assert 17 <= len(derived_id("user:token")) <= 20


@pytest.mark.parametrize("text", ["", "abc", "-1", "1.0", "٣", str(2**64)])
def test_what_is_no_id_is_not_read_as_one(text: str) -> None:
    assert parse_snowflake(text) is None


def test_a_timestamp_is_written_as_discord_writes_it() -> None:
    assert timestamp_of(1_700_000_000_123) == "2023-11-14T22:13:20.123000+00:00"
