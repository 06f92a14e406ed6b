from __future__ import annotations

from typing import Any

import pytest

from dispatcher.settings import Settings
from tests.support.discord_messages import caption, message_of, raw_message
from workers.upstream.discord.messages import ChannelMessage, fingerprint
from workers.upstream.discord.phrases import Phrasebook, Reading, normalised


@pytest.fixture(scope="module")
def phrases() -> Phrasebook:
    return Phrasebook(Settings())


def read(phrases: Phrasebook, text: str, prompt: str = "a cat", files: int = 1, **more: Any) -> Reading:
    return phrases.read(message_of(1, text, **more), files=files, own_words=(normalised(prompt),))


def test_a_thinking_message_says_that_the_job_runs(phrases: Phrasebook) -> None:
    assert read(phrases, "", flags=128) == Reading("running")


def test_progress_is_the_number_after_the_request(phrases: Phrasebook) -> None:
    assert read(phrases, caption("100% wool") + " (45%)", prompt="100% wool") == Reading("running", 45)


def test_a_message_with_the_video_is_the_end(phrases: Phrasebook) -> None:
    assert read(phrases, caption("a cat"), videos=1).says == "completed"


def test_a_preview_on_the_way_is_not_the_end(phrases: Phrasebook) -> None:
    assert read(phrases, caption("a cat") + " (45%)", videos=1) == Reading("running", 45)


def test_four_videos_are_waited_for_unless_buttons_say_that_it_is_done(phrases: Phrasebook) -> None:
    row = {"type": 1, "components": [{"type": 2, "custom_id": "x", "label": "U1"}]}

    assert read(phrases, "", files=4, videos=3).says == "running"
    assert read(phrases, "", files=4, videos=3, components=[row]).says == "completed"
    assert read(phrases, "", files=4, videos=4).says == "completed"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("Generation failed. Please try again later.", "failed"),
        ("Your prompt was blocked: it may contain sensitive content (moderation).", "moderated"),
        ("This violates our community guidelines", "moderated"),
        ("You have too many jobs running, please try again", "busy"),
        ("Concurrency limit reached", "busy"),
        ("(Waiting to start)", "running"),
    ],
)
def test_the_bots_words_are_read_by_the_patterns(phrases: Phrasebook, words: str, says: str) -> None:
    assert read(phrases, caption("a cat") + " " + words).says == says


@pytest.mark.parametrize("prompt", ["generation failed", "nsfw 100%) (too many jobs", "x style: try again (3%)"])
def test_a_prompt_with_the_same_words_proves_nothing(phrases: Phrasebook, prompt: str) -> None:
    assert read(phrases, caption(prompt) + " (45%)", prompt=prompt) == Reading("running", 45)


def test_words_of_the_user_that_stand_elsewhere_make_a_pattern_doubtful(phrases: Phrasebook) -> None:
    assert read(phrases, "working on: generation failed", prompt="generation failed") == Reading("running")


def test_a_failure_in_an_embed_or_a_text_component_is_read_too(phrases: Phrasebook) -> None:
    embed = {"title": "Sorry", "description": "Generation failed"}
    nested = {"type": 17, "components": [{"type": 10, "content": "Generation failed"}]}

    assert read(phrases, "", embeds=[embed]).says == "failed"
    assert read(phrases, "", components=[nested], flags=32768).says == "failed"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("a  cat \u2014 asleep", "a cat -- asleep"),
        ("caf\u00e9", "cafe\u0301"),
        (r"a \*bold\* cat", "a *bold* cat"),
        (" a\ncat ", "a cat"),
    ],
)
def test_what_bots_do_to_a_prompt_is_undone(left: str, right: str) -> None:
    assert normalised(left) == normalised(right)


def test_buttons_are_named_by_label_or_emoji_and_links_are_none() -> None:
    row = {
        "type": 1,
        "components": [
            {"type": 2, "custom_id": "a", "label": "U1"},
            {"type": 2, "custom_id": "b", "emoji": {"name": "🔀"}},
            {"type": 2, "url": "https://pixverse.ai", "label": "Site"},
        ],
    }

    assert message_of(1, components=[row]).buttons == ("U1", "🔀")


@pytest.mark.parametrize(
    "change",
    [{"edited_timestamp": "2026-11-22T20:00:01+00:00"}, {"flags": 128}, {"content": "more"}, {"attachments": [{}]}],
)
def test_any_visible_change_changes_the_fingerprint(change: dict[str, Any]) -> None:
    raw = raw_message(1, "text")

    assert fingerprint(raw) == fingerprint(dict(raw))
    assert fingerprint(raw) != fingerprint({**raw, **change})


def test_unknown_fields_and_missing_ones_do_not_matter() -> None:
    bare = {"id": "5", "author": {"id": "1", "bot": True}, "poll": {"question": {}}}

    assert ChannelMessage.model_validate(bare).shown().messageId == "5"


def test_the_deprecated_interaction_stands_in_for_missing_metadata() -> None:
    old = {"id": "7", "type": 2, "name": "create", "user": {"id": "42"}}

    message = ChannelMessage.model_validate({**raw_message(1), "interaction": old})
    assert message.answers is not None
    assert message.answers.id == 7
