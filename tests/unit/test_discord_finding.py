"""What a session tells of a job's interaction, as a pursuit takes it: exact, at once, and never more than it says."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from dispatcher.loop import cancel_until_done
from tests.support.discord_chase import NONCES, REMOTE, SENT_MS, Chase, answer
from tests.support.discord_messages import ME, born_at, caption, message_of
from workers.upstream import Ended, Refused
from workers.upstream.discord.matching import Expected, Pressed
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.nonces import nonces_of

ANOTHER = born_at(SENT_MS + 100)
PARENT = born_at(SENT_MS - 60_000)
PRESS = Expected(user_id=ME, command="", earliest_ms=SENT_MS - 2000, latest_ms=SENT_MS + 24_000, pressed=PARENT)
Make = Callable[..., Chase]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Chases whose time to answer never ends."""
    made: list[Chase] = []

    def make(**options: Any) -> Chase:
        made.append(Chase(**{"absent_after_s": math.inf, **options}))
        return made[-1]

    yield make
    for chase in made:
        if chase.task:
            await cancel_until_done(chase.task)


def pressed_answer(interaction: int) -> ChannelMessage:
    named = {"id": str(interaction), "type": 3, "user": {"id": str(ME)}, "interacted_message_id": str(PARENT)}
    return message_of(interaction + 5, flags=128, interaction_metadata=named)


def later_s() -> float:
    return time.monotonic() + 1


def error_of(outcome: object) -> str:
    assert isinstance(outcome, Ended)
    return outcome.error or ""


def test_a_submissions_names_follow_from_its_job_and_instant_alone() -> None:
    first, again = nonces_of("20260101000000000ABCDEF", SENT_MS)

    assert nonces_of("20260101000000000ABCDEF", SENT_MS) == (first, again)
    assert int(again) == int(first) + 1
    assert born_at(SENT_MS) <= int(first) < born_at(SENT_MS + 1)
    assert max(len(first), len(again)) <= 25


def test_no_two_jobs_of_a_thousand_have_one_name_within_a_millisecond() -> None:
    names = [nonces_of(f"20260101000000000{number:06}", SENT_MS) for number in range(300)]

    assert len({name for pair in names for name in pair}) == 2 * len(names)


async def test_an_interaction_that_was_told_before_is_claimed_before_anything_is_seen(make: Make) -> None:
    chase = make()
    await chase.fates.tell("d", REMOTE, NONCES[0], "created")

    chase.start()
    await chase.settled()

    assert chase.gates.claims == {str(REMOTE): chase.ledger.job.id}
    assert (chase.ledger.events, chase.ledger.shown) == (["A"], [])


async def test_the_repetition_of_an_outdated_command_is_the_jobs_as_well(make: Make) -> None:
    chase = make()

    await chase.tell("created", nonce=NONCES[1])

    assert chase.ledger.lease.remote_id == str(REMOTE)


async def test_of_two_answers_that_both_match_the_told_one_is_the_jobs(make: Make) -> None:
    chase = make()
    await chase.tell("created")

    await chase.look(message_of(ANOTHER + 5, interaction=ANOTHER, flags=128), answer())
    await chase.look(message_of(ANOTHER + 5, caption("a cat"), interaction=ANOTHER, videos=1))
    await chase.look(answer(caption("a cat"), videos=1))

    outcome = await chase.outcome()
    assert isinstance(outcome, Ended)
    assert outcome.message is not None
    assert outcome.message.messageId == str(REMOTE + 5)


@pytest.mark.parametrize("nonce", ["73", "written by hand"])
async def test_an_interaction_that_was_told_of_another_nonce_is_never_matched(make: Make, nonce: str) -> None:
    chase = make()
    await chase.tell("created", ANOTHER, nonce)

    await chase.look(message_of(ANOTHER + 5, interaction=ANOTHER, flags=128))
    assert chase.gates.claims == {}
    await chase.look(answer())

    assert chase.ledger.lease.remote_id == str(REMOTE)


async def test_what_was_told_without_a_nonce_may_still_be_matched(make: Make) -> None:
    chase = make()
    await chase.tell("created", nonce=None)

    await chase.look(answer())

    assert chase.ledger.lease.remote_id == str(REMOTE)


async def test_a_told_interaction_that_another_job_had_matched_leaves_the_job_to_match(make: Make) -> None:
    chase = make()
    chase.gates.claims[str(ANOTHER)] = "another job"

    await chase.tell("created", ANOTHER)
    await chase.look(answer())

    assert chase.ledger.lease.remote_id == str(REMOTE)


async def test_a_claimed_interaction_without_an_answer_yet_is_not_called_deleted(make: Make) -> None:
    chase = make(absent_after_s=100)
    await chase.tell("created")

    for at_s in (1, 2, 3, 99):
        await chase.look(at_s=at_s)
    assert chase.is_running
    await chase.look(at_s=101)

    assert error_of(await chase.outcome()).startswith("not started: the bot did not answer")


async def test_a_successor_of_who_claimed_it_does_not_call_it_deleted_either(make: Make) -> None:
    chase = make(absent_after_s=100, remote_id=REMOTE, expected=None)

    for at_s in (1, 2, 3):
        await chase.look(at_s=at_s)
    assert chase.is_running
    await chase.look(at_s=101)

    assert error_of(await chase.outcome()).startswith("not started: ")


async def test_the_first_message_of_a_claimed_interaction_starts_the_job_for_its_caller(make: Make) -> None:
    chase = make()
    await chase.tell("created")

    await chase.look(answer())

    assert [shown.messageId for shown in chase.ledger.shown] == [str(REMOTE + 5)]
    assert chase.ledger.events == ["A", "A"]
    assert not chase.watch.is_unanswered


async def test_a_hint_that_is_lost_is_made_up_for_by_the_next_list(make: Make) -> None:
    chase = make()
    await chase.look()
    await chase.fates.tell("d", REMOTE, NONCES[0], "created")
    await chase.settled()
    assert chase.gates.claims == {}

    await chase.look(at_s=2)

    assert chase.ledger.lease.remote_id == str(REMOTE)


async def test_a_failure_ends_the_job_by_a_list_that_begins_after_it_and_has_one_read(make: Make) -> None:
    chase = make()
    before_s = time.monotonic()
    await chase.tell("failed", reason=2)
    await chase.tell("created")

    await chase.look(at_s=before_s)
    assert (chase.is_running, chase.eyes.wanted) == (True, 1)
    await chase.look(at_s=later_s())

    assert error_of(await chase.outcome()) == (
        "not started: the bot did not answer the submission in its channel; "
        "Discord, too, says that it did not answer in time"
    )


async def test_a_failure_of_an_unknown_reason_names_none(make: Make) -> None:
    chase = make()
    await chase.tell("failed", reason=1)
    await chase.look(at_s=later_s())

    assert error_of(await chase.outcome()).endswith("Discord, too, says that it did not answer")


@pytest.mark.parametrize("seen", ["listed", "told", "after"])
async def test_a_failure_is_not_believed_where_an_answer_is_known(make: Make, seen: str) -> None:
    chase = make()
    if seen == "listed":
        await chase.look(answer())
    if seen == "told":
        await chase.tell("succeeded")
    await chase.tell("failed", reason=2)

    await chase.look(answer(), at_s=later_s())
    await chase.look(at_s=later_s(), listed={REMOTE + 5})

    assert chase.is_running


async def test_a_failure_beside_a_told_answer_has_no_list_read(make: Make) -> None:
    chase = make()
    await chase.tell("succeeded")
    await chase.tell("failed", reason=2)

    await chase.look(at_s=later_s())

    assert (chase.is_running, chase.eyes.wanted) == (True, 0)


async def test_a_press_is_claimed_with_the_answer_to_the_interaction_that_was_told(make: Make) -> None:
    chase = make(expected=PRESS, pressed=Pressed(id=PARENT, files=frozenset()), unnamed_after_s=math.inf)

    await chase.tell("created")
    await chase.look(pressed_answer(ANOTHER))
    assert chase.gates.claims == {}
    await chase.look(pressed_answer(REMOTE))

    assert chase.gates.claims == {str(REMOTE): chase.ledger.job.id}


async def test_a_form_ends_the_job_without_any_look(make: Make) -> None:
    chase = make()
    await chase.tell("succeeded")

    await chase.tell("form")

    assert error_of(await chase.outcome()) == "not started: the command opens a form, which is not filled in"


async def test_a_form_of_a_job_that_was_answered_in_the_channel_is_not_believed(make: Make) -> None:
    chase = make()
    await chase.look(answer())

    await chase.tell("form")

    assert chase.is_running


async def test_a_refusal_that_no_list_shows_ends_the_job_in_the_bots_words(make: Make) -> None:
    chase = make()

    await chase.tell_unlisted("You have too many jobs running.")

    outcome = await chase.outcome()
    assert isinstance(outcome, Refused)
    assert (outcome.cools, chase.ledger.events) == ("said", ["A"])


async def test_an_unlisted_answer_that_refuses_nothing_is_not_followed_and_no_absence_ends_the_job(make: Make) -> None:
    chase = make(absent_after_s=0)
    await chase.tell_unlisted("", flags=64 | 128)

    for at_s in (1, 2, 3, 4):
        await chase.look(at_s=at_s)
    assert chase.is_running
    assert chase.ledger.shown == []
    await chase.tell_unlisted("This violates our content policy", edited_timestamp="2026-11-22T20:00:05.000000+00:00")

    outcome = await chase.outcome()
    assert isinstance(outcome, Ended)
    assert outcome.status == "moderated"


async def test_after_an_unlisted_answer_the_channels_is_followed(make: Make) -> None:
    chase = make()
    await chase.tell_unlisted("Your job will start soon")
    await chase.look(answer())
    await chase.look(answer(caption("a cat"), videos=1))

    outcome = await chase.outcome()

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


async def test_an_unlisted_video_is_no_result(make: Make) -> None:
    chase = make()

    await chase.tell_unlisted(caption("a cat"), videos=1)

    assert chase.is_running


async def test_an_unlisted_word_beside_an_answer_in_the_channel_ends_nothing(make: Make) -> None:
    chase = make()
    await chase.look(answer())

    await chase.tell_unlisted("The direct message failed")

    assert chase.is_running


async def test_an_answer_that_shows_nothing_in_the_channel_is_called_that(make: Make) -> None:
    chase = make(absent_after_s=100)
    await chase.tell("succeeded")
    await chase.look(at_s=101)

    assert error_of(await chase.outcome()) == (
        "not started: the bot answered the submission with nothing that its channel shows"
    )


@pytest.mark.parametrize("hint", ["fate other 7 71", "fate d 7 73", "fate d 8 a b c"])
async def test_hints_of_others_wake_nobody(make: Make, hint: str) -> None:
    chase = make()
    chase.start()
    await chase.settled()
    await chase.fates.tell("d", REMOTE, NONCES[0], "created")

    chase.fates.hear(hint)
    await chase.settled()

    assert chase.gates.claims == {}
