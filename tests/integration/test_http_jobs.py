"""The contract's reading side over HTTP: one job, the list of those that run, cancel."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from dispatcher.connection import Store
from dispatcher.jobs import Jobs
from dispatcher.models import Job, new_job_id
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from dispatcher.wire import job_body
from tests.support.api import CHANNEL, account_body, discord_token, registered_token
from tests.support.fleet import Fleet

JOBS = "/v1/pixverse/jobs"
MISSING = "20240610123456789ABC234"
MISSING_WIRE = f"job:{MISSING}-user:1-channel:{CHANNEL}-bot:pixverse"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    """User 1's pool, driven through the scripts."""
    return Fleet(store)


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(settings)


def wire(store: Store, jobs: Jobs, *ids: str) -> list[str]:
    return [store.do(jobs.get(job_id)).jobid for job_id in ids]


def accepted(store: Store, jobs: Jobs, **options: Any) -> Job:
    """Accept a job for an account of its own."""
    Fleet(store).put(CHANNEL, 3, secret=discord_token())
    request = CreateSingle(prompt="a calm sea", style="Anime", character="Keira", seed_value=0, aspect_ratio="9:16")
    return store.do(jobs.submit(request, Options(**options)))


# --- one job -----------------------------------------------------------------------------------------


async def test_a_job_is_read_by_either_form_of_its_id_raw_or_encoded_with_or_without_slash(
    api: httpx.AsyncClient, store: Store, jobs: Jobs
) -> None:
    job = accepted(store, jobs)

    forms = [job.jobid, quote(job.jobid, safe=""), job.id]
    answers = [await api.get(f"{path}?jobid={form}") for path in (JOBS, f"{JOBS}/") for form in forms]

    assert [answer.status_code for answer in answers] == [200] * 6
    assert all(answer.json() == job_body(job) for answer in answers)


async def test_a_job_shows_what_was_asked_for_and_code_200(api: httpx.AsyncClient, store: Store, jobs: Jobs) -> None:
    job = accepted(store, jobs, reply_url="https://example.com/hook?ind=3", reply_ref="ref-1")

    body = (await api.get(JOBS, params={"jobid": job.jobid})).json()

    asked = {"prompt": "a calm sea", "style": "Anime", "character": "Keira", "seed_value": 0, "aspect_ratio": "9:16"}
    told = {"verb": "pixverse-create_single", "channel": CHANNEL, "server": "10", "content": "", "code": 200}
    reply = {"replyUrl": "https://example.com/hook?ind=3", "replyRef": "ref-1"}
    assert body.items() >= {**asked, **told, **reply}.items()
    assert (body["buttons"], body["attachments"]) == ([], [])
    assert "error" not in body
    assert discord_token() not in json.dumps(body)


@pytest.mark.parametrize("status", ["completed", "failed", "moderated"])
async def test_an_ended_job_is_read_with_200_whatever_its_end(
    api: httpx.AsyncClient, fleet: Fleet, status: str
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    message = {"messageId": "9", "content": "done", "buttons": ["U1"], "attachments": []}
    why: dict[str, Any] = {} if status == "completed" else {"error": "Not allowed", "error_details": "says the bot"}
    fleet.settle("j1", status, message=json.dumps(message), **why)

    answer = await api.get(JOBS, params={"jobid": "j1"})

    body = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (200, status, 200)
    assert (body["content"], body["buttons"]) == ("done", ["U1"])
    assert (body.get("error"), body.get("errorDetails")) == (why.get("error"), why.get("error_details"))


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/cancel"])
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("job:missing", "job:missing"),
        (MISSING, MISSING),
        (MISSING_WIRE, MISSING_WIRE),
        (quote(MISSING_WIRE, safe=""), MISSING_WIRE),
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("%00", "\0"),
        ("%FF", "�"),
        ("*", "*"),
    ],
)
async def test_an_unknown_job_is_not_found_and_quoted_as_it_was_sent(
    api: httpx.AsyncClient, path: str, sent: str, shown: str
) -> None:
    answer = await api.get(f"{path}/?jobid={sent}")

    assert (answer.status_code, answer.json()) == (404, {"error": f"Unable to locate job {shown}", "code": 404})


async def test_an_api_token_in_place_of_an_id_is_not_told_again(api: httpx.AsyncClient, user_token: str) -> None:
    for sent in (user_token, f"job:{MISSING}-{user_token}", f"{MISSING_WIRE}-{user_token}"):
        answer = await api.get(JOBS, params={"jobid": sent})

        assert answer.status_code == 404
        assert user_token not in answer.text


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/cancel"])
async def test_another_users_job_is_not_found_and_stays_as_it_is(
    api: httpx.AsyncClient, store: Store, jobs: Jobs, path: str
) -> None:
    job = store.do(jobs.submit(CreateSingle(prompt="theirs", style="Anime"), Options(user=2)))

    answer = await api.get(path, params={"jobid": job.jobid})

    assert (answer.status_code, answer.json()["error"]) == (404, f"Unable to locate job {job.jobid}")
    assert store.do(jobs.get(job.id)).status == "created"


@pytest.mark.parametrize(
    "query",
    [
        f"{JOBS}?jobid=",
        f"{JOBS}/?jobid=",
        f"{JOBS}/?jobid",
        f"{JOBS}/cancel",
        f"{JOBS}/cancel/",
        f"{JOBS}/cancel?jobid=",
    ],
)
async def test_an_empty_job_id_is_refused_and_so_is_a_cancel_without_one(api: httpx.AsyncClient, query: str) -> None:
    answer = await api.get(query)

    assert (answer.status_code, answer.json()) == (400, {"error": "Query param jobid not provided", "code": 400})


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/cancel"])
async def test_while_the_store_learns_an_unknown_job_is_not_called_missing(
    api: httpx.AsyncClient, store: Store, jobs: Jobs, path: str
) -> None:
    job = accepted(store, jobs)
    store.client.set(store.keys.of("learning"), "the server changed", px=60_000)

    unknown = await api.get(path, params={"jobid": MISSING})
    known = await api.get(path, params={"jobid": job.id})
    listed = await api.get(JOBS)

    assert (unknown.status_code, unknown.json()["code"]) == (503, 503)
    assert 0 < int(unknown.headers["retry-after"]) <= 60
    assert (known.status_code, listed.status_code) == (200, 200)


# --- those that run ----------------------------------------------------------------------------------


async def test_listed_are_the_jobs_that_hold_a_slot_and_have_not_ended(
    api: httpx.AsyncClient, fleet: Fleet, store: Store, jobs: Jobs
) -> None:
    for state in ("R", "C", "S", "U", "A", "D", "F"):
        fleet.put(f"c{state}")
        fleet.bring(f"j{state}", state, channel=f"c{state}")
    fleet.bring("jP", "P", channel="cR")
    other = Fleet(store, user=2)
    other.put("c2")
    other.bring("theirs", "A")

    bare, slashed = await api.get(JOBS), await api.get(f"{JOBS}/")

    assert bare.status_code == slashed.status_code == 200
    assert sorted(bare.json()) == sorted(slashed.json()) == sorted(wire(store, jobs, "jR", "jC", "jS", "jU", "jA"))


async def test_nothing_runs_and_the_list_is_empty(api: httpx.AsyncClient) -> None:
    answer = await api.get(JOBS)

    assert (answer.status_code, answer.json()) == (200, [])


def test_a_lease_that_holds_no_slot_is_not_listed(fleet: Fleet, store: Store, jobs: Jobs) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    store.client.hset(store.keys.lease("j1"), "state", "K")

    assert carry_out(store, jobs.executing(user=1)) == []
    store.client.hset(store.keys.lease("j1"), "state", "A")


def test_wire_ids_are_read_in_order_and_an_expired_job_is_left_out(fleet: Fleet, store: Store, jobs: Jobs) -> None:
    fleet.put("c1", 5)
    fleet.submit("j1")
    fleet.submit("j2", pin="c1")

    found = carry_out(store, jobs.wire_ids(["j2", new_job_id(), "j1"]))

    assert (
        found
        == wire(store, jobs, "j2", "j1")
        == ["job:j2-user:1-channel:c1-bot:pixverse", "job:j1-user:1-channel:c1-bot:pixverse"]
    )
    assert carry_out(store, jobs.wire_ids([])) == []


# --- cancel ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{JOBS}/cancel", f"{JOBS}/cancel/"])
async def test_a_running_job_is_cancelled_at_once_and_leaves_the_list(
    api: httpx.AsyncClient, fleet: Fleet, store: Store, jobs: Jobs, path: str
) -> None:
    fleet.put("c1")
    job_id = new_job_id()
    fleet.bring(job_id, "A")
    [jobid] = wire(store, jobs, job_id)
    before = (await api.get(JOBS)).json()

    answer = await api.get(path, params={"jobid": jobid})

    assert (answer.status_code, answer.json()) == (200, {"jobid": jobid, "status": "cancelled", "code": 200})
    assert (before, (await api.get(JOBS)).json()) == ([jobid], [])
    assert (await api.get(JOBS, params={"jobid": jobid})).json()["status"] == "cancelled"
    assert fleet.used("c1") == [job_id]


@pytest.mark.parametrize("status", ["completed", "failed", "moderated"])
async def test_cancelling_an_ended_job_answers_with_its_status_unchanged(
    api: httpx.AsyncClient, fleet: Fleet, status: str
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.settle("j1", status)

    answer = await api.get(f"{JOBS}/cancel", params={"jobid": "j1"})

    assert (answer.status_code, answer.json()["status"], answer.json()["code"]) == (200, status, 200)


async def test_cancelling_twice_answers_the_same(api: httpx.AsyncClient, store: Store, jobs: Jobs) -> None:
    job = accepted(store, jobs)

    first, second = [await api.get(f"{JOBS}/cancel?jobid={job.jobid}") for _ in range(2)]

    assert first.json() == second.json() == {"jobid": job.jobid, "status": "cancelled", "code": 200}


async def test_each_user_sees_its_own_runs_only(
    stranger: httpx.AsyncClient, fleet: Fleet, store: Store, settings: Settings
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    theirs = {"Authorization": f"Bearer {registered_token(store, settings, user=2)}"}

    assert (await stranger.get(JOBS, headers=theirs)).json() == []


async def test_a_job_runs_on_an_account_that_was_registered_and_deleted_over_http(
    api: httpx.AsyncClient, store: Store, jobs: Jobs, fleet: Fleet
) -> None:
    await api.post(f"/v1/pixverse/account/{CHANNEL}", json=account_body())
    fleet.bring("j1", "A")

    await api.delete(f"/v1/pixverse/account/{CHANNEL}")

    assert (await api.get(JOBS)).json() == wire(store, jobs, "j1")
