"""What each directive makes of a submission."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.support.player import NO_TLS, SERVER_ID, Player, custom_ids_of, oracle_of, wait_for

if TYPE_CHECKING:
    pass

CLOCK_GRAIN_MS = 5  # timers run on another clock than the oracle's, and in whole milliseconds


def test_an_interaction_is_answered_204_without_a_body(player: Player) -> None:
    answer = player.create("a cat [[sim seconds=0]]")

    assert (answer.status_code, answer.content) == (204, b"")


def test_the_first_message_is_loading_and_is_edited_under_its_id(player: Player) -> None:
    player.create("a cat [[sim ack=0 seconds=0.6]]")

    loading = wait_for(lambda: next(iter(player.messages()), None))
    player.finished_job()
    [final] = player.messages()

    assert (loading["flags"], loading["type"], loading["content"], loading["edited_timestamp"]) == (128, 20, "", None)
    assert (final["id"], final["flags"], final["timestamp"]) == (loading["id"], 0, loading["timestamp"])
    assert final["edited_timestamp"] > final["timestamp"]


def test_a_message_names_the_interaction_its_command_and_its_user(player: Player) -> None:
    job = player.play("seconds=0")

    [message] = player.messages()
    metadata = message["interaction_metadata"]
    me = player.get("/users/@me")["id"]

    assert (metadata["id"], metadata["type"], metadata["name"]) == (job["reference"], 2, "create_single")
    assert metadata["user"]["id"] == message["mentions"][0]["id"] == me
    assert metadata["authorizing_integration_owners"] == {"0": SERVER_ID}
    assert message["author"]["bot"] is True
    assert message["author"]["id"] == message["application_id"] == player.application_id
    assert "nonce" not in message


def test_the_final_text_repeats_the_request(player: Player) -> None:
    player.play("seconds=0")

    me = f"<@{player.get('/users/@me')['id']}>"
    expected = f"{me} (prompt: a cat [[sim seconds=0]] style: Realistic aspect-ratio: 16:9) Author: {me})"

    assert player.messages()[0]["content"] == expected


@pytest.mark.parametrize(
    ("name", "files", "labels"),
    [
        ("create", 4, ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "ReDo"]),
        ("create_single", 1, ["🔀", "ReDo"]),
    ],
)
def test_a_completed_job_has_its_videos_and_buttons(player: Player, name: str, files: int, labels: list[str]) -> None:
    job = player.play("seconds=0", name)

    [message] = player.messages()

    assert list(custom_ids_of(message)) == labels
    assert len(message["attachments"]) == len(job["files"]) == files
    assert job["outcome"] == "completed"


def test_progress_is_edited_in_evenly_and_under_one_id(player: Player) -> None:
    player.create("a cat [[sim ack=0 seconds=1.2 progress=2]]")

    seen: dict[str, set[str]] = {}

    def is_final() -> bool | None:
        page = player.messages()
        for message in page:
            seen.setdefault(message["id"], set()).add(message["content"].rpartition(" ")[2])
        return any(message["attachments"] for message in page) or None

    wait_for(is_final)

    assert len(seen) == 1
    assert {"(33%)", "(66%)"} < seen.popitem()[1]


def test_without_loading_the_first_message_says_that_the_job_waits(player: Player) -> None:
    player.create("a cat [[sim loading=no ack=0 seconds=60]]")

    [message] = wait_for(lambda: player.messages() or None)

    assert message["flags"] == 0
    assert message["content"].endswith("(Waiting to start)")


def test_a_followup_is_a_new_message_of_the_same_interaction(player: Player) -> None:
    job = player.play("result=followup seconds=0")

    final, original = player.messages()

    assert final["interaction_metadata"]["id"] == original["interaction_metadata"]["id"] == job["reference"]
    assert final["interaction_metadata"]["original_response_message_id"] == original["id"]
    assert final["message_reference"]["message_id"] == original["id"]
    assert (final["type"], original["type"], original["flags"]) == (19, 20, 0)
    assert (len(final["attachments"]), len(original["attachments"])) == (1, 0)
    assert original["content"].endswith("(100%)")


def test_a_plain_result_does_not_name_the_interaction(player: Player) -> None:
    player.play("result=message seconds=0")

    final, original = player.messages()

    assert final["type"] == 0
    assert not {"interaction_metadata", "interaction", "message_reference", "application_id"} & final.keys()
    assert final["attachments"]
    assert "a cat" in final["content"]
    assert original["content"].endswith("(100%)")


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
def test_a_failure_is_said_in_the_final_message(player: Player, result: str) -> None:
    job = player.play(f"outcome=failed result={result} seconds=0")

    message = player.messages()[0]

    assert (job["outcome"], job["files"]) == ("failed", [])
    assert message["content"].endswith("Generation failed. Please try again later.")
    assert not message["attachments"] + message["components"]


def test_moderation_is_the_first_message(player: Player) -> None:
    job = player.play("outcome=moderated ack=0")

    [message] = player.messages()

    assert job["outcome"] == "moderated"
    assert "moderation" in message["content"]
    assert (message["edited_timestamp"], message["flags"], message["type"]) == (None, 0, 20)


@pytest.mark.parametrize("written", ["loading=yes ack=0 seconds=0.5", "seconds=0.5 ack=0"])
def test_moderation_comes_at_the_end_where_that_is_written(player: Player, written: str) -> None:
    player.create(f"a cat [[sim outcome=moderated {written}]]")

    [loading] = wait_for(lambda: player.messages() or None)
    player.finished_job()
    [final] = player.messages()

    assert loading["flags"] == 128
    assert (final["id"], final["flags"]) == (loading["id"], 0)
    assert "moderation" in final["content"]


@pytest.mark.parametrize("outcome", ["silent", "ephemeral"])
def test_an_unseen_outcome_leaves_the_channel_empty_and_runs_for_its_seconds(player: Player, outcome: str) -> None:
    job = player.play(f"outcome={outcome} seconds=0.2")

    assert player.messages() == []
    assert job["outcome"] == outcome
    assert job["finished_ms"] - job["submitted_ms"] >= 200 - CLOCK_GRAIN_MS


def test_a_deleted_message_is_gone_from_the_list(player: Player) -> None:
    player.create("a cat [[sim outcome=deleted ack=0 seconds=0.5]]")

    wait_for(lambda: player.messages() or None)
    job = player.finished_job()

    assert job["outcome"] == "deleted"
    assert player.messages() == []


@pytest.mark.parametrize(
    ("submit", "status", "kind"),
    [
        ("429", 429, "429"),
        ("401", 401, "401"),
        ("403", 403, "403"),
        ("captcha", 400, "captcha"),
        ("500-before-accept", 500, "500"),
        ("invalid-version", 400, "invalid-version"),
    ],
)
def test_a_refused_submission_runs_nothing(player: Player, submit: str, status: int, kind: str) -> None:
    answer = player.create(f"a cat [[sim submit={submit}]]")

    assert answer.status_code == status
    assert player.account()["refused"] == {kind: 1}
    assert (player.account()["accepted"], player.jobs()) == (0, [])


def test_a_rate_limit_tells_users_a_time_but_no_buckets(player: Player) -> None:
    answer = player.create("a cat [[sim submit=429 retry_after=1.25]]")

    assert answer.json() == {
        "message": "You are being rate limited.",
        "retry_after": 1.25,
        "global": False,
        "code": 0,
    }
    assert (answer.headers["retry-after"], answer.headers["x-ratelimit-scope"]) == ("2", "user")
    assert "x-ratelimit-remaining" not in answer.headers


def test_a_captcha_is_known_by_its_key(player: Player) -> None:
    answer = player.create("a cat [[sim submit=captcha]]")

    assert answer.json()["captcha_key"] == ["captcha-required"]
    assert "code" not in answer.json()


def test_a_500_after_acceptance_hides_a_job_that_runs(player: Player) -> None:
    answer = player.create("a cat [[sim submit=500-after-accept seconds=0]]")

    assert answer.status_code == 500
    assert player.finished_job()["outcome"] == "completed"
    assert player.account()["refused"] == {}


def test_a_hanging_answer_hides_a_job_that_runs(player: Player) -> None:
    interaction = player.interaction(
        "create_single", {"prompt": "a cat [[sim submit=hang-after-accept seconds=0]]", "style": "Realistic"}
    )

    with pytest.raises(httpx.ReadTimeout):
        player.http.post("/interactions", json=interaction, timeout=0.2)

    assert player.finished_job()["outcome"] == "completed"


def test_a_rewritten_prompt_differs_in_spacing_and_dashes_only(player: Player) -> None:
    player.create("a  cat \u2014 asleep [[sim rewrite=yes seconds=0]]")
    job = player.finished_job()

    assert "prompt: a  cat  --  asleep  [[sim  rewrite=yes" in player.messages()[0]["content"]
    assert job["prompt"] == "a  cat \u2014 asleep [[sim rewrite=yes seconds=0]]"


def test_a_pressed_button_answers_with_a_new_message_that_refers_to_the_old(player: Player) -> None:
    player.play("seconds=0", "create")
    [parent] = player.messages()

    assert player.send(player.press_of(parent, "V2")).status_code == 204
    job = wait_for(lambda: next((job for job in player.jobs()[1:] if job["finished_ms"]), None))
    child = player.messages()[0]

    assert (job["command"], job["prompt"]) == ("button:V2", "a cat [[sim seconds=0]]")
    assert child["interaction_metadata"]["interacted_message_id"] == parent["id"]
    assert (child["interaction_metadata"]["type"], child["interaction_metadata"]["id"]) == (3, job["reference"])
    assert child["message_reference"]["message_id"] == parent["id"]
    assert (len(child["attachments"]), list(custom_ids_of(child))) == (1, ["🔀", "ReDo"])


def test_a_button_that_opens_a_modal_runs_nothing_and_says_nothing(player: Player) -> None:
    player.play("seconds=0 modal=yes", "create")
    [parent] = player.messages()

    answer = player.send(player.press_of(parent, "V1"))

    assert answer.status_code == 204
    assert player.finished_job()["outcome"] == "modal"
    assert player.account()["running"] == 0
    assert len(player.messages()) == 1


def test_a_waiting_directive_goes_before_the_one_a_button_inherits(player: Player) -> None:
    player.play("seconds=0")
    player.control("next", directive="outcome=failed seconds=0", channel=player.channel_id)

    player.send(player.press_of(player.messages()[0], "ReDo"))
    job = wait_for(lambda: next((job for job in player.jobs()[1:] if job["finished_ms"]), None))

    assert job["outcome"] == "failed"


def test_jobs_finish_out_of_order_where_their_seconds_say_so(player: Player) -> None:
    player.create("first [[sim seconds=0.6 ack=0]]")
    player.create("second [[sim seconds=0.1 ack=0]]")

    wait_for(lambda: all(job["finished_ms"] for job in player.jobs()) or None)
    first, second = player.jobs()

    assert second["finished_ms"] < first["finished_ms"]
    assert first["finished_ms"] - first["submitted_ms"] >= 600 - CLOCK_GRAIN_MS


def test_two_equal_jobs_get_videos_of_their_own(player: Player) -> None:
    for _ in range(2):
        player.play("seconds=0")

    newer, older = player.messages()
    [new_file], [old_file] = ([message["attachments"][0]["url"]] for message in (newer, older))

    assert httpx.get(new_file, verify=NO_TLS).content != httpx.get(old_file, verify=NO_TLS).content


def test_a_submission_whose_sender_dies_while_sending_is_none(player: Player) -> None:
    host, port = httpx.URL(player.url).host, httpx.URL(player.url).port
    submissions = oracle_of(player.url)["totals"]["submissions"]

    with socket.create_connection((host, port or 80)) as half_sent:
        head = ["POST /api/v9/interactions HTTP/1.1", "Host: x", f"Authorization: {player.token}", "Content-Length: 99"]
        half_sent.sendall("\r\n".join([*head, "", '{"type": 2']).encode())

    assert player.create("a cat [[sim seconds=0]]").status_code == 204
    assert oracle_of(player.url)["totals"]["submissions"] == submissions + 1
