"""Callbacks of the real programs: told once, signed, and not lost with a service that is killed."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from bench.hook import Hook, answers, in_turn
from dispatcher import Client
from dispatcher.connection import Store, open_store
from dispatcher.wire import job_body
from tests.support.up import DEMO, Up, until

CHANNEL = "1197013797467074001"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CALLBACKS = {"DISPATCHER_CALLBACK_ALLOWED_NETWORKS": '["127.0.0.1/32"]', "DISPATCHER_CALLBACK_SECRET": SECRET}
PAST_MS = 1000

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds other processes through /proc")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up") / "state", "--port", "0", "--simulator", **DEMO, **CALLBACKS) as running:
        running.register(CHANNEL, max_jobs=5)
        yield running


@pytest.fixture
def store(up: Up) -> Iterator[Store]:
    opened = open_store(up.ready()["redis_url"], "{pxd}")
    yield opened
    opened.close()


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as listening:
        yield listening


def submit(up: Up, prompt: str, hook: Hook) -> str:
    """Submit a job that takes half a second; its id."""
    words = ("job", "submit", f"{prompt} [[sim seconds=0.5]]", "--reply-url", f"{hook.url}/hook?ind=3", "--json")
    job_id: str = json.loads(up.run(*words).stdout)["id"]
    return job_id


def kill_service(up: Up) -> int:
    """SIGKILL `dispatcher run`; its pid."""
    pid = up.child("dispatcher run")
    os.kill(pid, signal.SIGKILL)
    return pid


def service_is_back(up: Up, killed: int) -> bool:
    return up.child("dispatcher run") not in (0, killed)


def left(store: Store, job_id: str) -> dict[str, str]:
    """What the outbox keeps of a job's callback."""
    kept: dict[str, str] = store.client.hgetall(store.keys.of("callback", job_id))  # type: ignore[assignment]  # decoded
    return kept


def test_a_completed_job_is_told_once_signed_and_as_it_is_read(up: Up, store: Store, hook: Hook) -> None:
    job_id = submit(up, "is told", hook)

    until(lambda: hook.heard and not left(store, job_id), "the callback")

    (heard,) = hook.heard
    body = Webhook(SECRET).verify(heard.body, heard.headers)
    with Client(state_dir=up.state_dir) as client:
        assert body == json.loads(json.dumps(job_body(client.get(job_id))))
    assert (body["status"], body["code"], len(body["attachments"])) == ("completed", 200, 1)
    assert (heard.id, heard.path) == (f"{job_id}-final", "/hook?ind=3")


def test_a_service_killed_while_the_listener_is_dead_loses_no_callback(up: Up, store: Store, hook: Hook) -> None:
    hook.dies()
    job_id = submit(up, "is told late", hook)
    until(lambda: left(store, job_id).get("attempts", "0") != "0", "an attempt that nobody heard")

    killed = kill_service(up)
    hook.comes_back()

    until(lambda: hook.heard and not left(store, job_id), "the callback")
    assert service_is_back(up, killed)
    assert hook.ids == [f"{job_id}-final"]


def test_a_service_killed_in_the_call_leaves_it_to_be_made_again_under_the_same_id(
    up: Up, store: Store, hook: Hook
) -> None:
    hook.answer = in_turn(hook.hangs, answers(200))
    job_id = submit(up, "is told twice", hook)
    until(lambda: hook.heard, "the first call")

    killed = kill_service(up)
    until(lambda: service_is_back(up, killed), "another service")
    assert left(store, job_id)["attempts"] == "0"
    store.client.zadd(store.keys.of("callbacks"), {job_id: PAST_MS}, xx=True)  # the minute passes

    until(lambda: not left(store, job_id), "the second call")
    assert hook.ids == [f"{job_id}-final"] * 2
    assert hook.heard[0].body == hook.heard[1].body


def test_a_dead_letter_is_listed_and_replayed(up: Up, store: Store, hook: Hook) -> None:
    words = (
        "job",
        "submit",
        "nobody may be told [[sim seconds=0.5]]",
        "--reply-url",
        "http://169.254.169.254/",
        "--json",
    )
    job_id = json.loads(up.run(*words).stdout)["id"]

    until(lambda: json.loads(up.run("callback", "list", "--dead", "--json").stdout), "a dead letter")
    (dead,) = json.loads(up.run("callback", "list", "--dead", "--json").stdout)
    store.client.hset(store.keys.job(job_id), "reply_url", hook.url)  # as if the address had become another's
    replayed = up.run("callback", "replay", job_id)

    assert (dead["job_id"], dead["error"].startswith("refused: 169.254.169.254")) == (job_id, True)
    assert replayed.returncode == 0
    until(lambda: hook.heard, "the callback")
    assert up.run("callback", "list", "--dead", "--json").stdout == "[]\n"
