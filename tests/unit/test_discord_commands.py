from __future__ import annotations

from typing import Any

import pytest

from dispatcher.errors import AccountRejected, RequestRejected
from workers.upstream.discord.commands import Command, choose, command_named, filled_in

ALL = ("create", "create_single", "animate", "meme_face")
WANTED = frozenset(ALL)


def command(name: str, owner: str = "1", **more: Any) -> Command:
    return Command.model_validate({"id": f"{owner}0", "application_id": owner, "version": "7", "name": name, **more})


def option(name: str, kind: int = 3, **more: Any) -> dict[str, Any]:
    return {"type": kind, "name": name, "description": "…", **more}


def test_the_only_application_with_all_commands_is_chosen() -> None:
    others = tuple(command(name, "2") for name in ("create", "imagine"))

    chosen = choose((*others, *(command(name) for name in ALL)), application_id=None, wanted=WANTED)

    assert {c.application_id for c in chosen.values()} == {"1"}


def test_two_applications_that_look_right_are_refused_unless_one_is_configured() -> None:
    both = tuple(command(name, owner) for name in ALL for owner in ("1", "2"))

    with pytest.raises(AccountRejected, match="discord_application_id"):
        choose(both, application_id=None, wanted=WANTED)
    assert choose(both, application_id="2", wanted=WANTED)["create"].application_id == "2"


@pytest.mark.parametrize("application_id", [None, "3"])
def test_a_server_without_the_bot_is_refused(application_id: str | None) -> None:
    with pytest.raises(AccountRejected, match="PixVerse bot"):
        choose((command("create", "2"),), application_id=application_id, wanted=WANTED)


def test_a_translated_name_is_known_by_its_original() -> None:
    translated = command("erstellen", name_default="create", options=[option("stil", name_default="style")])

    chosen = choose((translated,), application_id="1", wanted=WANTED)

    assert filled_in(chosen["create"], {"style": "Anime"}) == [{"type": 3, "name": "style", "value": "Anime"}]


def test_a_menu_command_is_no_slash_command() -> None:
    with pytest.raises(AccountRejected):
        choose((command("create", type=3),), application_id="1", wanted=WANTED)


def test_a_command_that_the_bot_dropped_is_named() -> None:
    with pytest.raises(RequestRejected, match="no command create"):
        command_named({}, "create")


def test_options_are_filled_in_in_the_commands_order_and_types() -> None:
    create = command(
        "create_single",
        options=[
            option("prompt", required=True, max_length=512),
            option("style", choices=[{"name": "Realistic", "value": "r"}]),
            option("seed_value", 4, min_value=0),
            option("strength", 10),
            option("hd", 5),
        ],
    )

    filled = filled_in(
        create, {"hd": "Yes", "seed_value": 7, "strength": "0.5", "style": "Realistic", "prompt": "a cat"}
    )

    assert [o["value"] for o in filled] == ["a cat", "r", 7, 0.5, True]
    assert [o["type"] for o in filled] == [3, 3, 4, 10, 5]


@pytest.mark.parametrize(
    ("offered", "values", "problem"),
    [
        (option("prompt", required=True), {}, "needs the option prompt"),
        (option("prompt"), {"character": "x"}, "no option character"),
        (option("prompt", max_length=3), {"prompt": "four"}, "longer than 3"),
        (option("style", choices=[{"name": "A", "value": "A"}]), {"style": "B"}, "not one of A"),
        (option("seed", 4, min_value=5), {"seed": 4}, "below 5"),
        (option("seed", 4, max_value=5), {"seed": 6}, "above 5"),
        (option("seed", 4), {"seed": "many"}, "no number"),
        (option("image", 11), {"image": "x"}, "type 11"),
    ],
)
def test_what_discord_would_refuse_is_refused_unsent(
    offered: dict[str, Any], values: dict[str, Any], problem: str
) -> None:
    with pytest.raises(RequestRejected, match=problem):
        filled_in(command("create", options=[offered]), values)
