"""The background service: its loops on a real store, and its process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dispatcher import cleaner, loop
from dispatcher.accounts import Accounts
from dispatcher.cleaner import Cleaner
from dispatcher.connection import AsyncStore, Store, open_async_store
from dispatcher.embedded import EmbeddedStore
from dispatcher.errors import StoreUnavailable
from dispatcher.jobs import Jobs
from dispatcher.learner import Learner
from dispatcher.learning import Learning
from dispatcher.loop import Loop
from dispatcher.models import Job
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.reaper import Reaper
from dispatcher.refiller import INTERVAL_S, Refiller
from dispatcher.requests import CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.fleet import Fleet

CHANNEL = "1197013797467074001"
KEYS = SecretKeys({"k1": bytes(32)})
DAY_MS = 86_400_000


def submit(store: Store, settings: Settings, prompt: str = "a calm sea") -> Job:
    return store.do(Jobs(settings).submit(CreateSingle(prompt=prompt, style="Anime"), Options()))


def add_account(store: Store, settings: Settings, *, max_jobs: int = 1) -> None:
    put = Accounts(settings, KEYS).put(
        user=1, channel=CHANNEL, server=CHANNEL, secret=SecretStr("a-discord-token"), max_jobs=max_jobs
    )
    store.do(put)


def now_ms(store: Store) -> int:
    seconds, microseconds = store.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def cool(store: Store, *, until_ms: int) -> None:
    store.client.hset(store.keys.account("1:discord", CHANNEL), "cooling_until_ms", until_ms)
    store.client.zrem(store.keys.of("free", "1:discord"), CHANNEL)
    store.client.zadd(store.keys.of("due"), {f"1:discord:{CHANNEL}": until_ms})


async def until(claim: Callable[[], bool]) -> None:
    while not claim():  # noqa: ASYNC110 (what is waited for is in the store, or in another task's hands)
        await asyncio.sleep(0.01)


async def test_a_window_is_logged_once_when_it_opens_and_once_when_it_has_closed(
    store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    learner = Learner(async_store, Learning(settings.model_copy(update={"learning_s": 60})))
    with capture_logs() as before:
        await learner.step()
    assert (before, store.client.get(store.keys.of("learning_ms"))) == ([], "60000")

    store.client.set(store.keys.of("learning"), "the server changed", px=60_000)
    with capture_logs() as opened:
        await learner.step()
        await learner.step()
    store.client.delete(store.keys.of("learning"))
    with capture_logs() as ended:
        await learner.step()
        await learner.step()

    assert [(line["event"], line["reason"]) for line in opened] == [("learning opened", "the server changed")]
    assert 0 < opened[0]["left_ms"] <= 60_000
    assert [(line["event"], line["reason"]) for line in ended] == [("learning ended", "the server changed")]


async def test_while_the_store_learns_the_refiller_wakes_at_its_end(
    store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    add_account(store, settings)
    store.client.set(store.keys.of("learning"), "the server changed", px=100)
    job = submit(store, settings)
    refiller = Refiller(async_store, Slots(settings))

    await refiller.step()

    assert 0 <= refiller.interval() <= 0.1
    await until(lambda: not store.client.exists(store.keys.of("learning")))
    await refiller.step()
    assert store.client.exists(store.keys.lease(job.id))


async def test_an_account_whose_cooling_is_over_is_used_again(
    store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    add_account(store, settings)
    cool(store, until_ms=now_ms(store) - 1)
    job = submit(store, settings)
    assert not store.client.exists(store.keys.lease(job.id))

    await Refiller(async_store, Slots(settings)).step()

    assert store.client.hget(store.keys.lease(job.id), "channel") == CHANNEL


async def test_the_refiller_sleeps_until_the_earliest_account_is_due(
    store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    add_account(store, settings)
    refiller = Refiller(async_store, Slots(settings))

    await refiller.step()
    assert refiller.interval() == INTERVAL_S

    cool(store, until_ms=now_ms(store) + 200)
    await refiller.step()
    assert refiller.interval() <= 0.2

    cool(store, until_ms=now_ms(store) + 60_000)
    await refiller.step()
    assert refiller.interval() == INTERVAL_S


async def test_a_store_without_pools_is_no_trouble(async_store: AsyncStore, settings: Settings) -> None:
    refiller = Refiller(async_store, Slots(settings))

    await refiller.step()

    assert refiller.interval() == INTERVAL_S


async def test_a_lease_whose_owner_died_is_redelivered_at_the_second_strike(
    store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    add_account(store, settings)
    job = submit(store, settings)
    token = store.client.hget(store.keys.lease(job.id), "token")
    queue = store.keys.of("rq", "queue", "pixverse")
    store.client.delete(queue)  # a worker took it, and died
    reaper = Reaper(async_store, Slots(settings), sweep_s=settings.sweep_s)

    for _ in ("first strike", "second strike"):
        store.client.zadd(store.keys.of("expiry"), {job.id: 1})
        await reaper.step()

    renewed = store.client.hget(store.keys.lease(job.id), "token")
    assert renewed != token
    assert store.client.lrange(queue, 0, -1) == [f"{job.id}-{renewed!s}"]
    assert reaper.interval() == settings.sweep_s


async def test_expired_jobs_leave_the_lists_and_old_living_ones_stay(
    store: Store, async_store: AsyncStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaner, "PAGE", 2)
    add_account(store, settings)
    jobs = [submit(store, settings, f"prompt {n}") for n in range(7)]
    long_ago_ms = now_ms(store) - int(settings.jobs_keep_days + 1) * DAY_MS
    listed = [store.keys.of("jobs", "1"), store.keys.of("jobs", "1", "created")]
    for number, job in enumerate(jobs[:6]):
        for name in listed:
            store.client.zadd(name, {job.id: long_ago_ms + number})
    expired, living = jobs[0:6:2], jobs[1:6:2]
    for job in expired:
        store.client.delete(store.keys.job(job.id))

    await Cleaner(async_store, settings).step()

    for name in listed:
        assert store.client.zrange(name, 0, -1) == [job.id for job in (*living, jobs[6])]


class Faulty(Loop):
    """Fails as often as it is told, then works."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)
        self.done = 0

    def interval(self) -> float:
        return 0.001

    async def step(self) -> None:
        if self.errors:
            raise self.errors.pop()
        self.done += 1


async def test_a_failing_loop_tells_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BACK_OFF_FIRST_S", 0.001)
    faulty = Faulty(*[StoreUnavailable("Redis is away")] * 3)

    with capture_logs() as lines:
        faulty.start()
        await until(lambda: faulty.done > 2)
        await faulty.stop()

    assert [line["event"] for line in lines] == ["loop waits for the store", "loop works again"]


async def test_even_a_defect_does_not_end_a_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "BACK_OFF_FIRST_S", 0.001)
    faulty = Faulty(ZeroDivisionError("a defect"))

    with capture_logs() as lines:
        faulty.start()
        await until(lambda: faulty.done > 0)
        await faulty.stop()

    assert lines[0]["event"] == "loop failed"
    assert lines[0]["log_level"] == "error"


async def test_a_loop_stops_wherever_it_is(settings: Settings, store: Store) -> None:
    del store  # it cleans up
    for turns in range(60):
        async_store = open_async_store(str(settings.redis_url), settings.namespace)
        reaper = Reaper(async_store, Slots(settings), sweep_s=0.001)
        reaper.start()
        for _ in range(turns):
            await asyncio.sleep(0)

        await asyncio.wait_for(reaper.stop(), 10)

        await async_store.close()


async def test_a_loop_that_never_started_can_be_stopped() -> None:
    await Faulty().stop()


async def test_loops_outlive_a_restart_of_the_store(tmp_path: Path) -> None:
    embedded = EmbeddedStore(tmp_path)
    settings = Settings(redis_url=embedded.start(), state_dir=tmp_path)
    store = open_async_store(str(settings.redis_url), settings.namespace)
    reaper = Reaper(store, Slots(settings), sweep_s=0.01)
    sweeps = 0
    sweep = reaper.step

    async def counted() -> None:
        nonlocal sweeps
        await sweep()
        sweeps += 1

    reaper.step = counted  # type: ignore[method-assign]  # to see it work
    reaper.start()
    await until(lambda: sweeps > 0)
    await asyncio.to_thread(embedded.stop)
    await asyncio.to_thread(embedded.start)
    before = sweeps

    await until(lambda: sweeps > before + 1)

    await reaper.stop()
    await store.close()
    embedded.stop()


def serve_until_leased(store: Store, settings: Settings, folder: Path, job: Job, number: signal.Signals) -> str:
    """Run `dispatcher run` until it has granted the job, end it with the signal; its log."""
    environment = {
        **os.environ,
        "DISPATCHER_REDIS_URL": str(settings.redis_url),
        "DISPATCHER_NAMESPACE": settings.namespace,
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "dispatcher", "run"], env=environment, stderr=log)
        try:
            while not store.client.exists(store.keys.lease(job.id)):
                assert process.poll() is None
            process.send_signal(number)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    return (folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_process_grants_what_waits_and_ends_on_a_signal(
    store: Store, settings: Settings, tmp_path: Path, number: signal.Signals
) -> None:
    add_account(store, settings)
    cool(store, until_ms=now_ms(store) - 1)
    job = submit(store, settings)

    log = serve_until_leased(store, settings, tmp_path, job, number)

    assert "service stopped" in log


def test_a_service_that_starts_and_stops_leaves_every_slot_to_its_owner(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    fleet = Fleet(store)
    fleet.put("held", 5)
    fleet.put("unanswered")
    tokens = {state: fleet.bring(f"in-{state}", state, channel="held") for state in ("A", "D", "U", "R", "C")}
    tokens["S"] = fleet.bring("in-S", "S", channel="unanswered")
    add_account(store, settings)
    cool(store, until_ms=now_ms(store) - 1)
    waiting = submit(store, settings)

    serve_until_leased(store, settings, tmp_path, waiting, signal.SIGTERM)

    assert {state: fleet.token(f"in-{state}") for state in tokens} == tokens
    assert {state: fleet.state(f"in-{state}") for state in tokens} == {state: state for state in tokens}
    assert (len(fleet.used("held")), fleet.used("unanswered")) == (5, ["in-S"])


def test_services_beside_each_other_grant_a_slot_once(store: Store, settings: Settings) -> None:
    add_account(store, settings)
    for n in range(4):
        submit(store, settings, f"prompt {n}")

    async def four_at_once() -> None:
        async_store = open_async_store(str(settings.redis_url), settings.namespace)
        await asyncio.gather(*(Refiller(async_store, Slots(settings)).step() for _ in range(4)))
        await async_store.close()

    asyncio.run(four_at_once())

    (account,) = carry_out(store, Accounts(settings, KEYS).list(user=1))
    assert account.used == account.max_jobs == 1


def test_registries_of_rq_are_cleaned_and_a_store_that_is_away_is_told_as_such(
    store: Store, settings: Settings
) -> None:
    finished = store.keys.of("rq", "finished", "pixverse")
    store.client.zadd(finished, {"20261122203000123ABCDEF-1": 1})

    # In a process of its own: rq reads its prefix once, and this process has another test's.
    program = (
        "import asyncio, sys\n"
        "from dispatcher.cleaner import Cleaner\n"
        "from dispatcher.connection import open_async_store\n"
        "from dispatcher.errors import StoreUnavailable\n"
        "from dispatcher.settings import Settings\n"
        "async def clean():\n"
        "    settings = Settings()\n"
        "    away = settings.model_copy(update={'redis_url': 'redis://127.0.0.1:1/0'})\n"
        "    store = open_async_store(settings.redis_url, settings.namespace)\n"
        "    await Cleaner(store, settings).step()\n"
        "    try:\n"
        "        await Cleaner(store, away).step()\n"
        "    except StoreUnavailable:\n"
        "        print('away')\n"
        "    await store.close()\n"
        "asyncio.run(clean())"
    )
    environment = {
        **os.environ,
        "DISPATCHER_REDIS_URL": str(settings.redis_url),
        "DISPATCHER_NAMESPACE": settings.namespace,
    }
    told = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)

    assert not store.client.exists(finished)
    assert told.stdout.splitlines()[-1] == "away"
