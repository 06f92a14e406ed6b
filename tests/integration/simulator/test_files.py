"""Files: uploads for commands, videos through signed links."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from simulator.process import running
from tests.support.player import NO_TLS, Player, wait_for

if TYPE_CHECKING:
    pass


IMAGE = b"\x89PNG not really"

get = partial(httpx.get, verify=NO_TLS)
put = partial(httpx.put, verify=NO_TLS)


def uploaded(player: Player, content: bytes = IMAGE) -> dict[str, Any]:
    """Upload a file and return its entry for an interaction's ``attachments``."""
    announced = {"files": [{"id": "0", "filename": "a.png", "file_size": len(content)}]}
    answer = player.http.post(f"/channels/{player.channel_id}/attachments", json=announced)
    [place] = answer.raise_for_status().json()["attachments"]
    put(place["upload_url"], content=content, headers={"content-type": "image/png"}).raise_for_status()
    return {"id": str(place["id"]), "filename": "a.png", "uploaded_filename": place["upload_filename"]}


def test_a_command_takes_an_uploaded_file(player: Player) -> None:
    attachment = uploaded(player)
    options = {"image": 0, "prompt": "wave [[sim seconds=0]]", "motion": 5}

    answer = player.send(player.interaction("animate", options, attachments=[attachment]))

    assert answer.status_code == 204
    assert player.finished_job()["command"] == "animate"
    assert "motion: 5" in player.messages()[0]["content"]


def test_a_command_takes_a_file_that_comes_along(player: Player) -> None:
    interaction = player.interaction("meme_face", {"face": 0, "prompt": "grin [[sim seconds=0]]"})

    answer = player.http.post(
        "/interactions", data={"payload_json": json.dumps(interaction)}, files={"files[0]": ("a.png", IMAGE)}
    )

    assert answer.status_code == 204
    assert player.finished_job()["command"] == "meme_face"


def test_a_file_that_was_announced_but_not_uploaded_is_missed(player: Player) -> None:
    announced = {"files": [{"id": "0", "filename": "a.png", "file_size": 9}]}
    answer = player.http.post(f"/channels/{player.channel_id}/attachments", json=announced)
    name = answer.json()["attachments"][0]["upload_filename"]
    attachment = {"id": "0", "filename": "a.png", "uploaded_filename": name}

    refused = player.send(player.interaction("animate", {"image": 0}, attachments=[attachment]))

    fault = refused.json()["errors"]["data"]["options"]["0"]["value"]["_errors"][0]
    assert fault["code"] == "APPLICATION_COMMAND_ATTACHMENT_MISSING"


def test_a_prompt_is_optional_where_the_command_says_so(player: Player) -> None:
    player.control("next", directive="seconds=0", channel=player.channel_id)

    answer = player.send(player.interaction("animate", {"image": 0}, attachments=[uploaded(player)]))

    assert answer.status_code == 204
    assert player.finished_job()["prompt"] == ""


def test_an_upload_shows_no_token(player: Player) -> None:
    announced = {"files": [{"id": "0", "filename": "a.png", "file_size": 9}]}
    answer = player.http.post(f"/channels/{player.channel_id}/attachments", json=announced)
    upload_url = answer.json()["attachments"][0]["upload_url"]

    assert put(upload_url, content=IMAGE, headers={"authorization": player.token}).status_code == 400


def test_too_large_a_file_is_refused_when_it_is_announced(player: Player) -> None:
    announced = {"files": [{"id": "0", "filename": "a.png", "file_size": 10 * 1024 * 1024 + 1}]}

    answer = player.http.post(f"/channels/{player.channel_id}/attachments", json=announced)

    assert (answer.status_code, answer.json()["code"]) == (400, 40005)


def test_the_oracle_knows_every_file_and_each_names_its_interaction(player: Player) -> None:
    job = player.play("seconds=0", "create")

    [message] = player.messages()
    downloads = [(file, get(file["url"])) for file in message["attachments"]]

    assert [
        {"filename": file["filename"], "size": file["size"], "sha256": hashlib.sha256(download.content).hexdigest()}
        for file, download in downloads
    ] == job["files"]
    for index, (file, download) in enumerate(downloads, start=1):
        assert file["filename"] == f"pixverse_{job['reference']}_{index}.mp4"
        assert download.content.endswith(f"pixverse-simulat{job['reference']}/{index}".encode())
        assert download.headers["content-type"] == file["content_type"] == "video/mp4"
        assert (file["width"], file["height"], len(download.content)) == (160, 90, file["size"])


def test_a_link_needs_its_signature_but_no_token(player: Player) -> None:
    player.play("seconds=0")
    [file] = player.messages()[0]["attachments"]

    assert get(file["proxy_url"]).status_code == 200
    assert get(file["url"].partition("?")[0]).status_code == 404
    assert get(file["url"].replace("ex=", "ex=f")).status_code == 404


def test_expired_links_are_replaced_by_reading_again_or_by_refreshing(player: Player) -> None:
    player.play("seconds=0")
    [old] = player.messages()[0]["attachments"]
    player.control("links/expire")

    [read_again] = player.messages()[0]["attachments"]
    urls = {"attachment_urls": [old["url"], "http://127.0.0.1/elsewhere"]}
    [refreshed, foreign] = player.http.post("/attachments/refresh-urls", json=urls).json()["refreshed_urls"]

    assert get(old["url"]).status_code == 404
    assert get(read_again["url"]).status_code == 200
    assert refreshed["original"] == old["url"]
    assert get(refreshed["refreshed"]).status_code == 200
    assert foreign["refreshed"] == "http://127.0.0.1/elsewhere"


def test_at_most_fifty_links_are_refreshed_at_once(player: Player) -> None:
    answer = player.http.post("/attachments/refresh-urls", json={"attachment_urls": ["http://127.0.0.1/x"] * 51})

    assert (answer.status_code, answer.json()["code"]) == (400, 50035)


def test_links_live_as_long_as_the_program_was_told() -> None:
    with running("--link-life-s", "1") as url, Player(url) as player:
        player.play("seconds=0")
        [file] = player.messages()[0]["attachments"]
        fresh = get(file["url"]).status_code

        wait_for(lambda: get(file["url"]).status_code == 404 or None)

        assert fresh == 200
        assert get(player.messages()[0]["attachments"][0]["url"]).status_code == 200
