"""Another upstream is one module of its own distribution: its accounts, jobs, checks and retries work as Discord's."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher.errors import RequestInvalid
from dispatcher.options import check_request
from dispatcher.requests import Request, request_type
from tests.support import echo
from tests.support.up import PATIENCE_S, Up, until

SAID = """
import sys
from dispatcher import Client
from echo_upstream import Say

with Client(state_dir=sys.argv[1]) as client:
    jobs = client.enqueue_many([Say(text=f"text {n}") for n in range(int(sys.argv[2]))])
    for job in client.wait_many([job.id for job in jobs], timeout_s=30):
        print(job.status, job.jobid, job.verb, job.channel, job.content, sep="|")
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the distribution is installed."""
    folder = tmp_path_factory.mktemp("site")
    about = folder / "echo_upstream-1.0.dist-info"
    about.mkdir()
    shutil.copy(Path(next(iter(echo.__path__))) / "echo_upstream.py", folder)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: echo-upstream\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[dispatcher.upstreams]\necho = echo_upstream:Echo\n[dispatcher.requests]\nsay = echo_upstream:Say\n"
    )
    return folder


@pytest.fixture(scope="module")
def up(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up") / "state", "--port", "0", PYTHONPATH=str(site)) as running:
        running.ready()
        yield running


@pytest.fixture
def box(up: Up) -> Iterator[str]:
    """The name of the only account."""
    yield "box-1"
    account(up, "remove", "box-1")


def account(up: Up, *words: str, secret: str = "") -> subprocess.CompletedProcess[str]:
    return up.run("account", *words, "--upstream", "echo", stdin=secret)


def say(up: Up, count: int) -> list[list[str]]:
    line = [sys.executable, "-c", SAID, str(up.state_dir), str(count)]
    ran = subprocess.run(line, env=up.environment, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    assert ran.returncode == 0, ran.stderr
    return [said.split("|") for said in ran.stdout.splitlines()]


def test_its_accounts_take_its_jobs_and_no_others(up: Up, box: str) -> None:
    up.register("1197013797467074001")
    added = account(up, "add", box, "--max-jobs", "2", "--json", secret="a-key")
    assert added.returncode == 0, added.stderr
    assert "a-key" not in added.stdout

    said = say(up, 5)

    assert [(row[0], *row[2:]) for row in said] == [
        ("completed", "echo-say", box, f"text {number}") for number in range(5)
    ]
    job_id = said[0][1]
    assert job_id.endswith("-bot:echo")
    assert json.loads(up.run("job", "show", job_id, "--json").stdout)["jobid"] == job_id
    (listed,) = json.loads(account(up, "list", "--json").stdout)
    assert (listed["channel"], listed["submittedToday"], listed["used"]) == (box, 5, 0)
    retried = up.run("job", "retry", job_id, "--json")
    assert retried.returncode == 0, retried.stderr
    again = up.run("job", "wait", json.loads(retried.stdout)["id"], "--json")
    (ended,) = json.loads(again.stdout)
    assert ended["content"] == "text 0"


def test_what_it_refuses_is_stopped_and_comes_back_with_another_secret(up: Up, box: str) -> None:
    account(up, "add", box, secret="refused")
    checked = account(up, "check", box, "--json")

    assert json.loads(checked.stdout)["finding"] == "rejected"
    until(lambda: state_of(up, box) == "disabled", "disabled by the check")

    account(up, "add", box, secret="another-key")
    assert state_of(up, box) == "active"
    assert [row[0] for row in say(up, 3)] == ["completed"] * 3


def state_of(up: Up, box: str) -> str:
    return str(json.loads(account(up, "show", box, "--json").stdout)["state"])


@pytest.mark.parametrize(
    ("words", "secret", "told"),
    [
        (("add", "box 1"), "a-key", "Account name box 1 is not"),
        (("add", "box-2"), "schlüssel", "Param secret value is not supported"),
        (("add", "box-2", "--max-jobs", "11"), "a-key", "maxJobs 11"),
    ],
)
def test_a_wrong_account_is_refused(up: Up, words: tuple[str, ...], secret: str, told: str) -> None:
    refused = account(up, *words, secret=secret)

    assert refused.returncode == 2
    assert told in refused.stderr


def test_a_request_that_nothing_declares_is_refused() -> None:
    class Own(Request):
        """Of Discord, by no right."""

        kind = "own"

    with pytest.raises(RequestInvalid, match="Own is not a request"):
        check_request(Own(), upload_max_bytes=1)
    with pytest.raises(RequestInvalid, match="say of echo is declared by nothing"):
        request_type("echo", "say")
    with pytest.raises(RequestInvalid, match="kind 'No name' is not a name"):

        class Unnamed(Request):
            """Its kind could not be a part of a key."""

            kind = "No name"
