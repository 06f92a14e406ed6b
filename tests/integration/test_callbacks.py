"""Callbacks from the end of a job to a listener on loopback: what is heard, how often, and what becomes of the rest."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook
from structlog.testing import capture_logs

from bench.hook import Hook, answers, hangs_up, in_turn
from dispatcher import callbacks, caller
from dispatcher.callbacks import HOST_CALLS_MAX, Outbox
from dispatcher.caller import GIVE_UP_S, PAUSE_FIRST_S, PAUSE_MAX_S, Caller, pause_s
from dispatcher.cleaner import Cleaner
from dispatcher.connection import AsyncStore, Store
from dispatcher.jobs import Jobs
from dispatcher.models import Job
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from dispatcher.wire import job_body
from tests.support.desk import until
from tests.support.fleet import PAST_MS, Fleet

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
MESSAGE = {
    "messageId": "9",
    "content": "<@1> (prompt: ein Löwe 🦁)",
    "attachments": [
        {"id": "7", "filename": "a.mp4", "url": "https://cdn.example/a.mp4?ex=1", "content_type": "video/mp4"}
    ],
    "buttons": ["ReDo"],
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Loopback may be called."""
    return settings.model_copy(update={"callback_allowed_networks": ["127.0.0.1/32"], "callback_timeout_s": 5.0})


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as listening:
        yield listening


@asynccontextmanager
async def calling(store: AsyncStore, settings: Settings, **changed: Any) -> AsyncIterator[Caller]:
    """A service that calls back while the block runs."""
    loop = Caller(store, settings.model_copy(update=changed))
    loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


def ended(store: Store, settings: Settings, url: str | None, *, prompt: str = "a calm sea") -> Job:
    """A job without an account, cancelled while it waits."""
    options = Options(reply_url=url, reply_ref="mine")
    job = store.do(Jobs(settings).submit(CreateSingle(prompt=prompt, style="Anime"), options))
    return store.do(Jobs(settings).cancel(job.id))


def read(store: Store, settings: Settings, job: Job) -> dict[str, Any]:
    """The job as a caller would read it, through JSON."""
    body: dict[str, Any] = json.loads(json.dumps(job_body(store.do(Jobs(settings).get(job.id)))))
    return body


def owed(store: Store, settings: Settings) -> tuple[int, int]:
    """How many callbacks wait, and how many are dead."""
    return carry_out(store, Outbox(settings).counts())


def of(store: Store, job: Job) -> dict[str, str]:
    """What the outbox keeps of a job's callback."""
    return Fleet(store).hash("callback", job.id)


def bring_on(store: Store, *jobs: Job) -> None:
    """The next attempts are due."""
    for job in jobs:
        store.client.zadd(store.keys.of("callbacks"), {job.id: PAST_MS}, xx=True)


# --- heard -----------------------------------------------------------------------------------------------------------


async def test_an_ended_job_is_told_once_and_the_body_is_the_job_as_it_is_read(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    fleet = Fleet(store)
    fleet.put("101")
    options = Options(reply_url=f"{hook.url}/hook?ind=3", reply_ref="mine")
    job = store.do(Jobs(settings).submit(CreateSingle(prompt="ein Löwe 🦁", style="Anime"), options))
    fleet.claim(job.id)
    fleet.mark_submitting(job.id)
    fleet.mark_accepted(job.id)
    fleet.settle(job.id, message=json.dumps(MESSAGE))

    async with calling(async_store, settings):
        await until(lambda: owed(store, settings) == (0, 0) and hook.heard)

    (heard,) = hook.heard
    body = json.loads(heard.body)
    assert body == read(store, settings, job)
    assert (body["status"], body["code"], body["replyRef"]) == ("completed", 200, "mine")
    assert body["attachments"][0]["url"] == MESSAGE["attachments"][0]["url"]  # type: ignore[index]  # of the message above
    assert (heard.path, heard.id) == ("/hook?ind=3", f"{job.id}-final")


async def test_a_secret_signs_every_callback(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    ended(store, settings, hook.url)

    async with calling(async_store, settings, callback_secret=SecretStr(SECRET)):
        await until(lambda: hook.heard)

    assert Webhook(SECRET).verify(hook.heard[0].body, hook.heard[0].headers)["status"] == "cancelled"


@pytest.mark.parametrize("status", [200, 302, 404, 500, 503])
async def test_any_answer_is_a_delivery(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook, status: int
) -> None:
    hook.answer = answers(status, {"location": f"{hook.url}/other"})
    job = ended(store, settings, f"http://user:hunter2@127.0.0.1:{hook.port}/?key=hunter2")

    with capture_logs() as lines:
        async with calling(async_store, settings):
            await until(lambda: owed(store, settings) == (0, 0))

    assert hook.ids == [f"{job.id}-final"]
    (line,) = lines
    assert (line["event"], line["status"], line["host"]) == ("callback answered", status, f"127.0.0.1:{hook.port}")
    assert (line["log_level"] == "info") == (status == 200)
    assert "hunter2" not in str(lines)


async def test_a_server_error_is_no_delivery_where_the_setting_says_so(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    hook.answer = in_turn(answers(503), answers(200))
    job = ended(store, settings, hook.url)

    async with calling(async_store, settings, callback_retry_5xx=True):
        await until(lambda: of(store, job).get("error") == "HTTP 503")
        bring_on(store, job)
        await until(lambda: owed(store, settings) == (0, 0))

    assert hook.ids == [f"{job.id}-final"] * 2


async def test_a_job_without_a_reply_url_calls_nobody(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    ended(store, settings, None)
    told = ended(store, settings, hook.url)

    async with calling(async_store, settings):
        await until(lambda: hook.heard)

    assert hook.ids == [f"{told.id}-final"]


async def test_progress_is_told_where_it_is_asked_for_and_the_end_once(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    fleet = Fleet(store)
    fleet.put("101")
    wanted = settings.model_copy(update={"callback_progress": True})
    options = Options(reply_url=hook.url)
    job = store.do(Jobs(wanted).submit(CreateSingle(prompt="a calm sea", style="Anime"), options))

    async with calling(async_store, settings):
        fleet.claim(job.id)
        fleet.mark_submitting(job.id)
        fleet.mark_accepted(job.id)
        await until(lambda: len(hook.heard) == 1)
        fleet.mark_accepted(job.id, status="progress", message=json.dumps(MESSAGE))
        await until(lambda: len(hook.heard) == 2)
        fleet.settle(job.id)
        await until(lambda: owed(store, settings) == (0, 0) and len(hook.heard) == 3)

    assert [json.loads(heard.body)["status"] for heard in hook.heard] == ["started", "progress", "completed"]
    assert len(set(hook.ids)) == 3
    assert hook.ids[-1] == f"{job.id}-final"


async def test_progress_that_nobody_may_be_told_is_no_dead_letter(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    fleet = Fleet(store)
    fleet.put("101")
    wanted = settings.model_copy(update={"callback_progress": True})
    job = store.do(Jobs(wanted).submit(CreateSingle(prompt="x", style="Anime"), Options(reply_url="http://10.0.0.1/")))
    fleet.claim(job.id)
    fleet.mark_submitting(job.id)
    fleet.mark_accepted(job.id)

    async with calling(async_store, settings):
        await until(lambda: owed(store, settings) == (0, 0))
        fleet.settle(job.id)
        await until(lambda: owed(store, settings) == (0, 1))


# --- not heard -------------------------------------------------------------------------------------------------------


async def test_a_listener_that_is_dead_and_comes_back_is_told_under_the_same_id(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    hook.dies()
    job = ended(store, settings, hook.url)
    before = read(store, settings, job)

    with capture_logs() as lines:
        async with calling(async_store, settings):
            await until(lambda: of(store, job).get("attempts") == "1")
            waits_ms = store.client.zscore(store.keys.of("callbacks"), job.id)
            hook.comes_back()
            bring_on(store, job)
            await until(lambda: owed(store, settings) == (0, 0))

    assert hook.ids == [f"{job.id}-final"]
    assert [line["event"] for line in lines] == ["callback not heard", "callback answered"]
    assert isinstance(waits_ms, float)
    assert waits_ms > Fleet(store).now_ms()
    assert read(store, settings, job) == before == json.loads(hook.heard[0].body)


@pytest.mark.parametrize("how", ["hangs", "hangs up"])
async def test_what_got_no_answer_is_put_off_and_not_lost(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook, how: str
) -> None:
    hook.answer = in_turn(hook.hangs if how == "hangs" else hangs_up, answers(200))
    job = ended(store, settings, hook.url)

    async with calling(async_store, settings, callback_timeout_s=0.3):
        await until(lambda: of(store, job).get("error"))
        bring_on(store, job)
        await until(lambda: owed(store, settings) == (0, 0))

    assert hook.ids == [f"{job.id}-final"] * 2


async def test_after_a_day_of_trying_it_is_a_dead_letter_and_the_operator_is_told(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    hook.dies()
    job = ended(store, settings, hook.url)
    async with calling(async_store, settings):
        await until(lambda: of(store, job).get("attempts") == "1")
        long_ago_ms = Fleet(store).now_ms() - int(GIVE_UP_S * 1000)
        store.client.hset(store.keys.of("callback", job.id), "first_ms", long_ago_ms)
        bring_on(store, job)
        with capture_logs() as lines:
            await until(lambda: owed(store, settings) == (0, 1))

    assert [line["event"] for line in lines] == ["callback given up"]
    assert of(store, job)["attempts"] == "2"


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "http://localhost/"]
)
async def test_an_address_that_may_not_be_called_is_a_dead_letter_at_once(
    store: Store, async_store: AsyncStore, settings: Settings, url: str
) -> None:
    job = ended(store, settings, url)

    async with calling(async_store, settings, callback_allowed_networks=[]):
        await until(lambda: owed(store, settings) == (0, 1))

    assert of(store, job)["error"].startswith("refused: ")


async def test_a_listener_that_hangs_holds_no_other_up(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    with Hook() as hanging:
        hanging.answer = hanging.hangs
        for n in range(3 * caller.CALLS_MAX):
            ended(store, settings, hanging.url, prompt=f"hangs {n}")
        async with calling(async_store, settings):
            await until(lambda: len(hanging.heard) == HOST_CALLS_MAX)
            for n in range(10):
                ended(store, settings, hook.url, prompt=f"is told {n}")
            await until(lambda: len(hook.heard) == 10)

            assert len(hanging.heard) == HOST_CALLS_MAX
            hanging.released.set()


async def test_a_service_that_stops_in_the_call_leaves_it_to_the_next_under_the_same_id(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "STOP_S", 0.1)
    hook.answer = in_turn(hook.hangs, answers(200))
    job = ended(store, settings, hook.url)
    async with calling(async_store, settings):
        await until(lambda: hook.heard)
    waits_ms = store.client.zscore(store.keys.of("callbacks"), job.id)

    assert isinstance(waits_ms, float)
    assert 0 < waits_ms - Fleet(store).now_ms() <= callbacks.AGAIN_MS
    bring_on(store, job)
    async with calling(async_store, settings):
        await until(lambda: owed(store, settings) == (0, 0))
    assert hook.ids == [f"{job.id}-final"] * 2


async def test_services_beside_each_other_tell_each_end_once(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    async with calling(async_store, settings), calling(async_store, settings):
        jobs = [ended(store, settings, hook.url, prompt=f"job {n}") for n in range(80)]
        await until(lambda: owed(store, settings) == (0, 0))

    assert sorted(hook.ids) == sorted(f"{job.id}-final" for job in jobs)


async def test_a_record_that_cannot_be_read_does_not_stop_the_others(
    store: Store, async_store: AsyncStore, settings: Settings, hook: Hook
) -> None:
    bad = ended(store, settings, hook.url)
    store.client.hset(store.keys.job(bad.id), "request", "{")
    good = ended(store, settings, hook.url)

    async with calling(async_store, settings):
        await until(lambda: hook.heard and of(store, bad).get("error"))

    assert hook.ids == [f"{good.id}-final"]
    store.client.hset(store.keys.job(bad.id), "request", "{}")


# --- kept ------------------------------------------------------------------------------------------------------------


async def test_dead_letters_are_forgotten_with_the_jobs(
    store: Store, async_store: AsyncStore, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.cleaner._clean_registries", lambda *_: None)  # RQ's prefix is another test's
    long_ago_ms = Fleet(store).now_ms() - int((settings.jobs_keep_days + 1) * 86_400_000)
    store.client.zadd(store.keys.of("callbacks_dead"), {"long-gone": long_ago_ms})
    assert owed(store, settings) == (0, 0)

    await Cleaner(async_store, settings).step()

    assert not store.client.exists(store.keys.of("callbacks_dead"))


def test_pauses_grow_up_to_a_quarter_of_an_hour_and_differ() -> None:
    pauses = [pause_s(attempts) for attempts in range(40)]

    assert 0.8 * PAUSE_FIRST_S <= pauses[0] <= 1.2 * PAUSE_FIRST_S
    assert 0.8 * 2 * PAUSE_FIRST_S <= pauses[1] <= 1.2 * 2 * PAUSE_FIRST_S
    assert all(0.8 * PAUSE_MAX_S <= pause <= 1.2 * PAUSE_MAX_S for pause in pauses[8:])
    assert len(set(pauses)) == len(pauses)
