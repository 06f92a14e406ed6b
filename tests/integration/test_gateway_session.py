"""Our gateway session against the simulator's gateway: every way it may end, and what it does then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import TypeVar

import httpx
import pytest

from chaos.proxy import Proxy
from dispatcher.errors import AccountRejected, UpstreamBlocked
from dispatcher.loop import cancel_until_done
from simulator.process import running
from tests.support.memory import unhurried
from tests.support.player import NO_TLS, Player, oracle_of, wait_for
from tests.support.ports import free_port
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.gateway.address import socket_url
from workers.upstream.discord.gateway.events import Event, InteractionTold, MessageTold, SessionDown, SessionUp
from workers.upstream.discord.gateway.session import Pauses, Session
from workers.upstream.discord.rest import Rest
from workers.upstream.wire import Wire

PATIENCE_S = 15.0
QUICK = Pauses(0.05, 0.2, (0.01, 0.02))

T = TypeVar("T", bound=Event)


class Ear:
    """One session, and what it told; ``task`` ends with what the session raised."""

    def __init__(self, player: Player) -> None:
        self.player = player
        self.events: list[Event] = []
        self._more = asyncio.Event()
        api_url = f"{player.url}/api/v9"
        self.http = httpx.AsyncClient(verify=NO_TLS)
        rest = Rest(api_url, Wire("discord", self.http), UpstreamClock(), unhurried())
        self.session = Session(
            player.token,
            find=lambda: rest.gateway_url(player.token),
            check=partial(socket_url, api_url=api_url, hosts=()),
            take=self.take,
            pauses=QUICK,
        )
        self.task = asyncio.create_task(self.session.run())

    def take(self, event: Event) -> None:
        self.events.append(event)
        self._more.set()

    async def heard(self, kind: type[T], is_it: Callable[[T], bool] = lambda _: True, *, count: int = 1) -> T:
        """Wait for the ``count``-th such event."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [event for event in self.events if isinstance(event, kind) and is_it(event)]
                if len(found) >= count:
                    return found[count - 1]
                if self.task.done():
                    self.task.result()
                self._more.clear()
                await self._more.wait()

    def counts(self) -> dict[str, int]:
        user_id = self.player.get("/users/@me")["id"]
        counts: dict[str, int] = oracle_of(self.player.url)["sessions"][user_id]
        return counts

    def gateway(self, path: str, **body: object) -> None:
        self.player.control(f"gateway/{path}", token=self.player.token, **body)

    async def close(self) -> None:
        await cancel_until_done(self.task)
        await self.http.aclose()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


def own(player: Player) -> Player:
    """Give the player a token that nobody else has."""
    player.token = f"token-of-{player.channel_id}"
    player.http.headers["authorization"] = player.token
    return player


@pytest.fixture
async def ear(url: str) -> AsyncIterator[Ear]:
    with Player(url) as player:
        opened = Ear(own(player))
        yield opened
        await opened.close()


def play(ear: Ear, directive: str) -> None:
    ear.player.create(f"a cat [[sim {directive}]]").raise_for_status()


def has_files(event: MessageTold) -> bool:
    return bool(event.raw.get("attachments"))


async def test_a_session_tells_a_job_from_the_interaction_to_its_files(ear: Ear) -> None:
    await ear.heard(SessionUp)
    play(ear, "seconds=0.2 ack=0.1")
    await ear.heard(MessageTold, has_files)

    [job] = ear.player.jobs()
    fates = [event for event in ear.events if isinstance(event, InteractionTold)]
    assert [(event.id, event.nonce, event.fate) for event in fates] == [
        (int(job["reference"]), "1", "created"),
        (int(job["reference"]), "1", "succeeded"),
    ]


async def test_a_failed_interaction_and_an_ephemeral_refusal_are_told(ear: Ear) -> None:
    await ear.heard(SessionUp)
    play(ear, "outcome=ephemeral seconds=0.1")
    refusal = await ear.heard(MessageTold)
    play(ear, "outcome=silent seconds=0")
    failure = await ear.heard(InteractionTold, lambda event: event.fate == "failed")

    assert (refusal.raw["flags"], refusal.nonce, refusal.is_new) == (64, "1", True)
    assert (failure.nonce, failure.reason_code) == ("1", 2)


@pytest.mark.parametrize("code", [1000, 1012, 4000, 4001, 4002, 4005, 4008])
async def test_a_session_whose_connection_was_closed_goes_on(ear: Ear, code: int) -> None:
    await ear.heard(SessionUp)
    ear.gateway("close", code=code)
    again = await ear.heard(SessionUp, count=2)

    assert (await ear.heard(SessionDown)).reason == f"closed with {code}"
    assert again.is_resumed == (code != 1000)


@pytest.mark.parametrize("code", [4003, 4007, 4009])
async def test_a_session_that_is_no_more_is_opened_anew(ear: Ear, code: int) -> None:
    await ear.heard(SessionUp)
    ear.gateway("close", code=code)

    assert not (await ear.heard(SessionUp, count=2)).is_resumed
    assert ear.counts()["identified"] == 2


async def test_a_refused_token_is_the_accounts_fault(ear: Ear) -> None:
    await ear.heard(SessionUp)
    ear.gateway("close", code=4004)

    with pytest.raises(AccountRejected, match="4004"):
        await asyncio.wait_for(ear.task, PATIENCE_S)
    assert ear.counts()["identified"] == 1


@pytest.mark.parametrize("code", [4010, 4011, 4012, 4013, 4014, 4015])
async def test_a_code_that_must_stop_us_stops_us_and_says_why(ear: Ear, code: int) -> None:
    await ear.heard(SessionUp)
    ear.gateway("close", code=code)

    with pytest.raises(UpstreamBlocked, match=f"closed with {code}: .+"):
        await asyncio.wait_for(ear.task, PATIENCE_S)
    assert ear.counts()["identified"] == 1


async def test_op_7_and_a_resumable_op_9_resume_and_another_op_9_identifies(ear: Ear) -> None:
    await ear.heard(SessionUp)
    ear.gateway("reconnect")
    reconnected = await ear.heard(SessionUp, count=2)
    ear.gateway("invalidate", resumable=True)
    resumed = await ear.heard(SessionUp, count=3)
    ear.gateway("invalidate", resumable=False)
    anew = await ear.heard(SessionUp, count=4)

    assert [up.is_resumed for up in (reconnected, resumed, anew)] == [True, True, False]
    assert {name: ear.counts()[name] for name in ("peak", "identified", "resumed")} == {
        "peak": 1,
        "identified": 2,
        "resumed": 2,
    }


async def test_repeated_lost_and_reordered_events_do_no_harm_to_the_session(ear: Ear) -> None:
    await ear.heard(SessionUp)
    for how in ("drop", "duplicate", "reorder"):
        ear.gateway("events", how=how)
    play(ear, "seconds=0.2 ack=0.1 progress=3")

    await ear.heard(MessageTold, has_files)
    assert len([event for event in ear.events if isinstance(event, SessionUp)]) == 1


async def test_a_connection_without_acknowledgements_is_left_and_the_session_resumed() -> None:
    with running() as url, Player(url) as player:
        player.control("gateway/terms", acks=False, heartbeat_ms=300)
        ear = Ear(own(player))
        await ear.heard(SessionUp)
        down = await ear.heard(SessionDown)
        player.control("gateway/terms", acks=True)
        up = await ear.heard(SessionUp, count=2)
        await ear.close()

    assert (down.reason, up.is_resumed) == ("closed with 4900", True)


async def test_a_cut_connection_is_resumed_and_what_happened_meanwhile_is_told() -> None:
    backend = free_port()
    with Proxy(backend=backend) as proxy:
        way = f"http://127.0.0.1:{proxy.port}"
        with running("--port", str(backend), "--public-url", way), Player(way) as player:
            ear = Ear(own(player))
            await ear.heard(SessionUp)
            play(ear, "seconds=0.6 ack=0")
            await ear.heard(MessageTold)
            proxy.cut()
            await ear.heard(SessionDown)

            assert (await ear.heard(SessionUp, count=2)).is_resumed
            await ear.heard(MessageTold, has_files)
            assert ear.counts()["identified"] == 1
            await ear.close()


async def test_a_connection_that_freezes_is_given_up_and_another_opened_when_there_is_a_way_again() -> None:
    backend = free_port()
    with Proxy(backend=backend) as proxy:
        way = f"http://127.0.0.1:{proxy.port}"
        with running("--port", str(backend), "--public-url", way), Player(way) as player:
            player.control("gateway/terms", heartbeat_ms=300)
            ear = Ear(own(player))
            await ear.heard(SessionUp)
            frozen = asyncio.create_task(asyncio.to_thread(proxy.freeze, 5))

            assert (await ear.heard(SessionDown)).reason == "closed with 1006"
            await frozen
            await ear.heard(SessionUp, count=2)
            await ear.close()


async def test_a_gateway_that_is_away_is_asked_again_until_it_is_back() -> None:
    with running() as url, Player(url) as player:
        player.control("gateway/terms", up=False)
        ear = Ear(own(player))
        await asyncio.to_thread(wait_for, lambda: oracle_of(url)["requests"]["gateway"] >= 3 or None)
        player.control("gateway/terms", up=True)

        assert not (await ear.heard(SessionUp)).is_resumed
        await ear.close()


async def test_a_session_that_a_restarted_gateway_does_not_know_is_opened_anew() -> None:
    port = str(free_port())
    with running("--port", port) as url, Player(url) as player:
        ear = Ear(own(player))
        await ear.heard(SessionUp)
    await ear.heard(SessionDown)
    with running("--port", port) as url, Player(url) as player:
        player.token, player.channel_id = ear.player.token, ear.player.channel_id
        player.http.headers["authorization"] = player.token
        ear.player = player
        again = await ear.heard(SessionUp, count=2)
        play(ear, "seconds=0.2 ack=0.1")
        await ear.heard(MessageTold, has_files)
        await ear.close()

    assert not again.is_resumed


async def test_a_session_whose_own_address_is_dead_is_resumed_where_others_are_opened() -> None:
    with running() as url, Player(url) as player:
        player.control("gateway/terms", resume_url=f"ws://127.0.0.1:{free_port()}/gateway")
        ear = Ear(own(player))
        await ear.heard(SessionUp)
        ear.gateway("close", code=4000)
        again = await ear.heard(SessionUp, count=2)
        counts = ear.counts()
        await ear.close()

    assert again.is_resumed
    assert (counts["identified"], counts["resumed"]) == (1, 1)


async def test_a_session_that_is_not_wanted_any_more_is_ended_for_good(ear: Ear) -> None:
    up = await ear.heard(SessionUp)
    await ear.close()

    await asyncio.to_thread(wait_for, lambda: ear.counts()["open"] == 0 or None)
    assert up.session_id
    with pytest.raises(asyncio.CancelledError):
        ear.task.result()
