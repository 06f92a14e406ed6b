"""The enqueue API on a real server; jobs are settled by the same transitions that a worker uses."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from dispatcher import (
    AccountNotFound,
    AsyncClient,
    Client,
    Create,
    CreateSingle,
    DuplicateJob,
    Job,
    JobNotFound,
    JobStateError,
    RequestInvalid,
    SettingsError,
    StoreReplyError,
    StoreUnavailable,
    WaitTimeout,
)
from dispatcher.connection import Call, Store, command
from dispatcher.errors import LeasingClosed
from dispatcher.events import reader_of
from dispatcher.handoff import QUEUE, DeliveryId
from dispatcher.leases import Assignment
from dispatcher.models import Message
from dispatcher.replies import entropy
from dispatcher.requests import Request
from dispatcher.settings import Settings
from dispatcher.slots import Slots

CHANNEL = "1197013797467074001"


@pytest.fixture
def client(store: Store, settings: Settings) -> Iterator[Client]:
    with Client(settings.redis_url, namespace=settings.namespace) as opened:
        yield opened


@pytest.fixture
async def async_client(store: Store, settings: Settings) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(settings.redis_url, namespace=settings.namespace) as opened:
        yield opened


def put_account(store: Store, max_jobs: int = 10, channel: str = CHANNEL) -> None:
    args = (entropy(), 15_000, 1, "1:discord", channel, "99", "sealed", "abc", f"digest-{channel}", max_jobs, "v1", "")
    store.do(Call("account_put", args, lambda reply: reply))


def settle_all(store: Store, settings: Settings) -> None:
    """Do what workers do with everything in the queue, last delivery first."""
    slots = Slots(settings)
    key = f"{settings.namespace}:rq:queue:{QUEUE}"
    while delivery := store.client.rpop(key):
        assignment = store.do(slots.claim(DeliveryId.parse(str(delivery)), execution="e", owner="w"))
        assert isinstance(assignment, Assignment)
        store.do(slots.settle(assignment.lease, "completed", message=Message(messageId="5", content="done")))


def single(prompt: str = "a calm sea") -> CreateSingle:
    return CreateSingle(prompt=prompt, style="Realistic")


def test_a_job_enqueued_without_accounts_waits(client: Client) -> None:
    job = client.enqueue(single())

    assert (job.status, job.channel, job.verb) == ("created", None, "pixverse-create_single")
    assert job.jobid == f"job:{job.id}-user:1-channel:0-bot:pixverse"
    assert job.created.tzinfo is not None


def test_a_job_enqueued_beside_a_free_account_knows_its_channel_at_accept(client: Client, store: Store) -> None:
    put_account(store)

    job = client.enqueue(single())

    assert job.channel == CHANNEL
    assert f"-channel:{CHANNEL}-" in job.jobid


def test_both_forms_of_an_id_read_the_same_job(client: Client) -> None:
    job = client.enqueue(single())

    assert client.get(job.id) == client.get(job.jobid) == job


def test_an_unknown_id_and_another_users_job_are_not_found(client: Client, settings: Settings) -> None:
    job = client.enqueue(single())

    with pytest.raises(JobNotFound):
        client.get("20260101000000000AAAAAA")
    with Client(settings.redis_url, namespace=settings.namespace, user=2) as other, pytest.raises(JobNotFound):
        other.get(job.id)


def test_an_unknown_channel_is_refused_and_stores_nothing(client: Client) -> None:
    with pytest.raises(AccountNotFound):
        client.enqueue(single(), channel="1197013797467074999")

    assert client.jobs() == []


def test_the_same_key_and_request_return_the_first_job(client: Client) -> None:
    first = client.enqueue(single(), idempotency_key="k1")

    assert client.enqueue(single(), idempotency_key="k1").id == first.id
    assert [job.id for job in client.jobs()] == [first.id]


def test_the_same_key_with_another_request_is_refused(client: Client) -> None:
    client.enqueue(single(), idempotency_key="k1")

    with pytest.raises(DuplicateJob):
        client.enqueue(single("another"), idempotency_key="k1")


def test_a_batch_with_a_key_can_be_repeated(client: Client) -> None:
    batch = [single(str(n)) for n in range(5)]
    first = client.enqueue_many(batch, idempotency_key="batch")

    assert [job.id for job in client.enqueue_many(batch, idempotency_key="batch")] == [job.id for job in first]


def test_enqueue_many_keeps_the_order(client: Client) -> None:
    jobs = client.enqueue_many([single(str(n)) for n in range(50)])

    assert [job.prompt for job in jobs] == [str(n) for n in range(50)]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": 101}, "priority"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"priority": 1.5}, "priority"),
        ({"idempotency_key": "\ud83d"}, "idempotency_key"),
        ({"deadline_s": math.nan}, "deadline_s"),
        ({"channel": ""}, "channel"),
    ],
)
def test_an_option_out_of_range_is_refused_before_anything_is_stored(
    client: Client, options: dict[str, object], field: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        client.enqueue_many([single()], **options)

    assert refused.value.field == field
    assert client.jobs() == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"style": "Anime"}, "Required param prompt is missing or empty"),
        ({"prompt": "x", "style": ""}, "Required param style is missing or empty"),
        ({"prompt": "x" * 513, "style": "Anime"}, "prompt is too long"),
        ({"prompt": "x", "style": "Oil"}, "Param style value Oil is not supported"),
        ({"prompt": "x", "style": "Anime", "aspect_ratio": "2:1"}, "Param aspect_ratio value 2:1 is not supported"),
        ({"prompt": "x", "style": "Anime", "maxJobs": 11}, "Param maxJobs value 11 is not supported"),
        ({"prompt": "x", "style": "Anime", "colour": "red"}, "Create has no field colour"),
    ],
)
def test_a_bad_request_says_what_is_wrong(values: dict[str, object], message: str) -> None:
    with pytest.raises(RequestInvalid, match=message):
        Create(**values)


def test_what_is_no_request_is_refused(client: Client) -> None:
    with pytest.raises(RequestInvalid):
        client.enqueue({"prompt": "x"})  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(RequestInvalid):
        client.enqueue_many([single(), Request()])

    assert client.jobs() == []


def test_jobs_are_listed_newest_first_in_pages_that_join_without_gap(client: Client) -> None:
    ids = [job.id for job in client.enqueue_many([single(str(n)) for n in range(25)])]

    pages = [client.jobs(limit=10)]
    while pages[-1]:
        pages.append(client.jobs(limit=10, before=pages[-1][-1].id))

    listed = [job.id for page in pages for job in page]
    assert sorted(listed) == sorted(ids)
    assert listed == sorted(listed, key=lambda i: (client.get(i).created, i), reverse=True)


def test_jobs_are_listed_by_status_and_before_an_instant(client: Client) -> None:
    first, second = client.enqueue(single("1")), client.enqueue(single("2"))
    client.cancel(first.id)

    assert [job.id for job in client.jobs("cancelled")] == [first.id]
    assert [job.id for job in client.jobs("created")] == [second.id]
    assert client.jobs(before=first.created) == []


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"status": "nope"}, "status"),
        ({"limit": "x"}, "limit"),
        ({"limit": -1}, "limit"),
        ({"before": 5}, "before"),
        ({"before": datetime.min}, "before"),  # noqa: DTZ901 (a zone would make it an instant)
    ],
)
def test_a_list_that_cannot_be_asked_for_is_refused(client: Client, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestInvalid) as refused:
        client.jobs(**asked)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("name", "value"),
    [("priority", "1.5"), ("request", "[]"), ("request", "{"), ("status", "odd"), ("created_ms", "9" * 30)],
)
def test_a_record_that_cannot_be_read_is_left_out_of_lists_and_told_by_itself(
    client: Client, store: Store, name: str, value: str
) -> None:
    bad, good = client.enqueue(single("bad")), client.enqueue(single("good"))
    store.client.hset(store.keys.job(bad.id), name, value)

    with capture_logs() as logs:
        listed = client.jobs()

    assert [job.id for job in listed] == [good.id]
    assert [(line["event"], line["job_id"]) for line in logs] == [("job record unreadable", bad.id)]
    with pytest.raises(StoreReplyError, match=bad.id):
        client.get(bad.id)


def test_a_record_without_a_field_is_left_out_of_lists(client: Client, store: Store) -> None:
    job = client.enqueue(single())
    store.client.hdel(store.keys.job(job.id), "priority")

    assert client.jobs() == []


def test_an_id_that_no_text_can_have_is_not_found(client: Client) -> None:
    for call in (client.get, client.cancel, client.wait):
        with pytest.raises(JobNotFound):
            call("\ud83d")


def test_cancel_ends_a_waiting_job_and_leaves_a_final_one_alone(client: Client) -> None:
    job = client.enqueue(single())

    assert client.cancel(job.id).status == "cancelled"
    assert client.cancel(job.jobid).status == "cancelled"
    with pytest.raises(JobNotFound):
        client.cancel("20260101000000000AAAAAA")


def test_retry_makes_a_new_job_of_the_same_request(client: Client, store: Store) -> None:
    put_account(store, 1)
    ended = client.enqueue(single(), channel=CHANNEL, priority=7, deadline_s=900, reply_ref="mine")
    client.cancel(ended.id)

    job = client.retry(ended.jobid)

    assert (job.status, job.retry_of, job.request) == ("created", ended.id, ended.request)
    assert (job.priority, job.channel, job.replyRef) == (7, CHANNEL, "mine")
    record = store.client.hgetall(store.keys.job(job.id))
    assert record["pin"] == CHANNEL
    assert int(record["deadline_ms"]) - int(record["created_ms"]) == 900_000
    assert job.id != ended.id


def test_a_retry_is_one_job_until_it_has_ended(client: Client) -> None:
    ended = client.cancel(client.enqueue(single()).id)

    first = client.retry(ended.id)
    assert client.retry(ended.id).id == first.id
    client.cancel(first.id)
    second = client.retry(ended.id)

    assert second.id not in {ended.id, first.id}
    assert second.retry_of == first.id


def test_a_job_that_goes_on_cannot_be_retried(client: Client, settings: Settings) -> None:
    job = client.enqueue(single())

    with pytest.raises(JobStateError, match="created"):
        client.retry(job.id)
    with pytest.raises(JobNotFound):
        client.retry("20261122203000123ABCDEF")
    client.cancel(job.id)
    with Client(settings.redis_url, user=2, namespace=settings.namespace) as other, pytest.raises(JobNotFound):
        other.retry(job.id)


def test_one_key_used_a_hundred_times_at_once_makes_one_job(settings: Settings, store: Store) -> None:
    put_account(store)

    def enqueue(_: int) -> str:
        with Client(settings.redis_url, namespace=settings.namespace) as client:
            return client.enqueue(single(), idempotency_key="once").id

    with ThreadPoolExecutor(20) as pool:
        ids = set(pool.map(enqueue, range(100)))

    assert len(ids) == 1
    assert store.client.zcard(store.keys.of("jobs", "1")) == 1
    assert store.client.llen(f"{settings.namespace}:rq:queue:{QUEUE}") == 1


def learn(store: Store, window_ms: int) -> None:
    store.client.set(store.keys.of("learning"), "the server changed", px=window_ms)


def test_a_key_that_the_store_may_have_lost_is_taken_up_when_it_has_learned(client: Client, store: Store) -> None:
    known = client.enqueue(single(), idempotency_key="known")
    learn(store, 700)

    assert client.enqueue(single(), idempotency_key="known").id == known.id
    assert client.enqueue(single("without a key")).status == "created"
    assert store.client.pttl(store.keys.of("learning")) > 0
    assert client.enqueue(single("another"), idempotency_key="new").status == "created"
    assert store.client.pttl(store.keys.of("learning")) < 0


def test_an_unknown_job_may_be_told_of_again_while_the_store_learns(client: Client, store: Store) -> None:
    job = client.enqueue(single())
    record = store.client.hgetall(store.keys.job(job.id))
    store.client.delete(store.keys.job(job.id))
    learn(store, 60_000)
    ended: list[Job] = []
    waiter = threading.Thread(target=lambda: ended.append(client.wait(job.id, timeout_s=30)))
    waiter.start()

    with pytest.raises(LeasingClosed):
        client.get(job.id)
    store.client.hset(store.keys.job(job.id), mapping={str(name): str(value) for name, value in record.items()})
    client.cancel(job.id)

    waiter.join(30)
    assert [job.status for job in ended] == ["cancelled"]


async def test_the_async_client_waits_for_what_a_learning_store_does_not_know(
    async_client: AsyncClient, store: Store
) -> None:
    learn(store, 500)

    with pytest.raises(LeasingClosed):
        await async_client.get("20261122203000123ABCDEF")
    assert (await async_client.enqueue(single(), idempotency_key="new")).status == "created"
    with pytest.raises(JobNotFound):
        await async_client.get("20261122203000123ABCDEF")


def test_wait_returns_a_job_that_is_final_already(client: Client) -> None:
    job = client.cancel(client.enqueue(single()).id)

    assert client.wait(job.id, timeout_s=5) == job


def test_wait_is_woken_when_the_job_ends(client: Client, store: Store, settings: Settings) -> None:
    put_account(store)
    job = client.enqueue(single())
    ended: list[Job] = []
    waiter = threading.Thread(target=lambda: ended.append(client.wait(job.id, timeout_s=30)))
    waiter.start()

    settle_all(store, settings)

    waiter.join(30)
    assert ended[0].status == "completed"
    assert ended[0].content == "done"


def test_wait_gives_up_in_time_and_the_job_goes_on(client: Client) -> None:
    job = client.enqueue(single())

    with pytest.raises(WaitTimeout):
        client.wait(job.id, timeout_s=0.05)

    assert client.get(job.id).status == "created"


def test_wait_for_an_unknown_job_says_so(client: Client) -> None:
    with pytest.raises(JobNotFound):
        client.wait("20260101000000000AAAAAA", timeout_s=5)


def test_wait_many_keeps_the_order_in_which_it_was_asked(client: Client, store: Store, settings: Settings) -> None:
    put_account(store)
    jobs = client.enqueue_many([single(str(n)) for n in range(6)])
    settle_all(store, settings)

    ended = client.wait_many([job.id for job in jobs], timeout_s=30)

    assert [job.id for job in ended] == [job.id for job in jobs]


async def test_hundreds_of_waiters_share_one_reader(
    async_client: AsyncClient, store: Store, settings: Settings
) -> None:
    put_account(store)
    jobs = await async_client.enqueue_many([single(str(n)) for n in range(200)])
    waiters = [asyncio.create_task(async_client.wait(job.id, timeout_s=60)) for job in jobs]
    await asyncio.sleep(0)

    readers = [thread for thread in threading.enumerate() if settings.namespace in thread.name]
    await asyncio.to_thread(settle_all, store, settings)

    assert {job.status for job in await asyncio.gather(*waiters)} == {"completed"}
    assert len(readers) == 1
    assert reader_of(str(settings.redis_url), settings.namespace) is async_client._events


async def test_the_async_client_does_what_the_client_does(async_client: AsyncClient, tmp_path: Path) -> None:
    job = await async_client.enqueue(single(), priority=5, reply_url="http://example.org/x?ind=3", reply_ref="r")

    assert (await async_client.get(job.jobid)).replyUrl == "http://example.org/x?ind=3"
    assert [listed.id for listed in await async_client.jobs("created")] == [job.id]
    assert [listed.id for listed in await async_client.jobs(before=job.id)] == []
    assert (await async_client.cancel(job.id)).status == "cancelled"
    assert (await async_client.retry(job.id)).retry_of == job.id
    assert [ended.id for ended in await async_client.wait_many([job.id])] == [job.id]
    with pytest.raises(JobStateError):
        await async_client.download(job, tmp_path)


def test_no_store_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPATCHER_REDIS_URL", raising=False)

    with pytest.raises(StoreUnavailable, match="dispatcher up"):
        Client(state_dir=tmp_path)


def test_a_store_that_is_away_is_said_and_nothing_hangs() -> None:
    with Client("redis://127.0.0.1:1/0") as client, pytest.raises(StoreUnavailable):
        client.enqueue(single())


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("user", [0, -5, True, "1:discord:x"])
def test_a_client_of_no_user_is_refused(settings: Settings, kind: type[Client | AsyncClient], user: Any) -> None:
    with pytest.raises(RequestInvalid, match="user"):
        kind(settings.redis_url, user=user)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_client_of_no_redis_url_says_so(kind: type[Client | AsyncClient]) -> None:
    with pytest.raises(SettingsError, match="redis_url is no redis://"):
        kind("foo")


def test_a_client_does_not_show_its_password() -> None:
    with Client("redis://:hunter2@127.0.0.1:1/0") as client:
        assert "hunter2" not in repr(vars(client))


def test_a_refused_connection_is_told_in_one_sentence_with_one_full_stop() -> None:
    with Client("redis://127.0.0.1:1/0") as client, pytest.raises(StoreUnavailable) as told:
        client.jobs()

    assert ".." not in str(told.value)
    assert ". Is it running" in str(told.value)


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("SET", ("key", True), redis.DataError),
        ("GET", (), redis.ResponseError),
        ("ZRANGE", ("key", "x", "y"), redis.ResponseError),
        ("ZRANGE", ("key", 0, 1, "WITHOUT"), redis.ResponseError),
    ],
)
def test_a_command_called_wrongly_is_our_defect_and_no_absent_store(
    store: Store, name: str, args: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        store.do(command(name, *args, read=str))


def test_a_call_whose_connection_was_cut_is_repeated_and_stored_once(client: Client, store: Store) -> None:
    client.enqueue(single("before"))
    store.client.client_kill_filter(_type="normal", skipme=True)

    client.enqueue(single("after"))

    assert [job.prompt for job in client.jobs()] == ["after", "before"]


async def test_a_thousand_calls_at_once_wait_for_a_connection(async_client: AsyncClient) -> None:
    jobs = await asyncio.gather(*(async_client.enqueue(single(str(n))) for n in range(1000)))

    assert len({job.id for job in jobs}) == 1000


def test_a_batch_outlives_scripts_that_were_flushed(client: Client, store: Store) -> None:
    store.client.script_flush()

    assert len(client.enqueue_many([single(str(n)) for n in range(20)])) == 20


def test_a_fault_of_the_data_is_no_store_that_is_away(client: Client, store: Store) -> None:
    store.client.set(store.keys.of("jobs", "1"), "not a list")

    with pytest.raises(StoreReplyError):
        client.enqueue(single())

    store.client.delete(store.keys.of("jobs", "1"))
