"""A token is replaced, and the old one dies, while a job is in each state; the oracle judges."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, Store
from dispatcher.handoff import QUEUE
from dispatcher.jobs import Jobs
from dispatcher.keys import pool_of
from dispatcher.loop import cancel_until_done
from dispatcher.models import Job
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from simulator.process import running
from tests.support.discord_world import World
from workers import context
from workers.context import JobFailed, WorkerContext
from workers.execution import Execution, current_execution
from workers.ledger import Gates
from workers.renewal import Renewal
from workers.run import run_job
from workers.upstream.discord import Discord

SERVER = "111111111111111111"
POOL = pool_of(1, "discord")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("--strict") as url:
        yield url


@dataclass
class Desk:
    """One worker that runs what is handed over while it is open, one account, and the simulator behind it."""

    store: Store
    settings: Settings
    accounts: Accounts
    world: World
    indexes_before: int
    _executions: Iterator[int] = field(default_factory=itertools.count)

    @property
    def channel(self) -> str:
        return self.world.channel

    def register(self, token: str) -> None:
        """Store the account, and then let Discord know that token alone."""
        self.store.do(
            self.accounts.put(user=1, channel=self.channel, server=SERVER, secret=SecretStr(token), max_jobs=1)
        )
        self.world.control("accounts", token=token, server=SERVER, channel=self.channel, max_jobs=1)

    def submit(self, directive: str) -> Job:
        request = CreateSingle(prompt=f"a cat on {self.channel} [[sim {directive}]]", style="Realistic")
        return self.store.do(Jobs(self.settings).submit(request, Options()))

    def state_of(self, job: Job) -> str | None:
        state = self.store.client.hget(self.store.keys.lease(job.id), "state")
        return str(state) if state else None

    def read(self, job: Job) -> Job:
        return self.store.do(Jobs(self.settings).get(job.id))

    def indexes_read(self) -> int:
        """How often a command index was read: the last thing that a preparation needs."""
        count: int = self.world.oracle()["requests"]["index"] - self.indexes_before
        return count

    def hold_the_gate(self, *, is_held: bool) -> None:
        """Let the account look as if it had just been submitted to, or had not."""
        until_ms = 10**15 if is_held else 0
        self.store.client.hset(self.store.keys.account(POOL, self.channel), "last_submit_ms", until_ms)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[None]:
        """Run deliveries as they come."""
        running_now: set[asyncio.Task[None]] = set()

        async def deliver() -> None:
            while True:
                delivery: Any = self.store.client.lpop(f"{self.store.keys.namespace}:rq:queue:{QUEUE}")
                if delivery is not None:
                    running_now.add(asyncio.create_task(self._run(delivery)))
                await asyncio.sleep(0.02)

        pump = asyncio.create_task(deliver())
        yield
        await cancel_until_done(pump)
        await asyncio.gather(*running_now)

    async def _run(self, delivery: str) -> None:
        current_execution.set(Execution(f"e{next(self._executions)}", "worker"))
        try:
            await run_job(delivery)
        except JobFailed as failed:
            raise AssertionError(str(failed)) from failed


@pytest.fixture
async def desk(store: Store, async_store: AsyncStore, settings: Settings, url: str) -> AsyncIterator[Desk]:
    world = World(url)
    changes = {"min_interval_ms": 0, "discord_api_url": f"{url}/api/v9", "poll_min_s": 0.05, "poll_max_s": 0.2}
    quick = settings.model_copy(update={**changes, "start_timeout_s": 8.0})
    accounts = Accounts(quick, SecretKeys({"k1": bytes(32)}))
    discord = Discord(quick, open_secret=accounts.open_secret, store=async_store)
    renewal = Renewal(quick)
    uninstall = context.install(WorkerContext(quick, async_store, Slots(quick), renewal, Gates(), {"discord": discord}))
    yield Desk(store, quick, accounts, world, world.oracle()["requests"]["index"])
    await discord.close()
    uninstall()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 (the condition is in Redis)
            await asyncio.sleep(0.02)


def assert_one_submission_completed(desk: Desk, job: Job) -> None:
    """The oracle accepted the job once, and it ended with that very file; its account is well and free."""
    ended = desk.read(job)
    assert (ended.status, ended.error) == ("completed", None)
    [played] = desk.world.jobs()
    assert [file.filename for file in ended.attachments] == [file["filename"] for file in played["files"]]
    assert_free(desk)


def assert_free(desk: Desk) -> None:
    account = desk.store.do(desk.accounts.get(user=1, channel=desk.channel))
    assert (account.state, account.cooling_until_ms) == ("active", 0)
    assert desk.store.do(desk.accounts.used(user=1, channel=desk.channel)) == 0
    assert desk.world.oracle()["accounts"][desk.channel]["breaches"] == 0


async def test_a_job_that_waits_runs_with_the_new_token(desk: Desk) -> None:
    desk.register("old-token-of-an-account")
    desk.store.do(desk.accounts.pause(user=1, channel=desk.channel))
    job = desk.submit("seconds=0.2")
    desk.register(f"new-token-of-{desk.channel}")
    assert desk.state_of(job) is None

    desk.store.do(desk.accounts.resume(user=1, channel=desk.channel))
    async with desk.worker():
        await until(lambda: desk.read(job).is_final)

    assert_one_submission_completed(desk, job)


async def test_a_reserved_job_runs_with_the_new_token(desk: Desk) -> None:
    desk.register("old-token-of-an-account")
    job = desk.submit("seconds=0.2")
    desk.register(f"new-token-of-{desk.channel}")
    assert desk.state_of(job) == "R"

    async with desk.worker():
        await until(lambda: desk.read(job).is_final)

    assert_one_submission_completed(desk, job)


async def test_a_claimed_job_prepared_with_the_old_token_is_leased_anew_and_runs_with_the_new_one(desk: Desk) -> None:
    desk.register("old-token-of-an-account")
    desk.hold_the_gate(is_held=True)
    job = desk.submit("seconds=0.2")
    async with desk.worker():
        await until(lambda: desk.state_of(job) == "C")
        await until(lambda: desk.indexes_read() > 0)  # it prepares the submission with the old token

        desk.register(f"new-token-of-{desk.channel}")
        desk.hold_the_gate(is_held=False)
        await until(lambda: desk.read(job).is_final)

    assert_one_submission_completed(desk, job)
    assert desk.store.client.hget(desk.store.keys.job(job.id), "requeues") == "0"


@pytest.mark.parametrize(
    ("state", "directive"),
    [("S", "ack=1.5 seconds=2"), ("U", "submit=500-after-accept ack=1.5 seconds=2"), ("A", "ack=0 seconds=2")],
)
async def test_a_submitted_job_is_followed_to_its_end_with_the_new_token(
    desk: Desk, state: str, directive: str
) -> None:
    desk.register("old-token-of-an-account")
    job = desk.submit(directive)
    async with desk.worker():
        await until(lambda: desk.state_of(job) == state and desk.world.accepted())

        desk.register(f"new-token-of-{desk.channel}")
        assert desk.state_of(job) == state
        await until(lambda: desk.read(job).is_final)

    assert_one_submission_completed(desk, job)


async def test_a_draining_job_is_watched_to_its_end_with_the_new_token(desk: Desk) -> None:
    desk.register("old-token-of-an-account")
    job = desk.submit("ack=0 seconds=2")
    async with desk.worker():
        await until(lambda: desk.state_of(job) == "A")
        desk.store.do(Jobs(desk.settings).cancel(job.id))
        assert desk.state_of(job) == "D"

        desk.register(f"new-token-of-{desk.channel}")
        await until(lambda: desk.state_of(job) is None)

    assert desk.read(job).status == "cancelled"
    assert [played["outcome"] for played in desk.world.jobs()] == ["completed"]
    assert_free(desk)
