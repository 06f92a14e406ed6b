"""What is learned of how long jobs take."""

from __future__ import annotations

import pytest

from tests.support.discord_messages import raw_message
from tests.support.memory import memory_store
from workers.upstream.discord.durations import LEARNED_FROM, Durations, took_of
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.rhythm import Took
from workers.upstream.discord.snowflake import first_at


def test_few_jobs_teach_nothing() -> None:
    assert took_of([1000] * (LEARNED_FROM - 1)) is None
    assert took_of([1000] * LEARNED_FROM) == Took(1, 1)


def test_one_in_ten_was_done_before_the_first_instant_and_one_after_the_second() -> None:
    assert took_of([n * 1000 for n in range(20, 0, -1)]) == Took(3, 18)


async def test_what_one_worker_learns_another_knows_by_pool_and_command() -> None:
    store = memory_store()
    one, other = Durations(store), Durations(store)
    for n in range(LEARNED_FROM):
        await one.add("1:discord", "create", job=f"j{n}", took_ms=5000)

    assert await other.of("1:discord", "create") == Took(5, 5)
    assert await other.of("2:discord", "create") is None
    assert await other.of("1:discord", "animate") is None
    await store.close()


async def test_a_fleet_that_has_just_begun_learns_by_its_first_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now_s = memory_store(), 1000.0
    monkeypatch.setattr("workers.upstream.discord.durations.time.monotonic", lambda: now_s)
    durations = Durations(store)
    assert await durations.of("1:discord", "create") is None
    for n in range(LEARNED_FROM):
        await durations.add("1:discord", "create", job=f"j{n}", took_ms=5000)

    assert await durations.of("1:discord", "create") is None  # it was asked for this instant
    now_s += 6
    assert await durations.of("1:discord", "create") == Took(5, 5)
    for n in range(LEARNED_FROM):
        await durations.add("1:discord", "create", job=f"k{n}", took_ms=9000)
    now_s += 6
    assert await durations.of("1:discord", "create") == Took(5, 5)  # what is known is not asked for so often
    now_s += 60
    assert (await durations.of("1:discord", "create")) == Took(5, 9)
    await store.close()


@pytest.mark.parametrize(
    ("edited", "told_ms"),
    [("2026-11-22T20:00:01.500000+00:00", 1_795_377_601_500), (None, 1_795_377_600_000), ("later", 1_795_377_600_000)],
)
def test_a_message_is_as_old_as_its_last_edit(edited: str | None, told_ms: int) -> None:
    raw = raw_message(first_at(1_795_377_600_000), edited_timestamp=edited)

    assert ChannelMessage.model_validate(raw).told_ms == told_ms
