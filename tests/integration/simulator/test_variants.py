"""What Discord and its bots may do beside the plain way: each variant that a client must be right in."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest

from simulator.troubles import ANSWERS, REFUSALS
from tests.support.player import NO_TLS, SERVER_ID, Player, custom_ids_of, oracle_of, wait_for

CHAT_INPUT = 20


@pytest.fixture
def alone(player: Player) -> Player:
    """A player whom no earlier test's controls reach; he plays as a user of his own."""
    player.control("reset")
    player.http.headers["authorization"] = player.token = f"token-of-{player.channel_id}"
    return player


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
def test_a_result_of_components_has_everything_in_them(alone: Player, result: str) -> None:
    job = alone.play(f"components=v2 result={result} seconds=0", "create")

    message = alone.messages()[0]

    [container] = message["components"]
    text, gallery, *rows = container["components"]
    assert (message["flags"], message["content"], message["embeds"], message["attachments"]) == (32_768, "", [], [])
    assert (text["type"], text["content"].startswith(f"<@{message['mentions'][0]['id']}> (prompt: a cat")) == (10, True)
    assert [item["media"]["url"].partition("?")[0].rpartition("/")[2] for item in gallery["items"]] == [
        file["filename"] for file in job["files"]
    ]
    assert list(custom_ids_of({"components": rows}))[-1] == "ReDo"


def test_the_files_of_components_can_be_downloaded_and_their_links_expire(alone: Player) -> None:
    alone.play("components=v2 seconds=0")
    before = media_of(alone)
    status_before = httpx.get(before["url"], verify=NO_TLS).status_code

    alone.control("links/expire")

    assert status_before == 200
    assert httpx.get(before["url"], verify=NO_TLS).status_code == 404
    assert httpx.get(media_of(alone)["url"], verify=NO_TLS).status_code == 200


def media_of(player: Player) -> dict[str, Any]:
    [container] = player.messages()[0]["components"]
    media: dict[str, Any] = container["components"][1]["items"][0]["media"]
    return media


def test_a_button_of_components_can_be_pressed(alone: Player) -> None:
    alone.play("components=v2 seconds=0")
    message = alone.messages()[0]
    row = message["components"][0]["components"][2]

    answer = alone.send(alone.press_of(message | {"components": [row]}, "ReDo"))

    assert answer.status_code == 204
    assert alone.finished_job()["command"] == "button:ReDo"


@pytest.mark.parametrize("outcome", ["failed", "moderated", "busy"])
def test_a_refusal_of_components_has_its_words_in_them(alone: Player, outcome: str) -> None:
    alone.play(f"components=v2 outcome={outcome} seconds=0")

    message = alone.messages()[0]

    assert message["content"] == ""
    assert len(message["components"][0]["components"]) == 1


def test_a_bot_with_too_many_jobs_says_so_at_once(alone: Player) -> None:
    job = alone.play("outcome=busy ack=0")

    [message] = alone.messages()
    assert (job["outcome"], message["type"]) == ("busy", CHAT_INPUT)
    assert "too many jobs" in message["content"]


def test_a_crowded_bot_lets_the_next_job_wait_its_turn(alone: Player) -> None:
    alone.control("bot", max_per_user=1)
    alone.create("first [[sim ack=0 seconds=0.6]]")
    alone.create("second [[sim ack=0 seconds=0]]")

    queued = wait_for(lambda: next((m for m in alone.messages() if "Queued" in m["content"]), None))
    wait_for(lambda: all(job["finished_ms"] for job in alone.jobs()) or None)

    first, second = alone.jobs()
    assert queued["content"].endswith("(Queued, 0 before you)")
    assert second["finished_ms"] >= first["finished_ms"]
    assert [bool(m["attachments"]) for m in alone.messages()] == [True, True]


def test_a_crowded_bot_refuses_the_next_job_and_takes_one_when_there_is_room(alone: Player) -> None:
    alone.control("bot", max_per_user=1, crowded="busy")
    alone.create("first [[sim ack=0 seconds=0.5]]")

    alone.create("second [[sim ack=0 seconds=60]]")
    wait_for(lambda: all(job["finished_ms"] for job in alone.jobs()) or None)
    alone.create("third [[sim ack=0 seconds=0]]")

    wait_for(lambda: all(job["finished_ms"] for job in alone.jobs()) or None)
    assert [job["outcome"] for job in alone.jobs()] == ["completed", "busy", "completed"]


def test_a_crowded_bot_may_refuse_where_only_a_gateway_session_sees_it(alone: Player) -> None:
    alone.control("bot", max_per_user=0, crowded="ephemeral")

    job = alone.play("ack=0")

    assert (job["outcome"], alone.messages()) == ("ephemeral", [])


def test_another_user_has_places_of_his_own(alone: Player) -> None:
    alone.control("bot", max_per_user=1, crowded="busy")
    alone.create("first [[sim ack=0 seconds=60]]")
    with Player(alone.url, token="somebody-else") as other:
        assert other.play("seconds=0")["outcome"] == "completed"


@pytest.mark.parametrize("name", REFUSALS)
def test_every_named_refusal_refuses_a_submission_and_runs_nothing(alone: Player, name: str) -> None:
    answer = alone.create(f"a cat [[sim submit={name}]]")

    assert answer.status_code >= 400
    assert alone.account()["accepted"] == 0
    assert sum(alone.account()["refused"].values()) == 1


@pytest.mark.parametrize("name", ANSWERS)
def test_every_named_refusal_answers_a_list_once(alone: Player, name: str) -> None:
    alone.control("answers", kind="messages", answer=name, channel=alone.channel_id)
    with Player(alone.url) as other:
        unharmed = other.http.get(f"/channels/{other.channel_id}/messages")

    struck = alone.http.get(f"/channels/{alone.channel_id}/messages")
    after = alone.http.get(f"/channels/{alone.channel_id}/messages")

    assert (unharmed.status_code, after.status_code) == (200, 200)
    assert struck.text != "[]"


def test_each_third_request_of_a_kind_is_answered_as_told_until_a_reset_and_counted(alone: Player) -> None:
    alone.control("answers", kind="messages", answer="429", channel=alone.channel_id, every=3, count=None)
    path = f"/channels/{alone.channel_id}/messages"

    statuses = [alone.http.get(path).status_code for _ in range(6)]
    troubles = oracle_of(alone.url)["troubles"]
    alone.control("reset")
    after = [alone.http.get(path).status_code for _ in range(3)]

    assert statuses == [200, 200, 429] * 2
    assert troubles["messages 429"] == 2
    assert after == [200] * 3


def test_of_each_second_request_only_so_many_are_answered_as_told(alone: Player) -> None:
    alone.control("answers", kind="messages", answer="503", channel=alone.channel_id, every=2, count=2)

    statuses = [alone.http.get(f"/channels/{alone.channel_id}/messages").status_code for _ in range(8)]

    assert statuses == [200, 503, 200, 503, 200, 200, 200, 200]


@pytest.mark.parametrize(("scope", "is_global"), [("user", False), ("shared", False), ("global", True)])
def test_a_rate_limit_names_its_scope(alone: Player, scope: str, is_global: bool) -> None:
    answer = alone.create(f"a cat [[sim submit=429 retry_after=0.57 scope={scope}]]")

    assert answer.headers["x-ratelimit-scope"] == scope
    assert answer.json()["global"] is ("x-ratelimit-global" in answer.headers) is is_global
    assert float(answer.headers["retry-after"]) == 1 > answer.json()["retry_after"]


@pytest.mark.parametrize(("buckets", "remaining"), [("spent", "0"), ("hidden", "3"), ("none", None)])
def test_a_rate_limit_may_describe_its_bucket(alone: Player, buckets: str, remaining: str | None) -> None:
    answer = alone.create(f"a cat [[sim submit=429 retry_after=2.5 buckets={buckets}]]")

    assert answer.headers.get("x-ratelimit-remaining") == remaining
    assert answer.headers.get("x-ratelimit-reset-after") == (None if remaining is None else "2.500")


@pytest.mark.parametrize(("written", "header"), [("", None), ("retry_after=30", "30")])
def test_cloudflares_page_is_no_json_and_names_a_time_only_where_told(
    alone: Player, written: str, header: str | None
) -> None:
    answer = alone.create(f"a cat [[sim submit=1015 {written}]]")

    assert (answer.status_code, answer.text) == (429, "error code: 1015")
    assert "via" not in answer.headers
    assert answer.headers.get("retry-after") == header


def test_answers_of_a_kind_come_late_where_told(alone: Player) -> None:
    alone.control("latency", kind="users", seconds=0.3)

    began_s = time.monotonic()
    alone.get("/users/@me")

    assert time.monotonic() - began_s >= 0.3
    alone.control("reset")


def test_without_history_the_list_is_empty_and_the_description_still_names_the_last_message(alone: Player) -> None:
    alone.play("seconds=0")
    [message] = alone.messages()

    alone.control("channels", channel=alone.channel_id, history=False)

    assert alone.messages() == []
    assert alone.get(f"/channels/{alone.channel_id}")["last_message_id"] == message["id"]


def test_an_archived_thread_can_be_read_and_not_be_used(alone: Player) -> None:
    alone.play("seconds=0")

    alone.control("channels", channel=alone.channel_id, archived=True)
    answer = alone.create("a cat")

    assert (answer.status_code, answer.json()["code"]) == (400, 50083)
    assert alone.get(f"/channels/{alone.channel_id}")["thread_metadata"]["archived"] is True
    assert len(alone.messages()) == 1


def test_every_second_list_may_come_from_a_replica_that_lags(alone: Player) -> None:
    alone.control("channels", channel=alone.channel_id, lag_s=10, alternates=True)
    alone.play("seconds=0")

    stale, fresh = alone.messages(), alone.messages()

    assert stale == []
    assert len(fresh[0]["attachments"]) == 1


def test_a_list_may_be_delivered_again(alone: Player) -> None:
    alone.play("seconds=0")
    alone.control("channels", channel=alone.channel_id)
    before = alone.messages()
    alone.play("seconds=0")
    alone.control("channels", channel=alone.channel_id, repeats=2)

    pages = [alone.messages(limit=limit) for limit in (1, 2, 3)]

    assert pages[:2] == [before, before]
    assert len(pages[2]) == 2


def test_the_index_may_be_translated_and_keeps_the_names_that_are_sent(alone: Player) -> None:
    alone.control("locale", locale="de")

    index = alone.get(f"/guilds/{SERVER_ID}/application-command-index")
    [command] = [entry for entry in index["application_commands"] if entry["name"] == "create_single-de"]
    answer = alone.create("a cat [[sim seconds=0]]")
    alone.control("locale", locale=None)

    assert command["name_default"] == "create_single"
    assert [option["name_default"] for option in command["options"]][:2] == ["prompt", "style"]
    assert command["options"][1]["choices"][0] == {
        "name": "Realistic-de",
        "name_default": "Realistic",
        "value": "Realistic",
    }
    assert answer.status_code == 204


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("answers", {"kind": "cdn", "answer": "503"}, "kind must be one of"),
        ("answers", {"kind": "messages", "answer": "teapot"}, "answer must be one of"),
        ("answers", {"kind": "messages", "answer": "503", "count": 0}, "count must be"),
        ("answers", {"kind": "messages", "answer": "503", "every": 0}, "every must be"),
        ("answers", {"kind": "messages", "answer": "429", "scope": "all"}, "scope must be one of"),
        ("answers", {"kind": "messages", "answer": "429", "buckets": "all"}, "buckets must be one of"),
        ("answers", {"kind": "messages", "answer": "429", "retry_after": -1}, "retry_after must be"),
        ("latency", {"kind": "messages", "seconds": "1"}, "seconds must be"),
        ("channels", {"channel": "x"}, "channel must be"),
        ("channels", {"channel": "1", "lag_s": 60}, "lag_s must be at most 10"),
        ("channels", {"channel": "1", "repeats": True}, "repeats must be"),
        ("bot", {"max_per_user": -1}, "max_per_user must be"),
        ("bot", {"crowded": "flee"}, "crowded must be one of"),
        ("locale", {"locale": "d-e"}, "locale must be"),
    ],
)
def test_a_mistaken_control_is_refused_with_its_reason(url: str, path: str, body: dict[str, Any], fault: str) -> None:
    answer = httpx.post(f"{url}/sim/{path}", json=body, verify=NO_TLS)

    assert answer.status_code == 400
    assert fault in answer.json()["error"]


@pytest.mark.parametrize("loading", ["yes", "no"])
def test_a_press_may_be_answered_by_replies_that_name_no_interaction(alone: Player, loading: str) -> None:
    alone.play(f"seconds=0 named=no loading={loading}", "create")
    [parent] = alone.messages()

    alone.send(alone.press_of(parent, "U1"))
    job = wait_for(lambda: next((job for job in alone.jobs()[1:] if job["finished_ms"]), None))
    reply = alone.messages()[0]

    assert parent["interaction_metadata"]["type"] == 2  # a command's answer is named all the same
    assert not {"interaction_metadata", "interaction", "application_id"} & reply.keys()
    assert (reply["type"], reply["flags"], reply["message_reference"]["message_id"]) == (19, 0, parent["id"])
    assert [file["filename"] for file in reply["attachments"]] == [file["filename"] for file in job["files"]]


@pytest.mark.parametrize("loading", ["yes", "no"])
def test_a_press_may_be_answered_by_edits_of_the_pressed_message(alone: Player, loading: str) -> None:
    alone.play(f"seconds=0 result=pressed loading={loading}", "create")
    [before] = alone.messages()

    alone.send(alone.press_of(before, "U1"))
    job = wait_for(lambda: next((job for job in alone.jobs()[1:] if job["finished_ms"]), None))
    [after] = alone.messages()

    assert (after["id"], after["interaction_metadata"]) == (before["id"], before["interaction_metadata"])
    assert after["edited_timestamp"] > before["edited_timestamp"]
    assert [file["filename"] for file in after["attachments"]] == [file["filename"] for file in job["files"]]
