from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from dispatcher.errors import AccountRejected
from dispatcher.loop import cancel_until_done
from tests.support.discord_chase import REMOTE, SENT_MS, Chase, answer
from tests.support.discord_messages import born_at, caption, message_of
from workers.upstream import Ended, Refused


@pytest.fixture
async def chases() -> AsyncIterator[list[Chase]]:
    started: list[Chase] = []
    yield started
    for chase in started:
        if chase.task:
            await cancel_until_done(chase.task)


@pytest.fixture
def chase(chases: list[Chase]) -> Chase:
    chases.append(Chase())
    return chases[0]


async def test_the_first_answer_is_claimed_and_followed_to_its_end(chase: Chase) -> None:
    await chase.look(answer())
    await chase.look(answer(caption("a cat"), videos=1))

    outcome = await chase.outcome()

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert chase.gates.claims == {str(REMOTE): chase.ledger.job.id}


async def test_an_answer_that_is_another_jobs_is_passed_over(chase: Chase) -> None:
    chase.gates.claims[str(REMOTE)] = "another job"
    own = born_at(SENT_MS + 900)

    await chase.look(answer())
    await chase.look(message_of(own + 5, interaction=own, flags=128))

    assert chase.ledger.lease.remote_id == str(own)


async def test_no_answer_in_time_on_a_channel_that_was_read_means_not_started(chase: Chase) -> None:
    await chase.look(at_s=99)
    assert chase.is_running
    await chase.look(at_s=101)

    outcome = await chase.outcome()

    assert isinstance(outcome, Ended)
    assert (outcome.error or "").startswith("not started: ")


async def test_a_channel_that_shows_nothing_although_it_has_messages_decides_nothing(chase: Chase) -> None:
    chase.eyes.readable = False

    await chase.look(at_s=101)
    await chase.look(at_s=10_000)

    assert chase.is_running
    assert chase.ledger.events == []


async def test_a_message_is_believed_deleted_when_two_lists_lack_it(chase: Chase) -> None:
    await chase.look(answer())
    await chase.look(listed={7})
    assert chase.is_running
    await chase.look(listed={7, REMOTE + 5})
    await chase.look(listed={7})
    assert chase.is_running
    await chase.look(listed={7})

    assert await chase.outcome() == Ended(status="failed", error="the bot deleted its message")


async def test_messages_that_all_vanish_from_an_unreadable_channel_were_not_deleted(chase: Chase) -> None:
    await chase.look(answer())
    chase.eyes.readable = False

    for _ in range(4):
        await chase.look(listed=set())

    assert chase.is_running


async def test_a_job_without_progress_is_over_for_its_caller_once_and_its_slot_stays_held(chases: list[Chase]) -> None:
    chases.append(chase := Chase(no_progress_s=60))
    await chase.look(answer())
    now_s = time.monotonic()

    for later_s in (30, 61, 62, 1000):
        await chase.look(at_s=now_s + later_s, listed={REMOTE + 5})

    assert chase.ledger.error == "no progress for 60 s"
    assert chase.ledger.events == ["A", "D"]
    assert chase.is_running


async def test_an_overdue_job_that_ends_after_all_says_how(chases: list[Chase]) -> None:
    chases.append(chase := Chase(no_progress_s=0))
    await chase.look(answer())
    await chase.look(at_s=time.monotonic() + 1, listed={REMOTE + 5})
    await chase.look(answer(caption("a cat"), videos=1))

    outcome = await chase.outcome()

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert chase.ledger.events == ["A", "D"]


async def test_a_channel_that_may_not_be_read_any_more_fails_an_accepted_job_for_its_caller_only(chase: Chase) -> None:
    await chase.look(answer())
    for _ in range(2):
        chase.watch.fail(AccountRejected("discord", "401"))
        await asyncio.sleep(0.01)

    assert chase.ledger.events == ["A", "D"]
    assert "401" in (chase.ledger.error or "")
    assert chase.is_running


async def test_a_submission_in_a_channel_that_may_not_be_read_stays_undecided(chase: Chase) -> None:
    await chase.look(at_s=1)
    chase.watch.fail(AccountRejected("discord", "401"))
    await asyncio.sleep(0.01)

    assert chase.ledger.events == []
    assert chase.is_running


async def test_a_job_that_is_over_already_is_not_made_overdue(chases: list[Chase]) -> None:
    chases.append(chase := Chase(no_progress_s=0, is_over=True))
    await chase.look(answer())
    await chase.look(at_s=time.monotonic() + 1, listed={REMOTE + 5})

    assert chase.ledger.events == ["A"]


async def test_a_bot_that_says_it_is_busy_hands_the_job_back(chase: Chase) -> None:
    await chase.look(answer("You have too many jobs running."))

    outcome = await chase.outcome()

    assert isinstance(outcome, Refused)
    assert (outcome.counted, outcome.cool_s, outcome.cools, outcome.disable) == (True, 0, "said", None)


@pytest.mark.parametrize(
    ("words", "again"), [("Generation failed, try again", True), ("This violates our content policy", False)]
)
async def test_only_a_failure_in_the_bots_own_words_may_be_tried_again(chase: Chase, words: str, again: bool) -> None:
    await chase.look(answer())
    await chase.look(answer(words))

    ended = await chase.outcome()
    assert isinstance(ended, Ended)
    assert (ended.status, ended.again) == ("failed" if again else "moderated", again)


async def test_the_window_narrows_to_the_jobs_own_message(chase: Chase) -> None:
    await chase.look(answer())

    assert chase.watch.since_id == REMOTE + 4
    assert not chase.watch.is_unanswered


async def test_a_result_without_a_name_is_weighed_again_when_an_older_job_may_have_ended_unseen() -> None:
    chase = Chase()
    earlier, answered, result = born_at(SENT_MS - 900), born_at(SENT_MS + 400), born_at(SENT_MS + 9000)
    older = message_of(earlier + 1, caption("a cat") + " (45%)", interaction=earlier)
    own = message_of(answered, caption("a cat") + " (100%)", interaction=REMOTE)
    plain = message_of(result, caption("a cat"), videos=1)
    chase.eyes.page = [older, own, plain]
    await chase.look(own)
    await chase.look(plain, listed={own.id, plain.id}, at_s=2)
    chase.eyes.page = [message_of(older.id, caption("a cat"), interaction=earlier, videos=1), own, plain]

    await chase.look(listed={own.id, plain.id}, at_s=3)
    is_undecided = chase.task is not None and not chase.task.done()
    await chase.look(listed={own.id, plain.id}, at_s=20)
    outcome = await chase.outcome()

    assert is_undecided
    assert isinstance(outcome, Ended)
    assert outcome.message is not None
    assert (outcome.status, outcome.message.messageId) == ("completed", str(plain.id))
