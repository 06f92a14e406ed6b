"""`dispatcher job` on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.connection import Store
from dispatcher.models import Message
from dispatcher.settings import Settings
from tests.support.cli import Cli
from tests.support.images import jpeg


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


def test_a_job_with_a_file_keeps_it_in_the_state_directory(cli: Cli, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(jpeg())
    image, options = str(tmp_path / "cat.jpg"), ["--motion", "3", "--hd-quality", "Yes", "--seed", "7"]

    animated = cli("job", "submit", "it yawns", "--kind", "animate", "--image", image, *options, "--json").data
    meme = cli("job", "submit", "a hero", "--kind", "meme_face", "--face", image, "--json").data

    assert (settings.state_dir / "results" / animated["request"]["image"]["object"]).read_bytes() == jpeg()
    assert meme["request"]["face"] == animated["request"]["image"]
    assert {name: animated["request"][name] for name in ("prompt", "motion", "hd_quality", "seed_value")} == {
        "prompt": "it yawns",
        "motion": 3,
        "hd_quality": "Yes",
        "seed_value": 7,
    }


def test_a_button_is_pressed_by_what_is_written_on_it(cli: Cli, store: Store, completed_job: str) -> None:
    message = Message(messageId="13", buttons=("🔀",)).model_dump_json()
    store.client.hset(store.keys.job(completed_job), mapping={"channel": "5", "message": message})
    press = ["job", "submit", "--kind", "button", "--job", completed_job, "--button"]

    assert cli(*press, "ReDo").stderr.startswith("Button ReDo not supported or not found in job ")
    assert cli(*press, "🔀").code == 3  # nobody registered its channel


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "Required param prompt is missing or empty"),
        (["--kind", "animate"], "Required param image is missing or empty"),
        (["x", "--kind", "animate", "--image", "none.png"], "Param image cannot be read: none.png"),
        (["x", "--kind", "meme_face", "--face", "none.png"], "Param face cannot be read: none.png"),
        (["x", "--kind", "button"], "Required param jobid is missing or empty"),
        (["x", "--style", "Anime", "--kind", "meme_face"], "Required param face is missing or empty"),
    ],
)
def test_what_a_kind_of_job_needs_is_told_in_one_line(cli: Cli, options: list[str], problem: str) -> None:
    outcome = cli("job", "submit", *options)

    assert outcome.code == 2
    assert problem in outcome.stderr


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
