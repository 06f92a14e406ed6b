"""Two processes and one token: one session, whatever becomes of the process that has it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Never

import pytest

from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import AccountRejected, StoreUnavailable
from dispatcher.loop import cancel_until_done
from dispatcher.settings import Settings
from simulator.process import running
from tests.support.player import Player, oracle_of, wait_for
from workers.upstream.discord.gateway.seat import Seat

TTL_S = 1.5


class Duo:
    """Two processes that want the session of one token: the first has it, the second waits."""

    def __init__(self, stack: ExitStack, settings: Settings, url: str) -> None:
        self.stack = stack
        self.player = stack.enter_context(Player(url, "the-token"))
        self.user_id = self.player.get("/users/@me")["id"]
        arguments = [str(settings.redis_url), settings.namespace, url, self.player.token, str(TTL_S)]
        self.command = [sys.executable, "-m", "tests.support.seat_program", *arguments]
        self.first = self.start()
        self.says_up(self.first)
        self.second = self.start()

    def start(self) -> subprocess.Popen[str]:
        process = self.stack.enter_context(subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True))
        self.stack.callback(process.kill)
        return process

    def says_up(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        while (line := process.stdout.readline()) != "up\n":  # its log is there as well
            assert line

    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = oracle_of(self.player.url)["sessions"][self.user_id]
        return counts


@pytest.fixture
def duo(settings: Settings, store: Store) -> Iterator[Duo]:
    with ExitStack() as stack:
        yield Duo(stack, settings, stack.enter_context(running()))


def test_two_processes_have_one_session_and_a_killed_ones_is_taken_over(duo: Duo) -> None:
    duo.first.kill()
    duo.says_up(duo.second)

    assert duo.counts() == {"open": 1, "peak": 1, "identified": 2, "resumed": 0}


def test_a_frozen_holder_gives_its_session_up_when_it_wakes(duo: Duo) -> None:
    duo.first.send_signal(signal.SIGSTOP)
    duo.says_up(duo.second)
    duo.first.send_signal(signal.SIGCONT)

    wait_for(lambda: duo.counts()["open"] == 1 or None)
    assert duo.counts()["identified"] == 2


async def test_a_session_that_is_refused_frees_the_place_and_is_told(async_store: AsyncStore) -> None:
    async def refused() -> None:
        raise AccountRejected("discord", "the token is not valid")

    with pytest.raises(AccountRejected):
        await Seat(async_store, "a-token", owner="a", ttl_s=60).serve(refused)

    await one_turn(Seat(async_store, "a-token", owner="b", ttl_s=60))


async def test_a_holder_that_cannot_renew_stops_before_its_lease_runs_out(
    async_store: AsyncStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def session() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    seat = Seat(async_store, "a-token", owner="a", ttl_s=TTL_S * 4)
    serving = asyncio.create_task(seat.serve(session))
    await begun.wait()
    monkeypatch.setattr(async_store, "do", _away)
    await ended.wait()
    monkeypatch.undo()

    rival = await async_store.do(Seat(async_store, "a-token", owner="b", ttl_s=TTL_S * 4)._hold())
    await cancel_until_done(serving)
    assert rival is not None, "the lease still ran when the session had ended"


async def one_turn(seat: Seat) -> None:
    """Wait until the seat's session has begun."""
    begun = asyncio.Event()

    async def session() -> None:
        begun.set()
        await asyncio.Event().wait()

    serving = asyncio.create_task(seat.serve(session))
    await begun.wait()
    await cancel_until_done(serving)


async def _away(_call: object) -> Never:
    raise StoreUnavailable("Redis does not answer")
