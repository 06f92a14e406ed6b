"""Listing and submitting: what Discord refuses, and how it words it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.player import Player, custom_ids_of

if TYPE_CHECKING:
    pass


def fault_of(body: dict[str, Any]) -> tuple[str, str]:
    """Return the dotted path of the only fault in a form and its code."""
    assert (body["message"], body["code"]) == ("Invalid Form Body", 50035)
    path: list[str] = []
    errors = body["errors"]
    while "_errors" not in errors:
        [(name, errors)] = errors.items()
        path.append(name)
    return ".".join(path), errors["_errors"][0]["code"]


def played(player: Player, count: int) -> list[str]:
    for _ in range(count):
        player.play("seconds=0")
    return [message["id"] for message in reversed(player.messages())]


def test_a_list_is_newest_first_and_bounded(player: Player) -> None:
    ids = played(player, 3)

    assert [message["id"] for message in player.messages(limit=2)] == [ids[2], ids[1]]


def test_pages_are_cut_as_discord_cuts_them(player: Player) -> None:
    ids = played(player, 4)

    def page(**query: Any) -> list[str]:
        return [message["id"] for message in player.messages(**query)]

    assert page(after=ids[0], limit=2) == [ids[2], ids[1]]
    assert page(before=ids[3], limit=2) == [ids[2], ids[1]]
    assert page(around=ids[1], limit=1) == [ids[1]]
    assert page(after=ids[3]) == []


def test_a_channel_that_nobody_wrote_in_is_empty(player: Player) -> None:
    assert player.messages() == []


@pytest.mark.parametrize(
    ("query", "path", "code"),
    [
        ({"limit": 0}, "limit", "NUMBER_TYPE_MIN"),
        ({"limit": 101}, "limit", "NUMBER_TYPE_MAX"),
        ({"limit": "many"}, "limit", "NUMBER_TYPE_COERCE"),
        ({"after": "x"}, "after", "NUMBER_TYPE_COERCE"),
        ({"after": "1", "before": "2"}, "before", "BASE_TYPE_MUTUALLY_EXCLUSIVE"),
    ],
)
def test_a_bad_page_is_refused_by_the_field(player: Player, query: dict[str, Any], path: str, code: str) -> None:
    answer = player.http.get(f"/channels/{player.channel_id}/messages", params=query)

    assert (answer.status_code, fault_of(answer.json())) == (400, (path, code))


def test_a_channel_id_that_is_none_is_refused(player: Player) -> None:
    answer = player.http.get("/channels/general/messages")

    assert fault_of(answer.json()) == ("channel_id", "NUMBER_TYPE_COERCE")


def test_users_may_not_read_one_message_but_bots_may(player: Player) -> None:
    [message_id] = played(player, 1)
    path = f"/channels/{player.channel_id}/messages/{message_id}"

    as_user = player.http.get(path)
    as_bot = player.http.get(path, headers={"authorization": "Bot a-token"})

    assert (as_user.status_code, as_user.json()["code"]) == (403, 20002)
    assert as_bot.json() == player.messages()[0]


def test_bots_may_not_submit(player: Player) -> None:
    interaction = player.interaction("create_single", {"prompt": "a cat", "style": "Realistic"})

    answer = player.http.post("/interactions", json=interaction, headers={"authorization": "Bot a-token"})

    assert (answer.status_code, answer.json()["code"]) == (403, 20001)


GOOD = {"prompt": "a cat", "style": "Realistic"}


@pytest.mark.parametrize(
    ("options", "path", "code"),
    [
        ({"style": "Realistic"}, "data.options.1", "APPLICATION_COMMAND_OPTION_MISSING"),
        ({"prompt": "a cat"}, "data.options.1", "APPLICATION_COMMAND_OPTION_MISSING"),
        ({"prompt": "", "style": "Realistic"}, "data.options.0.value", "BASE_TYPE_REQUIRED"),
        ({"prompt": "x" * 513, "style": "Realistic"}, "data.options.0.value", "BASE_TYPE_MAX_LENGTH"),
        ({"prompt": 5, "style": "Realistic"}, "data.options.0.value", "STRING_TYPE_CONVERT"),
        ({**GOOD, "style": "Cubist"}, "data.options.1.value", "BASE_TYPE_CHOICES"),
        ({**GOOD, "aspect_ratio": "2:1"}, "data.options.2.value", "BASE_TYPE_CHOICES"),
        ({**GOOD, "seed_value": -1}, "data.options.2.value", "NUMBER_TYPE_MIN"),
        ({**GOOD, "seed_value": 2**31}, "data.options.2.value", "NUMBER_TYPE_MAX"),
        ({**GOOD, "seed_value": "7"}, "data.options.2.value", "NUMBER_TYPE_COERCE"),
        ({**GOOD, "prompt": "a cat [[sim outcom=failed]]"}, "data.options.0.value", "SIM_DIRECTIVE"),
    ],
)
def test_a_badly_filled_in_option_is_refused(player: Player, options: dict[str, Any], path: str, code: str) -> None:
    answer = player.send(player.interaction("create_single", options))

    assert (answer.status_code, fault_of(answer.json())) == (400, (path, code))
    assert player.account()["refused"] == {"50035": 1}


def test_an_option_of_another_command_is_refused(player: Player) -> None:
    interaction = player.interaction("create", GOOD)
    interaction["data"]["options"].append({"type": 4, "name": "seed_value", "value": 7})

    fault = fault_of(player.send(interaction).json())

    assert fault == ("data.options.2.name", "APPLICATION_COMMAND_OPTION_UNKNOWN")


def test_an_outdated_version_is_refused_by_a_code_of_its_own(player: Player) -> None:
    interaction = player.interaction("create_single", GOOD)
    interaction["data"]["version"] = "1"

    answer = player.send(interaction)

    assert answer.status_code == 400
    assert answer.json()["errors"]["data"]["_errors"][0]["code"] == "INTERACTION_APPLICATION_COMMAND_INVALID_VERSION"
    assert player.account()["refused"] == {"invalid-version": 1}


def test_an_unknown_command_is_refused(player: Player) -> None:
    interaction = player.interaction("create_single", GOOD)
    interaction["data"]["id"] = "1"

    answer = player.send(interaction)

    assert (answer.status_code, answer.json()["code"]) == (404, 10063)


def test_the_unrelated_bot_takes_commands_and_never_answers(player: Player) -> None:
    index = player.get("/guilds/111111111111111111/application-command-index")
    imagine = next(command for command in index["application_commands"] if command["name"] == "imagine")
    interaction = player.interaction("create", {"prompt": "a cat"})
    interaction["application_id"] = imagine["application_id"]
    interaction["data"] |= {name: imagine[name] for name in ("id", "name", "version")}

    answer = player.send(interaction)

    assert answer.status_code == 204
    assert player.account()["refused"] == {"other-application": 1}


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"options": {"prompt": "a cat"}}, "data.options", "LIST_TYPE_CONVERT"),
        ({"attachments": 5}, "data.attachments", "LIST_TYPE_CONVERT"),
        ({"options": ["a cat"]}, "data.options.0.name", "APPLICATION_COMMAND_OPTION_UNKNOWN"),
    ],
)
def test_a_misshapen_command_is_refused(player: Player, changes: dict[str, Any], path: str, code: str) -> None:
    interaction = player.interaction("create_single", GOOD)
    interaction["data"] |= changes

    assert fault_of(player.send(interaction).json()) == (path, code)


@pytest.mark.parametrize("field", ["channel_id", "guild_id", "application_id", "data"])
def test_a_missing_field_is_refused(player: Player, field: str) -> None:
    interaction = player.interaction("create_single", GOOD)
    del interaction[field]

    assert fault_of(player.send(interaction).json()) == (field, "BASE_TYPE_REQUIRED")


def test_a_body_that_is_no_json_is_refused(player: Player) -> None:
    answer = player.http.post("/interactions", content=b"{")

    assert (answer.status_code, answer.json()["code"]) == (400, 50109)


def test_a_button_that_is_not_there_is_refused(player: Player) -> None:
    played(player, 1)
    [message] = player.messages()
    press = player.press_of(message, "ReDo")

    wrong_button = player.send(press | {"data": {"component_type": 2, "custom_id": "pixverse:U1:1"}})
    wrong_message = player.send(press | {"message_id": "1"})

    assert custom_ids_of(message)["ReDo"] == press["data"]["custom_id"]
    assert fault_of(wrong_button.json()) == ("data.custom_id", "COMPONENT_VALIDATION_FAILED")
    assert (wrong_message.status_code, wrong_message.json()["code"]) == (404, 10008)
