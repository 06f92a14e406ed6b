"""The life of a token's session in a worker: refused, idle, replaced, broken; and what becomes of the account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, Store
from dispatcher.models import Account
from dispatcher.secrets import keys_for
from dispatcher.settings import Settings
from simulator.accounts import user_id_of
from simulator.process import running
from tests.support.desk import until
from tests.support.discord_world import World
from tests.support.ledger import play
from workers.upstream import Ended
from workers.upstream.discord import Discord
from workers.upstream.discord.gateway import relay
from workers.upstream.discord.gateway.session import Session

PATIENCE_S = 15.0
CALM: dict[str, Any] = {"poll_min_s": 0.1, "poll_max_s": 1, "start_timeout_s": 10, "observe": "gateway"}
SERVER = "111111111111111111"
KEY = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


class Stage:
    """One account of the store, its channel in the simulator, and workers that follow its jobs."""

    def __init__(self, world: World, store: Store, settings: Settings) -> None:
        self.world = world
        keyed = settings.model_copy(update={"secret_keys": SecretStr(KEY)})
        self.accounts = Accounts(keyed, keys_for(keyed))
        self.store = store

    def register(self, token: str) -> None:
        put = self.accounts.put(user=1, channel=self.world.channel, server=SERVER, secret=SecretStr(token), max_jobs=5)
        self.store.do(put)

    @property
    def account(self) -> Account:
        return self.store.do(self.accounts.get(user=1, channel=self.world.channel))

    def worker(self, **changes: Any) -> Discord:
        return self.world.discord(**CALM | changes)

    async def completes(self, worker: Discord, directive: str = "seconds=0.3 ack=0.1") -> None:
        """Have a worker follow a job of the account, under the version of its token that is in force, to its end."""
        ledger = self.world.ledger(directive)
        ledger.account = ledger.account_at_permit = ledger.account.model_copy(
            update={"secret_version": self.account.secret_version}
        )
        async with asyncio.timeout(PATIENCE_S):
            outcome = await play(worker, ledger)
        assert isinstance(outcome, Ended)
        assert outcome.status == "completed"

    def sessions(self, token: str = "") -> dict[str, int]:
        user_id = user_id_of(token or self.world.token)
        counts: dict[str, int] = self.world.oracle()["sessions"].get(user_id, {})
        return counts

    async def opens(self, worker: Discord) -> None:
        """Have a worker open its session for a job."""
        before = self.sessions().get("identified", 0)
        job = asyncio.create_task(self.completes(worker, "seconds=1 ack=0.1"))
        await until(lambda: self.sessions().get("identified", 0) > before)
        await job

    def close(self, code: int) -> None:
        self.world.control("gateway/close", code=code, token=self.world.token)

    def seat(self) -> str:
        """The key of the place at the one session."""
        [key] = self.store.client.keys(f"{self.store.keys.namespace}:session:*")
        return str(key)

    def forget_needs(self) -> None:
        """Have the time pass after which nobody is thought to watch that does not ask."""
        for key in self.store.client.keys(f"{self.store.keys.namespace}:look_needs:*"):
            self.store.client.delete(key)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def stage(url: str, store: Store, async_store: AsyncStore, settings: Settings) -> AsyncIterator[Stage]:
    world = World(url)
    await world.store.close()
    world.store = async_store
    opened = Stage(world, store, settings)
    opened.register(world.token)
    yield opened
    await world.close()


async def test_a_refused_token_stops_its_account_with_the_reason_and_its_jobs_go_on(stage: Stage) -> None:
    worker = stage.worker()
    await stage.opens(worker)
    stage.close(4004)
    await until(lambda: stage.account.state == "disabled")
    await stage.completes(worker)

    assert "4004" in str(stage.account.reason)
    assert stage.store.client.hget(stage.store.keys.account("1:discord", stage.world.channel), "revive") == "check"
    assert stage.sessions()["identified"] == 1


async def test_a_stale_token_stops_nothing_and_its_session_alone_ends(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = stage.worker()
    await stage.opens(worker)
    stage.register(f"newer-{stage.world.token}")
    stage.close(4004)
    await until(lambda: "account refused by the gateway" in "".join(capsys.readouterr()))

    assert stage.account.state == "active"
    assert stage.store.client.hget(stage.seat(), "closed")


@pytest.mark.parametrize("code", [4010, 4014, 4015])
async def test_a_session_that_is_not_wanted_is_opened_by_no_worker_until_its_time(stage: Stage, code: int) -> None:
    first, second = stage.worker(), stage.worker()
    await stage.opens(first)
    stage.close(code)
    await until(lambda: stage.store.client.hget(stage.seat(), "closed"))
    await asyncio.gather(stage.completes(first), stage.completes(second))

    assert stage.account.state == "active"
    assert stage.sessions()["identified"] == 1
    assert int(stage.store.client.pttl(stage.seat())) > 3_000_000


async def test_a_session_that_is_not_wanted_is_tried_again_after_its_time(stage: Stage) -> None:
    worker = stage.worker(discord_gateway_retry_s=0.5)
    await stage.opens(worker)
    stage.close(4015)

    await until(lambda: stage.sessions()["identified"] == 2)


async def test_a_session_that_nobody_needs_is_ended_and_the_next_job_opens_another(stage: Stage) -> None:
    worker = stage.worker(discord_gateway_idle_s=0.2)
    await stage.opens(worker)
    stage.forget_needs()
    await until(lambda: stage.sessions()["open"] == 0)
    await stage.opens(worker)

    assert stage.sessions()["identified"] == 2
    assert stage.sessions()["peak"] == 1


async def test_a_session_stays_while_a_job_needs_it_however_quiet_it_is(stage: Stage) -> None:
    worker = stage.worker(discord_gateway_idle_s=0.1)

    await stage.completes(worker, "seconds=2 ack=0.1")

    assert stage.sessions()["identified"] == 1


async def test_the_session_of_a_token_that_was_replaced_ends(stage: Stage) -> None:
    worker = stage.worker(discord_gateway_idle_s=0.2)
    old = stage.world.token
    await stage.opens(worker)
    stage.forget_needs()
    stage.world.token = f"newer-{old}"
    stage.register(stage.world.token)
    job = asyncio.create_task(stage.completes(worker, "seconds=5 ack=0.1"))

    await until(lambda: stage.sessions().get("open") == 1)
    await until(lambda: stage.sessions(old)["open"] == 0)
    await job


async def test_an_unexpected_fault_is_told_once_and_tried_again_while_lists_are_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = 0
    sound = Session.run

    async def run(self: Session) -> None:
        nonlocal faults
        faults += 1
        if faults < 4:
            raise ZeroDivisionError("a fault of ours")
        await sound(self)

    monkeypatch.setattr(Session, "run", run)
    monkeypatch.setattr(relay, "_PAUSE_FIRST_S", 0.05)
    worker = stage.worker()
    await stage.completes(worker)
    await until(lambda: stage.sessions().get("open") == 1)

    told = "".join(capsys.readouterr())
    assert told.count("gateway relay failed") == 1
    assert "ZeroDivisionError" in told
