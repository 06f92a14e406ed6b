from __future__ import annotations

from typing import Any

import pytest

from dispatcher.settings import Settings
from tests.support.discord_messages import ME, born_at, caption, message_of
from workers.upstream.discord.matching import Expected, plain_result
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook, normalised

SENT_MS = 1_800_000_000_000
EXPECTED = Expected(user_id=ME, command="create", earliest_ms=SENT_MS - 2000, latest_ms=SENT_MS + 24_000)


def answer(offset_ms: int = 300, **more: Any) -> ChannelMessage:
    interaction = born_at(SENT_MS + offset_ms)
    return message_of(interaction + 5, flags=128, interaction=interaction, **more)


def test_the_answer_to_our_submission_is_known_without_any_text() -> None:
    assert EXPECTED.is_answer(answer())


@pytest.mark.parametrize(
    "message",
    [
        answer(user=43),
        answer(name="imagine"),
        answer(author={"id": "43", "bot": False}),
        answer(interaction_metadata=None),
        answer(offset_ms=-2500),
        answer(offset_ms=24_500),
    ],
    ids=["another user", "another command", "no bot", "no interaction", "older", "later than our request lived"],
)
def test_anything_else_is_not_ours(message: ChannelMessage) -> None:
    assert not EXPECTED.is_answer(message)


def test_another_application_is_not_ours_where_one_is_configured() -> None:
    expected = Expected(user_id=ME, command="create", earliest_ms=0, latest_ms=SENT_MS + 24_000, application_id="900")

    assert expected.is_answer(answer(application_id="900"))
    assert not expected.is_answer(answer(application_id="901"))


PHRASES = Phrasebook(Settings())


def asked(interaction: int, prompt: str | None = "a cat") -> ChannelMessage:
    if prompt is None:
        return message_of(interaction + 1, interaction=interaction, flags=128)
    return message_of(interaction + 1, caption(prompt) + " (100%)", interaction=interaction)


def result(message_id: int, prompt: str = "a cat") -> ChannelMessage:
    return message_of(message_id, caption(prompt), videos=1)


def found(*messages: ChannelMessage, prompts: dict[int, str] | None = None) -> ChannelMessage | str | None:
    return plain_result(
        messages, remote_id=10, user_id=ME, phrases=PHRASES, prompts={10: normalised("a cat"), **(prompts or {})}
    )


def test_a_plain_result_belongs_to_the_only_job_with_its_prompt() -> None:
    assert found(asked(10), asked(20, "a dog"), result(30)) == result(30)


def test_a_rewritten_prompt_is_the_same_prompt() -> None:
    assert found(asked(10), result(30, "a   cat")) == result(30, "a   cat")


def test_a_prompt_that_only_contains_ours_is_another() -> None:
    assert found(asked(10), result(30, "a cat on a mat")) is None


def test_a_result_from_before_the_job_is_not_its() -> None:
    assert found(asked(5), result(7), asked(10)) is None


def test_the_second_of_two_jobs_in_a_row_gets_the_second_result() -> None:
    assert found(asked(5), result(7), asked(10), result(30)) == result(30)


def test_of_two_jobs_with_one_prompt_nobody_gets_the_first_result() -> None:
    assert found(asked(10), asked(20), result(30)) is None


def test_two_results_for_two_jobs_end_both_as_ambiguous() -> None:
    assert found(asked(10), asked(20), result(30), result(40)) == "ambiguous"


def test_a_job_whose_prompt_is_not_known_yet_may_share_it() -> None:
    assert found(asked(10), asked(20, None), result(30)) is None
    assert found(asked(10), asked(20, None), result(30), prompts={20: "a dog"}) == result(30)


def test_a_job_that_brought_its_result_itself_shares_nothing() -> None:
    done = message_of(21, caption("a cat"), interaction=20, videos=1)

    assert found(asked(10), done, result(30)) == result(30)


def test_a_result_that_mentions_somebody_else_is_not_ours() -> None:
    stranger = message_of(30, caption("a cat"), videos=1, mentions=[{"id": "43"}])

    assert found(asked(10), stranger) is None


def test_a_plain_message_without_a_result_is_none() -> None:
    assert found(asked(10), message_of(30, caption("a cat") + " (50%)")) is None
