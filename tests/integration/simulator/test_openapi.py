"""The fake's JSON against Discord's official OpenAPI file (tests/data/discord-openapi.json, MIT)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from tests.support.player import SERVER_ID, Player, wait_for

if TYPE_CHECKING:
    pass

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


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("outcome", ["completed", "failed", "moderated"])
def test_final_messages_are_messages(player: Player, specification: dict[str, Any], outcome: str, result: str) -> None:
    player.play(f"outcome={outcome} result={result} seconds=0", "create")

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


def test_answers_to_buttons_are_messages(player: Player, specification: dict[str, Any]) -> None:
    player.play("seconds=0")
    player.send(player.press_of(player.messages()[0], "ReDo"))
    wait_for(lambda: len([job for job in player.jobs() if job["finished_ms"]]) == 2 or None)

    for message in player.messages():
        check(specification, "MessageResponse", message)


def test_the_schema_would_object(specification: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(specification, "MessageResponse", {"id": "1", "nonce": None})


@pytest.mark.parametrize("submit", ["401", "403", "500-before-accept", "invalid-version"])
def test_refusals_are_errors(player: Player, specification: dict[str, Any], submit: str) -> None:
    check(specification, "ErrorResponse", player.create(f"a cat [[sim submit={submit}]]").json())


def test_a_bad_form_is_an_error(player: Player, specification: dict[str, Any]) -> None:
    check(specification, "ErrorResponse", player.create("a cat [[sim no=no]]").json())
    check(specification, "ErrorResponse", player.http.get("/channels/1/messages", params={"limit": 0}).json())


def test_a_rate_limit_is_a_rate_limit(player: Player, specification: dict[str, Any]) -> None:
    check(specification, "RatelimitedResponse", player.create("a cat [[sim submit=429]]").json())


def test_users_commands_and_channels_are_what_they_are(player: Player, specification: dict[str, Any]) -> None:
    check(specification, "UserPIIResponse", player.get("/users/@me"))
    check(specification, "ThreadResponse", player.get(f"/channels/{player.channel_id}"))
    for command in player.get(f"/guilds/{SERVER_ID}/application-command-index")["application_commands"]:
        check(specification, "ApplicationCommandResponse", command)
