"""Jobs with files and presses of buttons, as the clients accept them: on a real server and a real folder."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher import (
    Animate,
    AsyncClient,
    Button,
    Client,
    CreateSingle,
    DuplicateJob,
    Job,
    JobNotFound,
    MemeFace,
    RequestInvalid,
    StorageUnavailable,
)
from dispatcher.connection import Call, Store
from dispatcher.models import Attachment, Message, Parent
from dispatcher.replies import entropy
from dispatcher.settings import Settings
from tests.support.images import jpeg, png

CHANNEL, OTHER = "1197013797467074001", "1197013797467074002"
MESSAGE = Message(
    messageId="1300000000000000000",
    attachments=(Attachment(id="77", filename="a.mp4", url="https://cdn/a.mp4"),),
    buttons=("🔀", "ReDo"),
)


@pytest.fixture
def client(store: Store, settings: Settings) -> Iterator[Client]:
    for channel in (CHANNEL, OTHER):
        account = ("1:discord", channel, "99", "sealed", "abc", f"digest-{channel}", 10, "v1", "")
        store.do(Call("account_put", (entropy(), 15_000, 1, *account), read=str))
    with Client(settings.redis_url, namespace=settings.namespace, state_dir=settings.state_dir) as opened:
        yield opened


def files(settings: Settings) -> list[Path]:
    return sorted(path for path in (settings.state_dir / "results").rglob("*") if path.is_file())


def everything_in(store: Store) -> str:
    """Every value of the namespace, as far as text goes."""
    return "".join(
        repr(store.client.dump(key)) for key in store.client.scan_iter(f"{store.keys.namespace}:*", count=1000)
    )


def complete(store: Store, job: Job, **fields: str) -> Job:
    """Make a record say that the job completed on the channel with a message and buttons."""
    done: dict[Any, Any] = {"status": "completed", "channel": CHANNEL, "message": MESSAGE.model_dump_json(), **fields}
    store.client.hset(store.keys.job(job.id), mapping=done)
    return job


@pytest.fixture
def parent(client: Client, store: Store) -> Job:
    """A completed job on CHANNEL."""
    return complete(store, client.enqueue(CreateSingle(prompt="a cat", style="Anime"), channel=CHANNEL))


def test_a_files_bytes_are_in_the_storage_and_never_in_redis(
    client: Client, store: Store, settings: Settings, tmp_path: Path
) -> None:
    content = jpeg("words that stand in no other place")
    (tmp_path / "cat").write_bytes(content)

    job = client.enqueue(Animate(image=tmp_path / "cat", prompt="it yawns"))

    [kept] = files(settings)
    assert kept.read_bytes() == content
    assert job.request["image"] == {
        "size": len(content),
        "type": "image/jpeg",
        "object": kept.relative_to(settings.state_dir / "results").as_posix(),
    }
    assert job.image is not None
    assert job.image.model_dump() == {"size": len(content), "type": "image/jpeg"}
    assert (job.kind, job.verb, job.prompt, job.face) == ("animate", "pixverse-animate", "it yawns", None)
    assert "no other place" not in everything_in(store)


def test_one_content_is_kept_once_for_whatever_jobs(client: Client, settings: Settings) -> None:
    animated, meme = client.enqueue_many([Animate(image=png()), MemeFace(face=png(), prompt="a hero")])

    assert len(files(settings)) == 1
    assert meme.face == animated.image


def test_a_file_that_is_too_large_is_refused_before_anything_is_stored(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client._jobs, "settings", settings.model_copy(update={"upload_max_bytes": 20}))
    requests = [Animate(image=png()), Animate(image=png("x" * 13))]

    with pytest.raises(RequestInvalid, match="image is too large: at most 20 bytes are taken"):
        client.enqueue_many(requests)

    assert client.jobs() == []
    assert files(settings) == []


def test_where_no_file_can_be_kept_no_job_is_accepted(client: Client, settings: Settings) -> None:
    settings.state_dir.mkdir(exist_ok=True)
    (settings.state_dir / "results").write_text("in the way")

    with pytest.raises(StorageUnavailable):
        client.enqueue(Animate(image=png()))

    assert client.jobs() == []


def test_the_same_key_with_the_same_file_is_the_same_job(client: Client) -> None:
    first = client.enqueue(Animate(image=png()), idempotency_key="k")

    assert client.enqueue(Animate(image=png()), idempotency_key="k").id == first.id
    with pytest.raises(DuplicateJob):
        client.enqueue(Animate(image=png("another")), idempotency_key="k")


def test_an_ended_job_with_a_file_is_enqueued_again_as_long_as_its_file_is_there(
    client: Client, settings: Settings
) -> None:
    ended = client.cancel(client.enqueue(Animate(image=png(), prompt="it yawns")).id)
    other = client.cancel(client.enqueue(Animate(image=png("removed"))).id)
    (settings.state_dir / "results" / other.request["image"]["object"]).unlink()

    again = client.retry(ended.id)

    assert again.request == ended.request
    with pytest.raises(StorageUnavailable, match="is not there"):
        client.retry(other.id)


def test_a_press_waits_for_the_channel_of_its_parent_and_shows_it(client: Client, parent: Job, store: Store) -> None:
    job = client.enqueue(Button(jobid=parent.id, button="ReDo"))

    assert (job.kind, job.verb, job.button, job.parentJobId) == ("button", "pixverse-button", "ReDo", parent.jobid)
    assert job.channel == CHANNEL
    assert store.client.hget(store.keys.job(job.id), "pin") == CHANNEL
    assert job.request == {"jobid": parent.jobid, "button": "ReDo"}
    assert job.parent == Parent(
        jobid=parent.jobid, messageId=MESSAGE.messageId, command="create_single", prompt="a cat", files=("77",)
    )


def test_a_press_below_a_press_keeps_the_first_command(client: Client, parent: Job, store: Store) -> None:
    first = complete(store, client.enqueue(Button(jobid=parent.id, button="ReDo")))

    second = client.enqueue(Button(jobid=first.jobid, button="🔀"))

    assert second.parent is not None
    assert (second.parentJobId, second.parent.command, second.parent.prompt) == (first.jobid, "create_single", "a cat")


def test_either_form_of_the_parents_id_is_the_same_request(client: Client, parent: Job) -> None:
    first = client.enqueue(Button(jobid=parent.id, button="ReDo"), idempotency_key="k")

    assert client.enqueue(Button(jobid=parent.jobid, button="ReDo"), idempotency_key="k").id == first.id


@pytest.mark.parametrize(
    ("fields", "options", "field", "message"),
    [
        ({"button": "redo"}, {}, "button", "Button redo not supported or not found in job {id} buttons array"),
        ({}, {"channel": OTHER}, "channel", f"channel {OTHER} is not that of job {{id}}, whose button is pressed"),
    ],
)
def test_a_press_that_its_parent_does_not_allow_is_refused(
    client: Client, parent: Job, fields: dict[str, str], options: dict[str, Any], field: str, message: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        client.enqueue(Button(**{"jobid": parent.id, "button": "ReDo", **fields}), **options)

    assert (refused.value.field, str(refused.value)) == (field, message.format(id=parent.jobid))
    assert len(client.jobs()) == 1


@pytest.mark.parametrize("status", ["created", "started", "progress", "failed", "moderated", "cancelled"])
def test_a_parent_that_is_not_completed_is_refused(client: Client, parent: Job, store: Store, status: str) -> None:
    complete(store, parent, status=status)

    with pytest.raises(RequestInvalid, match=f"Job {parent.jobid} status is {status}, expected completed"):
        client.enqueue(Button(jobid=parent.id, button="ReDo"))


def test_a_parent_of_another_user_or_of_nobody_is_not_found(client: Client, parent: Job, settings: Settings) -> None:
    with pytest.raises(JobNotFound):
        client.enqueue(Button(jobid="20261122203000123ABCDEF", button="ReDo"))
    with (
        Client(settings.redis_url, user=2, namespace=settings.namespace, state_dir=settings.state_dir) as stranger,
        pytest.raises(JobNotFound),
    ):
        stranger.enqueue(Button(jobid=parent.id, button="ReDo"))


def test_one_bad_press_of_many_stores_nothing(client: Client, parent: Job, settings: Settings) -> None:
    wanted = [Animate(image=png()), Button(jobid=parent.id, button="ReDo"), Button(jobid=parent.id, button="U1")]

    with pytest.raises(RequestInvalid):
        client.enqueue_many(wanted)

    assert len(client.jobs()) == 1
    assert files(settings) == []


def test_an_ended_press_is_pressed_again(client: Client, parent: Job) -> None:
    ended = client.cancel(client.enqueue(Button(jobid=parent.id, button="ReDo")).id)

    again = client.retry(ended.id)

    assert (again.retry_of, again.parent, again.request) == (ended.id, ended.parent, ended.request)


def test_the_asyncio_client_does_all_of_it_too(parent: Job, settings: Settings) -> None:
    async def enqueue() -> list[Job]:
        where: dict[str, Any] = {"namespace": settings.namespace, "state_dir": settings.state_dir}
        async with AsyncClient(settings.redis_url, **where) as opened:
            jobs = await opened.enqueue_many([MemeFace(face=png(), prompt="x"), Button(jobid=parent.id, button="ReDo")])
            return [*jobs, await opened.retry((await opened.cancel(jobs[0].id)).id)]

    meme, press, again = asyncio.run(enqueue())

    assert (meme.kind, press.parentJobId, again.request) == ("meme_face", parent.jobid, meme.request)
    assert len(files(settings)) == 1
    assert json.loads(meme.model_dump_json())["face"]["type"] == "image/png"
