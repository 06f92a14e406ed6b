"""Guests at a worker: each job is sent, followed and taken over with the token that it brought; the oracle judges."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.audit import Audit
from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import AccountConflict, AccountNotFound, LinksUnavailable, NoFreeSlot
from dispatcher.guests import Guest
from dispatcher.handoff import QUEUE
from dispatcher.jobs import Jobs
from dispatcher.keys import pool_of
from dispatcher.links import Links
from dispatcher.loop import cancel_until_done
from dispatcher.models import Job
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.presses import pressed
from dispatcher.requests import Button, CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from simulator.process import running
from tests.support.discord_world import World
from tests.support.fleet import Fleet
from workers import context
from workers.context import JobFailed, WorkerContext
from workers.execution import Execution, current_execution
from workers.ledger import Gates
from workers.links import refresh_links
from workers.renewal import Renewal
from workers.run import run_job
from workers.upstream.discord import Discord

SERVER = "111111111111111111"
POOL = pool_of(1, "discord")
KEYS = SecretKeys({"k1": bytes(32)})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("--strict") as url:
        yield url


@pytest.fixture(scope="module")
def open_url() -> Iterator[str]:
    """A simulator where any token is somebody's, in any channel."""
    with running() as url:
        yield url


@dataclass
class Desk:
    """One worker that runs what is handed over while it is open, and a simulator that knows declared tokens alone."""

    store: Store
    settings: Settings
    world: World
    _executions: Iterator[int] = field(default_factory=itertools.count)

    @property
    def channel(self) -> str:
        return self.world.channel

    @property
    def accounts(self) -> Accounts:
        return Accounts(self.settings, KEYS)

    def know(self, token: str) -> str:
        """Let Discord take that token alone in the channel, for one job at once."""
        self.world.control("accounts", token=token, server=SERVER, channel=self.channel, max_jobs=1)
        return token

    def guest(self, token: str, *, user: int = 1, max_jobs: int = 1) -> Guest:
        return Guest.invite(
            user=user, channel=self.channel, server=SERVER, discord=token, max_jobs=max_jobs, secret_keys=KEYS
        )

    def submit(self, token: str, directive: str = "seconds=0.2", **options: Any) -> Job:
        user = options.get("user", 1)
        words = f"a cat of {token} [[sim {directive}]]"
        guest = self.guest(token, user=user)
        request = CreateSingle(prompt=words, style="Realistic")
        return self.store.do(Jobs(self.settings).submit(request, Options(guest=guest, **options)))

    def register(self, token: str, *, max_jobs: int = 1) -> None:
        secret = SecretStr(token)
        self.store.do(self.accounts.put(user=1, channel=self.channel, server=SERVER, secret=secret, max_jobs=max_jobs))

    def read(self, job: Job) -> Job:
        return self.store.do(Jobs(self.settings).get(job.id))

    def state_of(self, job: Job) -> str | None:
        state = self.store.client.hget(self.store.keys.lease(job.id), "state")
        return str(state) if state else None

    def guests(self) -> set[str]:
        return set(self.store.client.smembers(self.store.keys.of("guests", POOL)))  # type: ignore[arg-type]

    def assert_no_trace(self, *jobs: Job) -> None:
        """Nothing of a visit is left, no job has its token, and an audit finds nothing."""
        assert self.guests() == set()
        for job in jobs:
            assert self.store.client.hexists(self.store.keys.job(job.id), "own_sealed") == 0
        audit = Audit(self.settings)
        carry_out(self.store, audit.everything())
        assert not audit.findings

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Run deliveries as they come; what still runs at the end dies."""
        running_now: set[asyncio.Task[None]] = set()

        async def deliver() -> None:
            while True:
                self.store.do(Slots(self.settings).dispatch(POOL))
                delivery: Any = self.store.client.lpop(f"{self.store.keys.namespace}:rq:queue:{QUEUE}")
                if delivery is not None:
                    running_now.add(asyncio.create_task(self._run(delivery)))
                await asyncio.sleep(0.02)

        pump = asyncio.create_task(deliver())
        yield
        await cancel_until_done(pump, *running_now)

    async def _run(self, delivery: str) -> None:
        current_execution.set(Execution(f"e{next(self._executions)}", "worker"))
        with suppress(JobFailed):
            await run_job(delivery)

    async def ended(self, *jobs: Job) -> list[Job]:
        await until(lambda: all(self.read(job).is_final for job in jobs))
        return [self.read(job) for job in jobs]


@asynccontextmanager
async def opened(store: Store, async_store: AsyncStore, settings: Settings, url: str) -> AsyncIterator[Desk]:
    changes = {"min_interval_ms": 0, "discord_api_url": f"{url}/api/v9", "poll_min_s": 0.05, "poll_max_s": 0.2}
    quick = settings.model_copy(update={**changes, "start_timeout_s": 8.0})
    discord = Discord(quick, open_secret=Accounts(quick, KEYS).open_secret, store=async_store)
    renewal = Renewal(quick)
    uninstall = context.install(WorkerContext(quick, async_store, Slots(quick), renewal, Gates(), {"discord": discord}))
    yield Desk(store, quick, World(url))
    await discord.close()
    uninstall()


@pytest.fixture
async def desk(store: Store, async_store: AsyncStore, settings: Settings, url: str) -> AsyncIterator[Desk]:
    async with opened(store, async_store, settings, url) as desk:
        yield desk


@pytest.fixture
async def open_desk(store: Store, async_store: AsyncStore, settings: Settings, open_url: str) -> AsyncIterator[Desk]:
    async with opened(store, async_store, settings, open_url) as desk:
        yield desk


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (the condition is in Redis)
            await asyncio.sleep(0.02)


async def test_two_tokens_in_one_channel_run_one_after_the_other_by_their_own_limit(open_desk: Desk) -> None:
    open_desk.know("whosever")
    jobs = [open_desk.submit(f"{name}-token-{open_desk.channel}") for name in ("first", "second")]
    assert [open_desk.state_of(job) for job in jobs] == ["R", None]

    async with open_desk.worker():
        ended = await open_desk.ended(*jobs)

    assert [(job.status, job.error) for job in ended] == [("completed", None), ("completed", None)]
    assert open_desk.world.oracle()["accounts"][open_desk.channel]["breaches"] == 0
    files = {
        job["prompt"].partition(" [[")[0]: [file["filename"] for file in job["files"]] for job in open_desk.world.jobs()
    }
    assert files == {
        (job.prompt or "").partition(" [[")[0]: [file.filename for file in job.attachments] for job in ended
    }
    assert len({re.findall(r"<@(\d+)>", job.content)[0] for job in ended}) == 2
    open_desk.assert_no_trace(*jobs)


async def test_a_wrong_token_fails_its_own_job_alone(desk: Desk) -> None:
    good = desk.know(f"good-token-{desk.channel}")
    bad_job, good_job = desk.submit(f"wrong-token-{desk.channel}"), desk.submit(good)

    async with desk.worker():
        failed, completed = await desk.ended(bad_job, good_job)

    assert (failed.status, completed.status) == ("failed", "completed")
    assert (failed.error or "").startswith("Its own token was refused: ")
    assert "401" in (failed.error or "")
    desk.assert_no_trace(bad_job, good_job)


async def test_an_own_token_is_used_in_place_of_the_accounts(desk: Desk) -> None:
    desk.register(f"dead-token-{desk.channel}")
    good = desk.know(f"good-token-{desk.channel}")
    job = desk.submit(good)

    async with desk.worker():
        [ended] = await desk.ended(job)

    assert (ended.status, ended.discord) == ("completed", f"goo…secured…{desk.channel[-3:]}")
    assert desk.store.do(desk.accounts.get(user=1, channel=desk.channel)).state == "active"
    desk.assert_no_trace(job)


async def test_a_wrong_token_on_a_registered_channel_leaves_its_account_alone(desk: Desk) -> None:
    desk.register(desk.know(f"good-token-{desk.channel}"))
    job = desk.submit(f"wrong-token-{desk.channel}")
    plain = CreateSingle(prompt="a dog [[sim seconds=0.1]]", style="Realistic")
    other = desk.store.do(Jobs(desk.settings).submit(plain, Options()))

    async with desk.worker():
        failed, completed = await desk.ended(job, other)

    assert (failed.status, completed.status) == ("failed", "completed")
    account = desk.store.do(desk.accounts.get(user=1, channel=desk.channel))
    assert (account.state, account.cooling_until_ms) == ("active", 0)
    desk.assert_no_trace(job)


async def test_a_throttled_own_token_rests_alone_and_its_job_completes(desk: Desk) -> None:
    desk.register(f"dead-token-{desk.channel}", max_jobs=2)
    good = desk.know(f"good-token-{desk.channel}")
    desk.world.control("next", directive="submit=429 retry_after=0.5", channel=desk.channel)
    request = CreateSingle(prompt=f"a cat of {good}", style="Realistic")
    options = Options(guest=desk.guest(good))
    job = desk.store.do(Jobs(desk.settings).submit(request, options))

    async with desk.worker():
        await until(lambda: desk.store.client.hexists(desk.store.keys.job(job.id), "rest_until_ms"))
        [ended] = await desk.ended(job)

    assert ended.status == "completed"
    account = desk.store.do(desk.accounts.get(user=1, channel=desk.channel))
    assert (account.state, account.cooling_until_ms) == ("active", 0)
    desk.assert_no_trace(job)


@pytest.mark.parametrize("state", ["A", "U"])
async def test_whoever_takes_a_guest_over_follows_it_with_its_own_token(desk: Desk, state: str) -> None:
    desk.register(f"dead-token-{desk.channel}")
    good = desk.know(f"good-token-{desk.channel}")
    job = desk.submit(good, "ack=0 seconds=2" if state == "A" else "submit=500-after-accept ack=1.5 seconds=2")
    async with desk.worker():
        await until(lambda: desk.state_of(job) == state)
    Fleet(desk.store).strike_twice(job.id)

    async with desk.worker():
        [ended] = await desk.ended(job)

    assert (ended.status, ended.error) == ("completed", None)
    assert len(desk.world.jobs()) == 1
    desk.assert_no_trace(job)


@pytest.mark.parametrize("state", ["C", "A"])
async def test_a_change_of_the_accounts_token_is_nothing_to_a_guest(desk: Desk, state: str) -> None:
    desk.register(f"dead-token-{desk.channel}")
    good = desk.know(f"good-token-{desk.channel}")
    account = desk.store.keys.account(POOL, desk.channel)
    if state == "C":  # as if it had just been submitted to
        desk.store.client.hset(account, "last_submit_ms", 10**15)
    job = desk.submit(good, "ack=0 seconds=1")
    async with desk.worker():
        await until(lambda: desk.state_of(job) == state)

        desk.register(f"another-dead-token-{desk.channel}")
        desk.store.client.hset(account, "last_submit_ms", 0)
        [ended] = await desk.ended(job)

    assert (ended.status, ended.error) == ("completed", None)
    assert "returned" not in " ".join(ended.history)
    desk.assert_no_trace(job)


async def test_a_press_brings_a_token_to_its_jobs_channel(desk: Desk) -> None:
    first = desk.submit(desk.know(f"first-token-{desk.channel}"))
    async with desk.worker():
        [parent] = await desk.ended(first)
        request, options, kept = pressed(
            Button(jobid=parent.id, button=parent.buttons[0]),
            Options(guest=desk.guest(desk.know(f"second-token-{desk.channel}"))),
            parent,
        )
        press = desk.store.do(Jobs(desk.settings).submit(request, options, parent=kept))
        [ended] = await desk.ended(press)

    assert (ended.status, ended.error, ended.channel) == ("completed", None, desk.channel)
    assert (ended.discord or "").startswith("sec")
    desk.assert_no_trace(first, press)


async def test_links_of_a_guest_need_an_account_when_it_has_ended(desk: Desk) -> None:
    good = desk.know(f"good-token-{desk.channel}")
    job = desk.submit(good)
    async with desk.worker():
        await desk.ended(job)
    links = Links(desk.settings)

    first = desk.store.do(links.ask(job.id, user=1))
    await refresh_links(first)
    with pytest.raises(LinksUnavailable, match="token of its own, which is not kept"):
        desk.store.do(links.answer(first))

    desk.register(good)
    second = desk.store.do(links.ask(job.id, user=1))
    await refresh_links(second)
    assert desk.store.do(links.answer(second))


async def test_another_users_channel_and_a_full_one_are_refused(desk: Desk) -> None:
    first = desk.submit("a-token-of-the-first-user")

    with pytest.raises(AccountConflict, match=f"^Channel {desk.channel} is registered by another user"):
        desk.submit("a-token-of-the-second-user", user=2)
    with pytest.raises(AccountConflict):
        desk.store.do(
            desk.accounts.put(user=2, channel=desk.channel, server=SERVER, secret=SecretStr("theirs"), max_jobs=1)
        )
    with pytest.raises(NoFreeSlot):
        desk.submit("another-token-of-the-first-user", mode="refuse")
    with pytest.raises(AccountNotFound):
        desk.store.do(desk.accounts.get(user=1, channel=desk.channel))

    desk.store.do(Jobs(desk.settings).cancel(first.id))
    desk.assert_no_trace(first)


async def test_no_log_line_shows_a_guests_token(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = f"wrong-token-{desk.channel}"
    job = desk.submit(wrong, "seconds=0.1")
    async with desk.worker():
        [ended] = await desk.ended(job)
    told = capsys.readouterr()

    assert wrong not in (told.out + told.err).replace(f"a cat of {wrong}", "")
    assert wrong not in str(ended.error)
    assert "sealed" not in ended.model_dump_json()
