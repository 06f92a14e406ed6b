"""The fake as an independent client sees it: hikari reads every variant with a user's token."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hikari
import pytest

from tests.support.player import Player, wait_for


@asynccontextmanager
async def hikari_of(player: Player) -> AsyncIterator[hikari.api.RESTClient]:
    """Hikari's client for a player; each waits by its own measure, so that none must be told to be quick."""
    app = hikari.RESTApp(url=f"{player.url}/api/v9")
    await app.start()
    try:
        async with app.acquire(player.token, "") as rest:
            yield rest
    finally:
        await app.close()


async def test_hikari_reads_who_we_are_and_what_the_bot_said(player: Player) -> None:
    job = player.play("seconds=0", "create")

    async with hikari_of(player) as rest:
        me = await rest.fetch_my_user()
        [message] = await rest.fetch_messages(int(player.channel_id))

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

    async with hikari_of(player) as rest:
        [message] = await rest.fetch_messages(int(player.channel_id))

    assert message.flags & hikari.MessageFlag.LOADING
    assert not message.content


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
@pytest.mark.parametrize("outcome", ["completed", "failed", "moderated", "busy"])
async def test_hikari_reads_every_ending(player: Player, result: str, outcome: str) -> None:
    job = player.play(f"result={result} outcome={outcome} seconds=0 loading=no progress=1")

    async with hikari_of(player) as rest:
        messages = await rest.fetch_messages(int(player.channel_id))

    final = max(messages, key=lambda message: message.id)
    assert [file.filename for file in final.attachments] == [file["filename"] for file in job["files"]]
    named = [m.interaction_metadata.interaction_id for m in messages if m.interaction_metadata]
    assert {str(interaction_id) for interaction_id in named} == {job["reference"]}
    kinds = {
        "edit": hikari.MessageType.CHAT_INPUT,
        "followup": hikari.MessageType.REPLY,
        "message": hikari.MessageType.DEFAULT,
    }
    assert final.type is (kinds["edit"] if len(messages) == 1 else kinds[result])


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
async def test_hikari_reads_components(player: Player, result: str) -> None:
    job = player.play(f"components=v2 result={result} seconds=0", "create")

    async with hikari_of(player) as rest:
        final = max(await rest.fetch_messages(int(player.channel_id)), key=lambda message: message.id)

    [container] = final.components
    assert isinstance(container, hikari.ContainerComponent)
    text, gallery, *rows = container.components
    assert isinstance(text, hikari.TextDisplayComponent)
    assert isinstance(gallery, hikari.MediaGalleryComponent)
    assert final.flags & hikari.MessageFlag.IS_COMPONENTS_V2
    assert "a cat" in text.content
    assert [item.media.resource.filename for item in gallery.items] == [file["filename"] for file in job["files"]]
    assert len([b for row in rows if isinstance(row, hikari.ActionRowComponent) for b in row.components]) == 9
    assert (final.content or "", list(final.attachments), list(final.embeds)) == ("", [], [])


@pytest.mark.parametrize("result", ["edit", "followup", "message"])
async def test_hikari_reads_the_answer_to_a_button(player: Player, result: str) -> None:
    player.play("seconds=0")
    [pressed] = player.messages()
    player.control("next", directive=f"seconds=0 result={result}", channel=player.channel_id)
    player.send(player.press_of(pressed, "ReDo"))
    job = player.finished_job()

    async with hikari_of(player) as rest:
        messages = await rest.fetch_messages(int(player.channel_id), after=int(pressed["id"]))

    answer = min(messages, key=lambda message: message.id)

    assert isinstance(answer.interaction_metadata, hikari.ComponentInteractionMetadata)
    assert str(answer.interaction_metadata.interaction_id) == job["reference"]
    assert str(answer.interaction_metadata.interacted_message_id) == pressed["id"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("401", hikari.UnauthorizedError),
        ("40001", hikari.UnauthorizedError),
        *((name, hikari.ForbiddenError) for name in ("403", "40002", "50009", "50013", "10008-403", "40333")),
        *((name, hikari.NotFoundError) for name in ("10003", "10004", "10008", "10063")),
        *((name, hikari.BadRequestError) for name in ("50083", "50035")),
    ],
)
async def test_hikari_takes_our_refusals_for_discords(
    player: Player, answer: str, error: type[hikari.ClientHTTPResponseError]
) -> None:
    player.control("answers", kind="users", answer=answer)

    async with hikari_of(player) as rest:
        with pytest.raises(error) as refused:
            await rest.fetch_my_user()

    codes = {"401": 0, "403": 50001, "10008-403": 10008}
    assert isinstance(refused.value, hikari.ClientHTTPResponseError)
    assert refused.value.code == codes.get(answer) or refused.value.code == int(answer)


@pytest.mark.parametrize("scope", ["user", "shared", "global"])
@pytest.mark.parametrize("buckets", ["none", "spent", "hidden"])
async def test_hikari_waits_our_rate_limits_out(player: Player, scope: str, buckets: str) -> None:
    limit = {"scope": scope, "buckets": buckets, "retry_after": 0.2}
    player.control("answers", kind="users", answer="429", **limit)

    async with hikari_of(player) as rest:
        me = await rest.fetch_my_user()

    assert str(me.id) == player.get("/users/@me")["id"]


async def test_hikari_takes_cloudflares_page_for_cloudflares(player: Player) -> None:
    player.control("answers", kind="users", answer="1015-page")

    async with hikari_of(player) as rest:
        with pytest.raises(hikari.HTTPResponseError):
            await rest.fetch_my_user()


async def test_hikari_asks_again_after_server_trouble(player: Player) -> None:
    player.control("answers", kind="users", answer="502")

    async with hikari_of(player) as rest:
        me = await rest.fetch_my_user()

    assert str(me.id) == player.get("/users/@me")["id"]


async def test_hikari_pages_through_everything_after_a_message(player: Player) -> None:
    for _ in range(5):
        player.play("seconds=0")
    ids = [int(message["id"]) for message in reversed(player.messages())]

    async with hikari_of(player) as rest:
        followed = [message.id async for message in rest.fetch_messages(int(player.channel_id), after=ids[1])]

    assert followed == ids[2:]
