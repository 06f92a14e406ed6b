"""Whose answer a message is when a button was pressed: named, an unnamed reply, an edit; and when nobody can know."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dispatcher.errors import RequestRejected
from dispatcher.models import Parent
from dispatcher.requests import Button
from dispatcher.settings import Settings
from tests.support.discord_messages import ME, born_at, caption, message_of, raw_message
from tests.support.ledger import Gates, MemoryLedger, account_of, job_of
from workers.upstream import Ended, Outcome
from workers.upstream.discord.brief import Brief
from workers.upstream.discord.matching import Expected, Pressed
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook
from workers.upstream.discord.presses import found_press
from workers.upstream.discord.pursuit import Pursuit
from workers.upstream.discord.watch import Look, Watch

SENT_MS = 1_800_000_000_000
PARENT = born_at(SENT_MS - 3_600_000)
ANSWER = born_at(SENT_MS + 300)
EARLIER = born_at(SENT_MS - 60_000)
EXPECTED = Expected(
    user_id=ME, command="button", earliest_ms=SENT_MS - 2000, latest_ms=SENT_MS + 24_000, pressed=PARENT
)
UNNAMED_S, ABSENT_S = 10.0, 20.0


def metadata(interaction: int, *, pressed: int | None = PARENT, **more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {"id": str(interaction), "type": 3, "user": {"id": str(ME)}}
    return given | ({"interacted_message_id": str(pressed)} if pressed else {}) | more


def named(interaction: int = ANSWER, text: str = "", *, pressed: int | None = PARENT, **more: Any) -> ChannelMessage:
    given = {"flags": 0 if text else 128, "interaction_metadata": metadata(interaction, pressed=pressed), **more}
    return message_of(interaction + 5, text, **given)


def reply(offset_ms: int = 300, text: str = "", *, to: int = PARENT, **more: Any) -> ChannelMessage:
    message_id = born_at(SENT_MS + offset_ms)
    return message_of(message_id, text, type=19, message_reference={"message_id": str(to)}, **more)


def parent(*, edited_ms: int | None = None, file_id: str = "0", **more: Any) -> ChannelMessage:
    edited = datetime.fromtimestamp(edited_ms / 1000, UTC).isoformat() if edited_ms else None
    files = [{"id": file_id, "filename": "0.mp4", "url": "https://cdn/0.mp4", "content_type": "video/mp4"}]
    given: dict[str, Any] = {"edited_timestamp": edited, "attachments": files, **more}
    return message_of(PARENT, given.pop("text", caption("a cat")), interaction=PARENT - 5, **given)


class Channel:
    """Stands in the observer's place; ``pressed`` is the pressed message as it stands, ``listed`` the others."""

    def __init__(self) -> None:
        self.pressed: ChannelMessage | None = parent()
        self.listed: list[ChannelMessage] = []

    def enter(self, watch: Watch) -> None: ...

    def leave(self, watch: Watch) -> None: ...

    def prompts(self) -> dict[int, str]:
        return {}

    async def is_readable(self) -> bool:
        return True

    async def want_list(self) -> None: ...

    async def message(self, message_id: int) -> ChannelMessage | None:
        assert message_id == PARENT
        return self.pressed

    async def page_before(self, message_id: int) -> list[ChannelMessage]:
        return [message for message in self.listed if message.id < message_id]


class Chase:
    """One press under way; `look` shows what is new, and what the channel lists by then."""

    def __init__(self, gates: Gates | None = None, **ledger: Any) -> None:
        self.channel = Channel()
        kept = Parent(jobid="p", messageId=str(PARENT), command="create", prompt="a cat", files=("0",))
        request = Button(jobid="p", button="U1")
        self.ledger = MemoryLedger(gates or Gates(), request, account_of("5"), parent=kept)
        self.ledger._lease = replace(self.ledger.lease, state="S", submitted_ms=SENT_MS, **ledger)
        self.watch = Watch(self.channel, since_id=EARLIER, sent_s=0, is_unanswered=True, prompt="a cat")
        brief = Brief(
            phrases=Phrasebook(Settings()),
            files=1,
            own_words=("a cat",),
            absent_after_s=ABSENT_S,
            expected=None if ledger else EXPECTED,
            is_answered=bool(ledger),
            pressed=Pressed(id=PARENT, files=frozenset({"0"})),
            unnamed_after_s=UNNAMED_S,
            why_absent="it opened a form",
            no_progress_s=600,
            is_over=False,
            secret_version="1",
        )
        self.pursuit = Pursuit(self.ledger, self.watch, brief)
        self.task: asyncio.Task[Outcome] | None = None

    async def look(self, *messages: ChannelMessage, at_s: float = UNNAMED_S) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.pursuit.run())
        known = {message.id: message for message in (*self.channel.listed, *messages)}
        self.channel.listed = [known[message_id] for message_id in sorted(known)]
        self.watch.show(Look(at_s, messages, frozenset(id_ for id_ in known if id_ > EARLIER)))
        for _ in range(20):
            await asyncio.sleep(0)

    async def outcome(self) -> Outcome:
        assert self.task is not None
        async with asyncio.timeout(1):
            return await self.task

    async def end(self) -> Ended:
        ended = await self.outcome()
        assert isinstance(ended, Ended)
        return ended


@pytest.mark.parametrize(
    "answer",
    [named(), named(pressed=None, message_reference={"message_id": str(PARENT)})],
    ids=["names the message", "replies to the message"],
)
async def test_an_answer_that_names_the_press_is_followed_to_its_end(answer: ChannelMessage) -> None:
    chase = Chase()

    await chase.look(answer, at_s=1)
    await chase.look(named(text=caption("a cat"), videos=1), at_s=2)

    assert (await chase.end()).status == "completed"
    assert chase.ledger.lease.remote_id == str(ANSWER)


@pytest.mark.parametrize(
    "message",
    [
        named(pressed=PARENT + 1),
        named(pressed=None),
        named(interaction_metadata=metadata(ANSWER, type=2)),
        named(interaction_metadata=metadata(ANSWER, user={"id": "43"})),
        named(EARLIER),
        named(author={"id": "43", "bot": False}),
    ],
    ids=["another message", "no message", "a command", "another user", "older", "no bot"],
)
def test_anything_else_is_not_ours(message: ChannelMessage) -> None:
    assert not EXPECTED.is_answer(message)


async def test_an_unnamed_reply_is_the_answer_once_a_named_one_is_late() -> None:
    chase = Chase()

    await chase.look(reply(text="(10%)"), at_s=UNNAMED_S - 1)
    assert chase.ledger.lease.remote_id is None
    await chase.look()
    assert chase.ledger.lease.remote_id == str(reply().id)
    await chase.look(reply(text=caption("a cat"), videos=1))

    assert (await chase.end()).status == "completed"


@pytest.mark.parametrize(
    "message",
    [
        reply(to=PARENT + 1),
        reply(-2500),
        reply(24_500),
        reply(text="hello", mentions=[{"id": "43"}]),
        reply(author={"id": "43", "bot": False}),
    ],
    ids=["to another message", "older", "later than our request lived", "to somebody else", "of no bot"],
)
async def test_another_reply_is_not_the_answer(message: ChannelMessage) -> None:
    chase = Chase()

    await chase.look(message)
    await chase.look(at_s=ABSENT_S)

    assert (await chase.end()).error == (
        "not started: the bot did not answer the submission in its channel; it opened a form"
    )


async def test_an_unnamed_reply_may_be_another_presss_where_the_bot_names_presses() -> None:
    chase = Chase()
    other = named(EARLIER + 7)

    await chase.look(other, reply())
    await chase.look(at_s=ABSENT_S)

    assert (await chase.end()).error is not None
    assert chase.ledger.lease.remote_id is None


async def test_an_edit_of_the_pressed_message_is_the_answer_and_brings_the_result() -> None:
    chase = Chase()
    chase.channel.pressed = parent(edited_ms=SENT_MS + 500, text=caption("a cat") + " (20%)")

    await chase.look()
    assert chase.ledger.lease.remote_id == str(PARENT)
    chase.channel.pressed = parent(edited_ms=SENT_MS + 900, file_id="8")
    await chase.look()

    ended = await chase.end()
    assert ended.status == "completed"
    assert ended.message is not None
    assert [file.id for file in ended.message.attachments] == ["8"]


@pytest.mark.parametrize(
    "shown",
    [
        None,
        parent(),
        parent(edited_ms=SENT_MS + 500),
        parent(edited_ms=SENT_MS - 2500, file_id="8"),
    ],
    ids=["gone", "as it was", "only its buttons changed", "edited before the press"],
)
async def test_a_message_that_does_not_show_the_press_is_no_answer(shown: ChannelMessage | None) -> None:
    chase = Chase()
    chase.channel.pressed = shown

    await chase.look()
    await chase.look(at_s=ABSENT_S)

    assert (await chase.end()).error is not None
    assert chase.ledger.events == []


async def test_the_old_result_is_never_taken_for_the_new_one() -> None:
    chase = Chase()
    chase.channel.pressed = parent(edited_ms=SENT_MS + 500, text=caption("a cat") + " (20%)")
    await chase.look()

    chase.channel.pressed = parent(edited_ms=SENT_MS + 700)
    await chase.look()
    assert chase.task is not None
    assert not chase.task.done()
    chase.channel.pressed = parent(edited_ms=SENT_MS + 900, file_id="8")
    await chase.look()

    assert (await chase.end()).status == "completed"


async def test_of_two_presses_that_are_answered_by_edits_the_first_alone_is_known() -> None:
    gates = Gates()
    first, second = Chase(gates), Chase(gates)
    for chase in (first, second):
        chase.channel.pressed = parent(edited_ms=SENT_MS + 500, file_id="8")

    await first.look()
    await second.look()
    await second.look(at_s=ABSENT_S)

    assert (await first.end()).status == "completed"
    assert (await second.end()).error == (
        "ambiguous: the bot answered by editing the pressed message, which another press was answered by"
    )


async def test_another_worker_adopts_an_answer_that_is_an_edit() -> None:
    chase = Chase(remote_id=str(PARENT))
    chase.channel.pressed = parent(edited_ms=SENT_MS + 900, file_id="8")

    await chase.look()

    assert (await chase.end()).status == "completed"


async def test_a_pressed_message_that_goes_while_it_is_the_answer_ends_the_job() -> None:
    chase = Chase(remote_id=str(PARENT))
    chase.channel.pressed = parent(edited_ms=SENT_MS + 500, text=caption("a cat") + " (20%)")
    await chase.look()

    chase.channel.pressed = None
    await chase.look()
    await chase.look()

    assert (await chase.end()).error == "the bot deleted its message"


class OneMessage:
    """Stands in Rest's place: the channel holds one message."""

    def __init__(self, *buttons: dict[str, Any], **more: Any) -> None:
        row = {"type": 1, "components": [{"type": 2, "custom_id": f"c{n}", **b} for n, b in enumerate(buttons)]}
        self.raw = raw_message(PARENT, "done", components=[row], flags=4, **more)

    async def message(self, token: str, channel: str, message_id: int) -> dict[str, Any]:
        assert (token, channel, message_id) == ("token", "5", PARENT)
        return self.raw


async def found(rest: Any, label: str = "U1") -> dict[str, Any]:
    kept = Parent(jobid="p", messageId=str(PARENT), command="create")
    job = job_of(Button(jobid="p", button=label), kept)
    return (await found_press(rest, "token", "5", job, application_id=None)).payload()


async def test_a_press_names_the_button_as_the_message_has_it_now() -> None:
    assert await found(OneMessage({"label": "V1"}, {"label": "U1"}, application_id="77")) == {
        "type": 3,
        "application_id": "77",
        "message_id": str(PARENT),
        "message_flags": 4,
        "data": {"component_type": 2, "custom_id": "c1"},
    }
    assert (await found(OneMessage({"emoji": {"name": "🔀"}}), "🔀"))["application_id"] == "900"


@pytest.mark.parametrize(
    ("buttons", "problem"),
    [
        ([], "is not there, or disabled"),
        ([{"label": "U2"}], "is not there, or disabled"),
        ([{"label": "U1", "disabled": True}], "is not there, or disabled"),
        ([{"label": "U1", "custom_id": None, "url": "https://example.com"}], "is not there, or disabled"),
        ([{"label": "U1"}, {"label": "U1"}], "is there 2 times"),
    ],
)
async def test_a_button_that_cannot_be_told_is_not_pressed(buttons: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(RequestRejected, match=f"button U1 of message {PARENT} {problem}"):
        await found(OneMessage(*buttons))
