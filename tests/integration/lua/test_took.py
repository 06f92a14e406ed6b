"""took: how long jobs took, for those that wait for the next of their kind."""

from __future__ import annotations

from typing import Any

from dispatcher.connection import Call, Store


def took(store: Store, job: str, ms: int, *, kept: int = 3) -> Any:
    return store.do(Call("took", ("1:discord", "create", job, ms, kept, 60_000), lambda reply: reply))


def known(store: Store) -> list[str]:
    found: Any = store.client.lrange(store.keys.of("took", "1:discord", "create"), 0, -1)
    return list(found)


def test_the_latest_come_first_and_older_ones_are_forgotten(store: Store) -> None:
    for n in range(5):
        assert took(store, f"j{n}", n * 100) == ["ok"]

    assert known(store) == ["400 j4", "300 j3", "200 j2"]


def test_a_job_counts_once(store: Store) -> None:
    took(store, "j1", 100)
    took(store, "j2", 200)
    assert took(store, "j1", 100) == ["ok"]

    assert known(store) == ["200 j2", "100 j1"]


def test_what_is_known_of_a_command_that_nobody_uses_ends(store: Store) -> None:
    took(store, "j1", 100)

    assert 0 < int(store.client.pttl(store.keys.of("took", "1:discord", "create"))) <= 60_000
