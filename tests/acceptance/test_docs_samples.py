"""Every sample of docs/http-api.md, extracted and run as it stands against a live server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import Client, Create
from dispatcher.connection import Store
from tests.support.api import CHANNEL, NOT_FOUND, SERVER, discord_token
from tests.support.fleet import Fleet
from tests.support.images import png
from tests.support.samples import ANSWERS, PAGE, PROGRAMS, SAMPLES, Shell
from tests.support.up import DEMO, Up

SUBMITS = ("create", "create_single", "animate", "meme_face", "button")
JOB = "20240610123456789ABC234"
WIRE_JOB = f"job:{JOB}-user:1-channel:{CHANNEL}-bot:pixverse"
SHOWN = {"server": SERVER, "channel": CHANNEL, "discord": f"MTE…secured…{discord_token()[-3:]}", "maxJobs": 3}


@pytest.mark.parametrize("tool", PROGRAMS)
def test_the_samples_do_what_the_page_says(tool: str, live_api: str, user_token: str) -> None:
    shell = Shell(live_api, user_token)

    created = shell.run(tool, "post")
    status, shown = shell.run(tool, "get")
    list_status, listed = shell.run(tool, "list")
    removed = shell.run(tool, "delete")
    gone_status, gone = shell.run(tool, "get")

    assert (created, removed) == ((204, ""), (204, ""))
    assert (status, json.loads(shown)) == (200, SHOWN)
    assert (list_status, json.loads(listed)) == (200, {CHANNEL: SHOWN})
    assert (gone_status, json.loads(gone)) == (404, NOT_FOUND)


@pytest.mark.parametrize("tool", PROGRAMS)
def test_the_samples_read_a_job_list_it_and_cancel_it(tool: str, live_api: str, user_token: str, store: Store) -> None:
    fleet = Fleet(store)
    fleet.put(CHANNEL)
    fleet.bring(JOB, "A")
    shell = Shell(live_api, user_token, JOB=WIRE_JOB)

    status, job = shell.run(tool, "job")
    list_status, listed = shell.run(tool, "jobs")
    cancel_status, cancelled = shell.run(tool, "cancel")

    assert (status, json.loads(job)["jobid"], json.loads(job)["status"]) == (200, WIRE_JOB, "started")
    assert (list_status, json.loads(listed)) == (200, [WIRE_JOB])
    assert (cancel_status, json.loads(cancelled)) == (200, {"jobid": WIRE_JOB, "status": "cancelled", "code": 200})
    assert json.loads(listed) in ANSWERS
    assert json.loads(cancelled) in ANSWERS


@pytest.mark.parametrize("tool", PROGRAMS)
def test_the_samples_tell_who_one_is_and_set_the_default_reply_url(tool: str, live_api: str, user_token: str) -> None:
    shell = Shell(live_api, user_token)

    set_status, told = shell.run(tool, "reply")
    status, read = shell.run(tool, "you")

    assert (set_status, status) == (200, 200)
    assert json.loads(told) == json.loads(read)
    assert {**json.loads(read), "created": "2024-06-10T12:34:56.789Z"} in ANSWERS


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """The whole service with the simulator, and an account."""
    folder = tmp_path_factory.mktemp("samples")
    with Up(folder / "state", "--port", "0", "--simulator", **DEMO) as running:
        running.register(CHANNEL, max_jobs=10)
        yield running


@pytest.fixture(scope="module")
def completed(up: Up) -> str:
    """A completed job with a row of buttons, by its id on the wire."""
    with Client(up.ready()["redis_url"], state_dir=up.state_dir) as client:
        job = client.enqueue(Create(prompt="before the sample [[sim seconds=0.1]]", style="Anime"))
        return client.wait(job.id, timeout_s=60).jobid


@pytest.mark.parametrize("tool", PROGRAMS)
@pytest.mark.parametrize("verb", SUBMITS)
def test_the_samples_submit_jobs(tool: str, verb: str, up: Up, completed: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png(f"{tool} {verb}"))
    shell = Shell(up.ready()["url"], up.token(), JOB=completed, PICTURE=str(picture))

    status, body = shell.run(tool, verb)

    assert (status, json.loads(body).get("verb")) == (200, f"pixverse-{verb}")
    assert json.loads(body)["status"] in ("started", "progress", "completed")


def test_the_health_sample_does_what_the_page_says(live_api: str) -> None:
    status, body = Shell(live_api, "").run("curl", "health")

    assert status == 200
    assert f"`{body}`" in PAGE


def test_each_endpoint_has_a_sample_for_each_tool_and_no_code_is_left_unrun() -> None:
    endpoints = ("post", "get", "list", "delete", "job", "jobs", "cancel", "you", "reply", *SUBMITS)

    assert SAMPLES.keys() == {(tool, name) for tool in PROGRAMS for name in endpoints} | {("curl", "health")}
    assert len(SAMPLES) == len(re.findall(r"```(?:bash|javascript|python)\n", PAGE))
