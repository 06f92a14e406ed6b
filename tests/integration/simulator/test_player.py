"""What a user learns before the first command."""

from __future__ import annotations

import httpx
import pytest

from tests.support.player import NO_TLS, SERVER_ID, Player


def test_a_token_is_always_the_same_user_and_another_token_another(player: Player) -> None:
    me = player.get("/users/@me")
    with Player(player.url) as again, Player(player.url, token="b-token") as other:
        assert again.get("/users/@me") == me
        assert other.get("/users/@me")["id"] != me["id"]


@pytest.mark.parametrize("version", ["v9", "v10"])
def test_both_versions_of_the_api_are_served(player: Player, version: str) -> None:
    answer = httpx.get(f"{player.url}/api/{version}/users/@me", headers={"authorization": player.token}, verify=NO_TLS)

    assert answer.json()["id"] == player.get("/users/@me")["id"]


def test_another_version_of_the_api_is_not_there(player: Player) -> None:
    answer = httpx.get(f"{player.url}/api/v8/users/@me", headers={"authorization": player.token}, verify=NO_TLS)

    assert (answer.status_code, answer.json()) == (404, {"message": "404: Not Found", "code": 0})


def test_a_request_without_a_token_is_refused(player: Player) -> None:
    answer = httpx.get(f"{player.url}/api/v9/users/@me", verify=NO_TLS)

    assert (answer.status_code, answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})


def test_the_index_has_the_four_commands_and_an_unrelated_bot_with_some_of_the_names(player: Player) -> None:
    index = player.get(f"/guilds/{SERVER_ID}/application-command-index")

    names: dict[str, set[str]] = {application["name"]: set() for application in index["applications"]}
    titles = {application["id"]: application["name"] for application in index["applications"]}
    for command in index["application_commands"]:
        names[titles[command["application_id"]]].add(command["name"])

    assert names["PixVerse"] == {"create", "create_single", "animate", "meme_face"}
    assert names["Painter"] & names["PixVerse"] == {"create", "animate"}


def test_options_say_what_may_be_filled_in(player: Player) -> None:
    options = {option["name"]: option for option in player.commands["create_single"]["options"]}

    assert (options["prompt"]["required"], options["prompt"]["max_length"]) == (True, 512)
    assert [choice["value"] for choice in options["style"]["choices"]] == ["Realistic", "Anime", "3D Animation"]
    assert (options["seed_value"]["min_value"], options["seed_value"]["max_value"]) == (0, 2_147_483_647)
    assert player.commands["animate"]["options"][0]["type"] == 11


def test_the_channel_is_a_thread_of_its_server(player: Player) -> None:
    player.control("accounts", token=player.token, server=SERVER_ID, channel=player.channel_id, max_jobs=1)

    channel = player.get(f"/channels/{player.channel_id}")

    assert (channel["id"], channel["type"], channel["guild_id"]) == (player.channel_id, 12, SERVER_ID)
