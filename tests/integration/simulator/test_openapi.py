"""The fake's JSON against Discord's official OpenAPI file (tests/data/discord-openapi.json, MIT)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

from simulator.troubles import ANSWERS, REFUSALS
from tests.support.player import SERVER_ID, Player, wait_for

SPECIFICATION = Path(__file__).parents[2] / "data" / "discord-openapi.json"


@pytest.fixture(scope="module")
def specification() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SPECIFICATION.read_text())
    # The file gives every fault an integer code; Discord's documentation and servers say BASE_TYPE_REQUIRED.
    schemas = loaded["components"]["schemas"]
    schemas["InnerErrors"]["properties"]["_errors"]["items"] = {
        "type": "object",
        "properties": {"code": {"type": ["integer", "string"]}, "message": {"type": "string"}},
        "required": ["code", "message"],
    }
    return loaded


def check(specification: dict[str, Any], name: str, body: object) -> None:
    reference = {"$ref": f"#/components/schemas/{name}", "components": specification["components"]}
    jsonschema.Draft202012Validator(reference).validate(body)


NO_JSON = ["1015", "1015-page", "400-page", "403-page", "500-empty", *map(str, (502, 503, 504, *range(520, 525)))]
"""Answers of whoever stands between Discord and us: no schema speaks of them."""
NO_ERROR = ["captcha"]
"""The file does not know captchas: their body has neither ``code`` nor ``message``."""


def check_answer(specification: dict[str, Any], template: str, answer: httpx.Response) -> None:
    """Hold an answer against what the file says of this status of ``GET template``."""
    responses = specification["paths"][template]["get"]["responses"]
    status = str(answer.status_code)
    told = responses.get(status) or responses[f"{status[0]}XX"]
    name = told.get("$ref", "").rpartition("/")[2]
    told = specification["components"]["responses"][name] if name else told
    schema = {**told["content"]["application/json"]["schema"], "components": specification["components"]}
    jsonschema.Draft202012Validator(schema).validate(answer.json())


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("outcome", ["completed", "failed", "moderated", "busy"])
@pytest.mark.parametrize("components", ["v1", "v2"])
@pytest.mark.parametrize("command", ["create", "create_single"])
def test_final_messages_are_messages(
    player: Player, specification: dict[str, Any], outcome: str, result: str, components: str, command: str
) -> None:
    player.play(f"outcome={outcome} result={result} components={components} seconds=0", command)

    for message in player.messages():
        check(specification, "MessageResponse", message)


@pytest.mark.parametrize("loading", ["yes", "no"])
def test_first_messages_and_progress_are_messages(player: Player, specification: dict[str, Any], loading: str) -> None:
    player.create(f"a cat [[sim loading={loading} ack=0 seconds=0.2 progress=1]]")

    def is_final() -> bool | None:
        page = player.messages()
        for message in page:
            check(specification, "MessageResponse", message)
        return any(message["attachments"] for message in page) or None

    wait_for(is_final)


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
def test_answers_to_buttons_are_messages(player: Player, specification: dict[str, Any], result: str) -> None:
    player.play(f"seconds=0 result={result}")
    player.send(player.press_of(player.messages()[0], "ReDo"))
    wait_for(lambda: len([job for job in player.jobs() if job["finished_ms"]]) == 2 or None)

    for message in player.messages():
        check(specification, "MessageResponse", message)


def test_the_schema_would_object(specification: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(specification, "MessageResponse", {"id": "1", "nonce": None})


def test_a_message_that_waits_for_a_place_is_a_message(player: Player, specification: dict[str, Any]) -> None:
    player.control("bot", max_per_user=0)
    player.create("a cat [[sim ack=0]]")

    [message] = wait_for(lambda: player.messages() or None)
    player.control("reset")

    assert "Queued" in message["content"]
    check(specification, "MessageResponse", message)


@pytest.mark.parametrize("name", sorted({*REFUSALS} - {*NO_JSON, *NO_ERROR}))
def test_refusals_are_errors(player: Player, specification: dict[str, Any], name: str) -> None:
    answer = player.create(f"a cat [[sim submit={name}]]")

    check(specification, "RatelimitedResponse" if answer.status_code == 429 else "ErrorResponse", answer.json())


@pytest.mark.parametrize(
    ("kind", "template"),
    [
        ("users", "/users/@me"),
        ("channels", "/channels/{channel_id}"),
        ("messages", "/channels/{channel_id}/messages"),
    ],
)
def test_every_answer_to_a_reading_is_what_the_file_says_of_its_status(
    player: Player, specification: dict[str, Any], kind: str, template: str
) -> None:
    path = template.format(channel_id=player.channel_id)
    player.play("seconds=0 components=v2", "create")
    check_answer(specification, template, player.http.get(path))
    for name in sorted(ANSWERS.keys() - {*NO_JSON, *NO_ERROR, "no-json"}):
        player.control("answers", kind=kind, answer=name)

        answer = player.http.get(path)

        if 400 <= answer.status_code < 500:  # the file knows no server errors, and no 202
            check_answer(specification, template, answer)


@pytest.mark.parametrize("name", [*NO_JSON, *NO_ERROR])
def test_what_no_schema_speaks_of_is_no_error_of_discords(
    player: Player, specification: dict[str, Any], name: str
) -> None:
    content = player.create(f"a cat [[sim submit={name}]]").content

    with pytest.raises((ValueError, jsonschema.ValidationError)):
        check(specification, "ErrorResponse", json.loads(content))


def test_a_bad_form_is_an_error(player: Player, specification: dict[str, Any]) -> None:
    check(specification, "ErrorResponse", player.create("a cat [[sim no=no]]").json())
    check(specification, "ErrorResponse", player.http.get("/channels/1/messages", params={"limit": 0}).json())


def test_users_commands_and_channels_are_what_they_are(player: Player, specification: dict[str, Any]) -> None:
    check(specification, "UserPIIResponse", player.get("/users/@me"))
    for archived in (False, True):
        player.control("channels", channel=player.channel_id, archived=archived)
        check(specification, "ThreadResponse", player.get(f"/channels/{player.channel_id}"))


@pytest.mark.parametrize("locale", [None, "de"])
def test_commands_are_commands_in_every_language(
    player: Player, specification: dict[str, Any], locale: str | None
) -> None:
    player.control("locale", locale=locale)
    commands = player.get(f"/guilds/{SERVER_ID}/application-command-index")["application_commands"]
    player.control("locale", locale=None)

    assert len(commands) == 7
    for command in commands:
        check(specification, "ApplicationCommandResponse", command)
