"""Submissions over HTTP: what is held, what is refused, and in whose words. The worker's part is played by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from dispatcher.connection import Store
from dispatcher.http.backend import Backend
from dispatcher.models import short_id
from dispatcher.settings import Settings
from tests.support.api import ACCOUNTS, CHANNEL, OTHER_CHANNEL, SERVER, account_body, discord_token, registered_token
from tests.support.desk import until
from tests.support.fleet import Fleet
from tests.support.images import jpeg, png

V1 = "/v1/pixverse"
FORM = "multipart/form-data"
ASKED = {"prompt": "a calm sea", "style": "Realistic"}
FULL = "API query is full and can not accept new pixverse/create requests"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


@pytest.fixture
def backend(app: FastAPI) -> Backend:
    found: Backend = app.state.backend
    return found


def waits(app: FastAPI, *, submit_wait_s: float, **changes: Any) -> None:
    """Change settings of the running application."""
    found: Backend = app.state.backend
    settings = found.settings.model_copy(update={"submit_wait_s": submit_wait_s, **changes})
    app.state.backend = Backend(
        **{name: getattr(found, name) for name in found.__slots__ if name != "settings"}, settings=settings
    )


@pytest.fixture
async def registered(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """A caller who has one account with one slot."""
    await api.post(f"{ACCOUNTS}/{CHANNEL}", json=account_body(maxJobs=1))
    return api


@pytest.fixture
async def other(app: FastAPI, store: Store, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A caller of user 2."""
    headers = {"Authorization": f"Bearer {registered_token(store, settings, user=2)}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://dispatcher.test", headers=headers) as client:
        yield client


async def held(caller: httpx.AsyncClient, fleet: Fleet, play: Callable[[str], Any], **sent: Any) -> httpx.Response:
    """Submit, have a worker play its part as soon as there is a lease, and return the answer."""
    asking = asyncio.create_task(caller.post(f"{V1}/create", json={**ASKED, **sent}))
    await until(lambda: fleet.listed("created"))
    (job,) = fleet.listed("created")
    play(job)
    return await asking


async def test_an_accepted_submission_is_answered_with_the_job(registered: httpx.AsyncClient, fleet: Fleet) -> None:
    def accept(job: str) -> None:
        fleet.claim(job)
        fleet.mark_submitting(job)
        fleet.mark_accepted(job, message=json.dumps({"messageId": "9", "content": "thinking"}))

    answer = await held(registered, fleet, accept, replyRef="ref")

    body = answer.json()
    assert (answer.status_code, body["status"], body["verb"], body["code"]) == (200, "started", "pixverse-create", 200)
    assert (body["messageId"], body["content"], body["replyRef"]) == ("9", "thinking", "ref")
    assert (body["channel"], body["server"], body["maxJobs"]) == (CHANNEL, SERVER, 1)
    assert discord_token() not in answer.text


async def test_a_full_account_answers_429_with_the_jobs_that_run(
    registered: httpx.AsyncClient, app: FastAPI, fleet: Fleet
) -> None:
    waits(app, submit_wait_s=0.01)
    first = await registered.post(f"{V1}/create", json=ASKED)

    second = await registered.post(f"{V1}/create", json=ASKED)

    assert second.status_code == 429
    assert second.json() == {"error": FULL, "executingJobs": [first.json()["jobid"]], "code": 429}
    assert int(second.headers["retry-after"]) >= 10
    assert len(fleet.listed("created")) == 1


async def test_a_submission_that_no_other_account_takes_is_answered_429_and_never_runs(
    registered: httpx.AsyncClient, fleet: Fleet
) -> None:
    def refuse(job: str) -> None:
        fleet.claim(job)
        fleet.handback(job, "busy", cool_ms=40_000)

    answer = await held(registered, fleet, refuse)

    assert (answer.status_code, answer.json()) == (429, {"error": FULL, "code": 429})
    assert int(answer.headers["retry-after"]) >= 40
    assert (fleet.pending(), fleet.listed("created")) == ([], [])


async def test_a_submission_whose_account_is_stopped_is_answered_503(
    registered: httpx.AsyncClient, fleet: Fleet
) -> None:
    def stop(job: str) -> None:
        fleet.claim(job)
        fleet.handback(job, "401: Unauthorized", disable="operator")

    answer = await held(registered, fleet, stop)

    assert answer.status_code == 503
    assert answer.json() == {"error": "No account can take jobs: 1 disabled (401: Unauthorized)", "code": 503}


async def test_a_moderated_submission_is_answered_422_and_can_be_read(
    registered: httpx.AsyncClient, fleet: Fleet
) -> None:
    def moderate(job: str) -> None:
        fleet.claim(job)
        fleet.settle(job, "moderated", error="not allowed")

    answer = await held(registered, fleet, moderate)

    body = answer.json()
    assert (answer.status_code, body["status"], body["error"], body["code"]) == (422, "moderated", "not allowed", 422)
    read = await registered.get(f"{V1}/jobs/?jobid={body['jobid']}")
    assert (read.status_code, read.json()["status"]) == (200, "moderated")


async def test_a_submission_that_is_accepted_only_to_be_moderated_is_answered_422(
    registered: httpx.AsyncClient, fleet: Fleet
) -> None:
    def moderate(job: str) -> None:
        fleet.claim(job)
        fleet.mark_submitting(job)
        fleet.mark_accepted(job)
        fleet.settle(job, "moderated", error="not allowed", known="A")

    answer = await held(registered, fleet, moderate)

    assert (answer.status_code, answer.json()["status"]) == (422, "moderated")


async def test_a_repeated_call_for_a_job_that_runs_is_answered_at_once(
    registered: httpx.AsyncClient, app: FastAPI, fleet: Fleet
) -> None:
    waits(app, submit_wait_s=0.01)
    key = {"Idempotency-Key": "k"}
    first = await registered.post(f"{V1}/create", json=ASKED, headers=key)
    job = short_id(first.json()["jobid"])
    fleet.claim(job)
    fleet.mark_submitting(job)
    fleet.mark_accepted(job)
    waits(app, submit_wait_s=600)

    async with asyncio.timeout(20):
        again = await registered.post(f"{V1}/create", json=ASKED, headers=key)

    assert (again.status_code, again.json()["jobid"]) == (200, first.json()["jobid"])


async def test_an_answer_that_was_given_is_kept(registered: httpx.AsyncClient, app: FastAPI, fleet: Fleet) -> None:
    waits(app, submit_wait_s=0.01)
    answer = await registered.post(f"{V1}/create", json=ASKED)
    job = short_id(answer.json()["jobid"])
    fleet.claim(job)

    fleet.handback(job, "busy", cool_ms=40_000)

    assert (answer.status_code, answer.json()["status"]) == (200, "started")
    assert (fleet.pending(), fleet.status(job)) == ([job], "created")


async def test_who_queues_is_answered_at_once_and_waits(registered: httpx.AsyncClient, fleet: Fleet) -> None:
    answers = [await registered.post(f"{V1}/create?queue=true", json=ASKED) for _ in range(3)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "created")] * 3
    assert len(fleet.pending()) == 2


async def test_by_setting_all_wait(registered: httpx.AsyncClient, app: FastAPI, fleet: Fleet) -> None:
    waits(app, submit_wait_s=0.01, when_full="wait")

    answers = [await registered.post(f"{V1}/create", json=ASKED) for _ in range(2)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "created")] * 2
    assert len(fleet.pending()) == 1


async def test_nobody_without_an_account_is_queued(api: httpx.AsyncClient) -> None:
    for path in ("create", "create?queue=true"):
        answer = await api.post(f"{V1}/{path}", json=ASKED)

        assert (answer.status_code, answer.json()["error"]) == (400, "Required param discord is missing or empty")


async def test_the_same_key_and_body_is_the_first_job_and_another_body_is_refused(
    registered: httpx.AsyncClient, app: FastAPI
) -> None:
    waits(app, submit_wait_s=0.01)
    key = {"Idempotency-Key": "k"}
    first = await registered.post(f"{V1}/create", json=ASKED, headers=key)

    again = await registered.post(f"{V1}/create", json=ASKED, headers=key)
    another = await registered.post(f"{V1}/create", json={**ASKED, "prompt": "a storm"}, headers=key)
    elsewhere = await registered.post(f"{V1}/create", json={**ASKED, "replyRef": "2"}, headers=key)

    assert again.json()["jobid"] == first.json()["jobid"]
    assert (another.status_code, elsewhere.status_code) == (409, 409)


async def test_while_the_store_learns_a_submission_is_told_to_come_back(
    registered: httpx.AsyncClient, fleet: Fleet
) -> None:
    fleet.store.client.set(fleet.key("learning"), "a test", px=20_000)

    answer = await registered.post(f"{V1}/create", json=ASKED)
    queued = await registered.post(f"{V1}/create?queue=true", json=ASKED)

    assert (answer.status_code, "executingJobs" in answer.json()) == (429, False)
    assert 1 <= int(answer.headers["retry-after"]) <= 20
    assert (queued.status_code, queued.json()["status"]) == (200, "created")


# --- bodies ------------------------------------------------------------------------------------------------------


async def test_a_file_is_known_by_its_content_and_kept_in_the_storage(
    registered: httpx.AsyncClient, backend: Backend, fleet: Fleet
) -> None:
    sent = {"image": ("/tmp/phpXXXXXX", jpeg(), "image/png")}  # noqa: S108 (as a client names it)

    answer = await registered.post(f"{V1}/animate?queue=true", files=sent, data={"prompt": "", "motion": "7"})

    body = answer.json()
    assert (answer.status_code, body["image"]) == (200, {"size": len(jpeg()), "type": "image/jpeg"})
    assert (body["motion"], "prompt" in body) == (7, False)
    record = fleet.record(short_id(body["jobid"]))
    stored = json.loads(record["request"])["image"]["object"]
    assert (backend.settings.state_dir / "results" / stored).read_bytes() == jpeg()


@pytest.mark.parametrize(
    ("sent", "status", "error"),
    [
        ({"json": {"image": "https://example.org/a.png"}}, 400, "Required param image is missing or empty"),
        ({"data": {"image": "a.png"}, "files": {"x": b""}}, 400, "Required param image is missing or empty"),
        ({"files": {"image": b""}}, 400, "Required param image is missing or empty"),
        (
            {"files": {"image": b"GIF89a"}},
            400,
            "Param image is neither a png nor a jpeg file, which its first bytes would say",
        ),
        ({"files": {"image": png() + bytes(2000)}}, 400, "image is too large: at most 1000 bytes are taken"),
        ({"files": {"image": png() + bytes(100_000)}}, 413, "Request body is larger than 66536 bytes"),
        ({"files": {"image": png()}, "data": {"motion": "11"}}, 400, "Param motion value 11 is not supported"),
        ({"content": b"x", "headers": {"Content-Type": "text/plain"}}, 415, None),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, None),
        (
            {"content": b"--b--", "headers": {"Content-Type": "multipart/form-data; boundary=b; charset=undefined"}},
            415,
            None,
        ),
    ],
)
async def test_what_is_no_animation_is_refused_and_nothing_is_stored(
    registered: httpx.AsyncClient, app: FastAPI, fleet: Fleet, sent: dict[str, Any], status: int, error: str | None
) -> None:
    waits(app, submit_wait_s=0.01, upload_max_bytes=1000)

    answer = await registered.post(f"{V1}/animate", **sent)

    assert (answer.status_code, answer.json()["code"]) == (status, status)
    assert error in (None, answer.json()["error"])
    assert fleet.listed("created") == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"prompt": ""}, "Required param prompt is missing or empty"),
        ({"prompt": "x" * 513}, "prompt is too long"),
        ({"prompt": 5}, "Param prompt value 5 is not supported"),
        ({"style": "Noir"}, "Param style value Noir is not supported"),
        ({"maxJobs": "2.5"}, "Required param maxJobs is missing or empty"),
        ({"maxJobs": 11}, "Required param maxJobs 11 can't be more that 10"),
        (
            {"channel": 1197013797467074673},
            "Required param channel (1197013797467074673) is not valid Discord channel id",
        ),
        ({"channel": OTHER_CHANNEL}, "Required param discord is missing or empty"),
        ({"discord": "a-token"}, "Required param server is missing or empty"),
        ({"replyUrl": f"http://listener/{'x' * 1024}"}, "replyUrl is too long"),
        ({"replyRef": "x" * 1025}, "replyRef is too long"),
        ({"replyUrl": "ftp://listener"}, "Param replyUrl value ftp://listener is not supported"),
    ],
)
async def test_the_first_rule_that_fails_is_told_in_the_contracts_words(
    registered: httpx.AsyncClient, fleet: Fleet, changes: dict[str, Any], error: str
) -> None:
    answer = await registered.post(f"{V1}/create", json={**ASKED, **changes})

    assert (answer.status_code, answer.json()) == (400, {"error": error, "code": 400})
    assert fleet.listed("created") == []


async def test_fields_that_are_unknown_or_empty_are_ignored(registered: httpx.AsyncClient) -> None:
    fields = {**ASKED, "discord": "", "server": "", "channel": "", "maxJobs": "", "motion": "5", "negative_prompt": ""}

    answer = await registered.post(
        f"{V1}/create?queue=true", files={name: (None, value) for name, value in fields.items()}
    )

    assert (answer.status_code, "motion" in answer.json(), "negative_prompt" in answer.json()) == (200, False, False)


# --- tokens of their own -----------------------------------------------------------------------------------------


async def test_a_job_may_come_with_an_account_of_its_own(api: httpx.AsyncClient, fleet: Fleet) -> None:
    inline = {"discord": discord_token("Q"), "server": SERVER, "channel": OTHER_CHANNEL, "maxJobs": "2"}

    answer = await api.post(f"{V1}/create?queue=true", json={**ASKED, **inline})

    body = answer.json()
    assert (answer.status_code, body["channel"], body["server"], body["maxJobs"]) == (200, OTHER_CHANNEL, SERVER, 2)
    assert body["discord"] == f"MTE…secured…{discord_token('Q')[-3:]}"
    assert fleet.used(OTHER_CHANNEL) == [short_id(body["jobid"])]
    assert (await api.get(ACCOUNTS)).status_code == 404


async def test_a_channel_of_another_user_takes_no_job(registered: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    inline = {"discord": discord_token("Q"), "server": SERVER, "channel": CHANNEL}

    answer = await other.post(f"{V1}/create", json={**ASKED, **inline})

    assert (answer.status_code, answer.json()["error"]) == (400, f"Channel {CHANNEL} is registered by another user")
