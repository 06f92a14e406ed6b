"""Every sample of docs/http-api.md, extracted and run as it stands against a live server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.connection import Store
from tests.support.api import CHANNEL, NOT_FOUND, SERVER, discord_token
from tests.support.fleet import Fleet

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()
SAMPLE = re.compile(
    r"<!-- sample: (?P<name>\w+) (?P<tool>\w+) -->\n```(?P<language>\w+)\n(?P<text>.*?)\n```\n", re.DOTALL
)
SAMPLES = {(found["tool"], found["name"]): found["text"] for found in SAMPLE.finditer(PAGE)}
ANSWERS = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)]
PROGRAMS = {
    "curl": ["bash", "-euc"],
    "fetch": ["node", "--input-type=module", "--eval"],
    "requests": [sys.executable, "-c"],
}
JOB = "20240610123456789ABC234"
WIRE_JOB = f"job:{JOB}-user:1-channel:{CHANNEL}-bot:pixverse"
SHOWN = {"server": SERVER, "channel": CHANNEL, "discord": f"MTE…secured…{discord_token()[-3:]}", "maxJobs": 3}


class Shell:
    """Runs samples with the variables that the page names; an answer is its status and body."""

    def __init__(self, url: str, token: str, **variables: str) -> None:
        self.variables = {
            "DISPATCHER_URL": url,
            "API_TOKEN": token,
            "CHANNEL": CHANNEL,
            "SERVER": SERVER,
            "DISCORD": discord_token(),
            **variables,
        }

    def run(self, tool: str, name: str) -> tuple[int, str]:
        ran = subprocess.run(
            [*PROGRAMS[tool], SAMPLES[tool, name]],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NO_PROXY": "*", **self.variables},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        # curl writes the status last, the others first.
        parts = ran.stdout.strip().rpartition("\n")[::-1] if tool == "curl" else ran.stdout.strip().partition(" ")
        return int(parts[0]), parts[2].strip()


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


def test_the_health_sample_does_what_the_page_says(live_api: str) -> None:
    status, body = Shell(live_api, "").run("curl", "health")

    assert status == 200
    assert f"`{body}`" in PAGE


def test_each_endpoint_has_a_sample_for_each_tool_and_no_code_is_left_unrun() -> None:
    endpoints = ("post", "get", "list", "delete", "job", "jobs", "cancel", "you", "reply")

    assert SAMPLES.keys() == {(tool, name) for tool in PROGRAMS for name in endpoints} | {("curl", "health")}
    assert len(SAMPLES) == len(re.findall(r"```(?:bash|javascript|python)\n", PAGE))
