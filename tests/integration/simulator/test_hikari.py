"""The fake as an independent client sees it: hikari reads the channel with a user's token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hikari
import pytest

from simulator.process import running
from tests.support.player import Player, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def player() -> Iterator[Player]:
    with running() as url, Player(url) as player:
        yield player


async def test_hikari_reads_who_we_are_and_what_the_bot_said(player: Player) -> None:
    job = player.play("seconds=0", "create")
    app = hikari.RESTApp(url=f"{player.url}/api/v9")
    await app.start()

    try:
        async with app.acquire(player.token, "") as rest:
            me = await rest.fetch_my_user()
            [message] = await rest.fetch_messages(int(player.channel_id))
    finally:
        await app.close()

    assert (message.author.is_bot, message.type) == (True, hikari.MessageType.CHAT_INPUT)
    assert message.interaction_metadata is not None
    assert str(message.interaction_metadata.interaction_id) == job["reference"]
    assert message.interaction_metadata.user.id == me.id
    assert [file.filename for file in message.attachments] == [file["filename"] for file in job["files"]]
    assert [(file.media_type, file.width, file.height) for file in message.attachments] == [("video/mp4", 160, 90)] * 4
    assert len([button for row in message.components for button in getattr(row, "components", [])]) == 9


async def test_hikari_reads_the_loading_state(player: Player) -> None:
    player.create("a cat [[sim ack=0 seconds=60]]")
    wait_for(lambda: player.messages() or None)
    app = hikari.RESTApp(url=f"{player.url}/api/v9")
    await app.start()

    try:
        async with app.acquire(player.token, "") as rest:
            [message] = await rest.fetch_messages(int(player.channel_id))
    finally:
        await app.close()

    assert message.flags & hikari.MessageFlag.LOADING
    assert not message.content


async def test_hikari_pages_through_everything_after_a_message(player: Player) -> None:
    for _ in range(5):
        player.play("seconds=0")
    ids = [int(message["id"]) for message in reversed(player.messages())]
    app = hikari.RESTApp(url=f"{player.url}/api/v9")
    await app.start()

    try:
        async with app.acquire(player.token, "") as rest:
            followed = [message.id async for message in rest.fetch_messages(int(player.channel_id), after=ids[1])]
    finally:
        await app.close()

    assert followed == ids[2:]
