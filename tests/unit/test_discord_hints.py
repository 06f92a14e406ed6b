from __future__ import annotations

import asyncio

import pytest

from tests.support.memory import memory_store
from workers.upstream.discord.hints import Hints


async def test_a_fault_at_one_hint_is_told_and_the_next_are_heard(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("workers.upstream.discord.hints._PAUSE_S", 0.0)
    store, heard = memory_store(), list[str]()

    def hear(hint: str) -> None:
        if hint == "faulty":
            raise ZeroDivisionError
        heard.append(hint)

    hints = Hints(store, hear)
    hints.start()
    async with asyncio.timeout(20):
        while "ZeroDivisionError" not in capsys.readouterr().out:
            await store.client.publish(store.keys.of("looks"), "faulty")
            await asyncio.sleep(0.01)
        while not heard:
            await store.client.publish(store.keys.of("looks"), "sound")
            await asyncio.sleep(0.01)
    await hints.stop()
    await store.close()
