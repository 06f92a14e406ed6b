"""`dispatcher job` on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.connection import Store
from tests.support.cli import Cli


@pytest.fixture
def completed_job(cli: Cli, store: Store) -> str:
    """Id of a job whose record says that it is completed."""
    job_id = str(cli("job", "submit", "a calm sea", "--json").data["id"])
    store.client.hset(store.keys.job(job_id), "status", "completed")
    return job_id


def test_a_submitted_job_waits_for_an_account(cli: Cli) -> None:
    job = cli("job", "submit", "a calm sea", "--style", "Anime", "--seed", "7", "--priority", "5", "--json").data

    assert (job["status"], job["kind"], job["priority"]) == ("created", "create_single", 5)
    assert job["request"] == {"prompt": "a calm sea", "style": "Anime", "seed_value": 7}


def test_every_option_of_a_request_reaches_the_job(cli: Cli) -> None:
    options = ["--kind", "create", "--negative-prompt", "rain", "--aspect-ratio", "9:16", "--character", "fox"]

    job = cli("job", "submit", "a fox", *options, "--max-jobs", "2", "--reply-ref", "note", "--json").data

    assert job["kind"] == "create"
    assert job["request"] == {
        "prompt": "a fox",
        "style": "Realistic",
        "negative_prompt": "rain",
        "aspect_ratio": "9:16",
        "character": "fox",
        "maxJobs": 2,
    }
    assert job["replyRef"] == "note"


@pytest.mark.parametrize(
    "options",
    [
        ["--style", "Cubist"],
        ["--aspect-ratio", "7:5"],
        ["--seed", "-1"],
        ["--max-jobs", "11"],
        ["--priority", "101"],
        ["--deadline-s", "0"],
        ["--deadline-s", "nan"],
        ["--deadline-s", "inf"],
        ["--channel", ""],
        ["--reply-url", "nowhere"],
        ["--kind", "create", "--seed", "1"],
    ],
)
def test_bad_input_is_exit_2_and_stores_nothing(cli: Cli, options: list[str]) -> None:
    outcome = cli("job", "submit", "a calm sea", *options)

    assert outcome.code == 2
    assert outcome.stderr.count("\n") == 1
    assert cli("job", "list", "--json").data == []


def test_an_account_nobody_registered_is_exit_3(cli: Cli) -> None:
    assert cli("job", "submit", "a calm sea", "--channel", "1197013797467074001").code == 3


def test_a_repeated_command_with_a_key_submits_once(cli: Cli) -> None:
    first = cli("job", "submit", "a calm sea", "--idempotency-key", "k", "--json").data
    again = cli("job", "submit", "a calm sea", "--idempotency-key", "k", "--json").data

    assert again["id"] == first["id"]
    assert cli("job", "submit", "another", "--idempotency-key", "k").code == 4


def test_list_is_newest_first_in_pages(cli: Cli) -> None:
    ids = [cli("job", "submit", f"prompt {n}", "--json").data["id"] for n in range(4)]

    newest = cli("job", "list", "--limit", "2", "--json").data
    next_page = cli("job", "list", "--limit", "2", "--before", newest[-1]["id"], "--json").data

    assert [job["id"] for job in [*newest, *next_page]] == ids[::-1]


def test_list_by_status(cli: Cli) -> None:
    kept, cancelled = (cli("job", "submit", f"prompt {n}", "--json").data["id"] for n in range(2))
    cli("job", "cancel", cancelled)

    assert [job["id"] for job in cli("job", "list", "--status", "created", "--json").data] == [kept]
    assert [job["id"] for job in cli("job", "list", "--status", "cancelled", "--json").data] == [cancelled]


def test_tables_and_sentences_take_prompts_as_they_are(cli: Cli) -> None:
    prompt = "a [bold]sea[/nonsense] :smile: [[sim seconds=1]]"
    job_id = cli("job", "submit", prompt, "--json").data["id"]

    assert prompt in cli("job", "list").stdout
    assert prompt in cli("job", "show", job_id).stdout


def test_show_takes_either_form_of_an_id(cli: Cli) -> None:
    job = cli("job", "submit", "a calm sea", "--json").data

    assert cli("job", "show", job["jobid"], "--json").data == cli("job", "show", job["id"], "--json").data
    assert "accepted" in cli("job", "show", job["id"]).stdout


def test_wait_says_how_each_ended_and_is_exit_1_unless_all_completed(cli: Cli) -> None:
    job_id = cli("job", "submit", "a calm sea", "--json").data["id"]
    cli("job", "cancel", job_id)

    waited = cli("job", "wait", job_id)

    assert (waited.code, waited.stdout) == (1, f"{job_id} cancelled\n")
    assert [job["status"] for job in cli("job", "wait", job_id, "--json").data] == ["cancelled"]


def test_retry_submits_an_ended_job_again_and_refuses_one_that_goes_on(cli: Cli) -> None:
    job_id = cli("job", "submit", "a calm sea", "--json").data["id"]
    refused = cli("job", "retry", job_id)
    cli("job", "cancel", job_id)

    again = cli("job", "retry", job_id, "--json").data

    assert (refused.code, "expected a final one" in refused.stderr) == (4, True)
    assert (again["status"], again["retry_of"], again["prompt"]) == ("created", job_id, "a calm sea")
    assert cli("job", "retry", "20261122203000123ABCDEF").code == 3


def test_explain_says_why_a_job_waits(cli: Cli) -> None:
    job_id = cli("job", "submit", "a calm sea", "--json").data["id"]

    assert "It waits for any account, and none is registered." in cli("job", "explain", job_id).stdout
    assert cli("job", "explain", job_id, "--json").data["ahead"] == 0
    assert cli("job", "explain", "20261122203000123ABCDEF").code == 3


def test_only_a_completed_job_can_be_downloaded(cli: Cli, tmp_path: Path) -> None:
    job_id = cli("job", "submit", "a calm sea", "--json").data["id"]

    outcome = cli("job", "download", job_id, "--to", str(tmp_path / "videos"))

    assert outcome.code == 4
    assert "expected completed" in outcome.stderr


@pytest.mark.parametrize("kind", ["a file", "under a file"])
def test_a_folder_that_cannot_be_used_is_exit_2(cli: Cli, completed_job: str, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "videos"
    file.write_text("kept")

    outcome = cli("job", "download", completed_job, "--to", str(file if kind == "a file" else file / "more"))

    assert outcome.code == 2
    assert "cannot be used" in outcome.stderr
    assert "defect" not in outcome.stderr
    assert file.read_text() == "kept"


def test_a_redis_url_that_is_none_is_exit_2_and_keeps_the_password(cli: Cli) -> None:
    outcome = cli("job", "list", "--redis-url", "redis://:hunter2/x@127.0.0.1:6379/0")

    assert (outcome.code, outcome.stdout) == (2, "")
    assert "percent-encode the password" in outcome.stderr
    assert "hunter2" not in outcome.stderr


def test_users_see_their_own_jobs_alone(cli: Cli) -> None:
    job_id = cli("job", "submit", "a calm sea", "--json").data["id"]

    assert cli("job", "show", job_id, "--user", "2").code == 3
    assert cli("job", "cancel", job_id, "--user", "2").code == 3
    assert cli("job", "list", "--user", "2", "--json").data == []
