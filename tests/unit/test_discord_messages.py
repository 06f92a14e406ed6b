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


def gallery_of(*ids: int) -> dict[str, Any]:
    media = [
        {"id": "9", "url": f"https://cdn/1/{n}/a%20{n}.mp4?ex=1", "content_type": "video/mp4", "attachment_id": str(n)}
        for n in ids
    ]
    gallery = {"type": 12, "items": [{"media": one, "description": None, "spoiler": False} for one in media]}
    return {"type": 17, "components": [{"type": 10, "content": caption("a cat")}, gallery]}


def test_the_files_and_words_of_components_are_the_messages(phrases: Phrasebook) -> None:
    message = message_of(1, flags=32_768, components=[gallery_of(5, 6)])

    assert [(file.id, file.filename) for file in message.attachments] == [("5", "a 5.mp4"), ("6", "a 6.mp4")]
    assert phrases.read(message, files=2, own_words=()).says == "completed"
    assert phrases.prompt_in(message) == "a cat"


def test_a_file_that_is_listed_and_shown_is_one_file_and_a_foreign_picture_none() -> None:
    foreign = {"type": 12, "items": [{"media": {"id": "9", "url": "https://elsewhere/x.png"}}]}

    message = message_of(1, videos=1, components=[gallery_of(0), foreign])

    assert [file.id for file in message.attachments] == ["0"]


def test_the_file_of_a_file_component_is_the_messages() -> None:
    file = {"url": "https://cdn/1/7/b.mp4", "content_type": "video/mp4", "attachment_id": "7"}

    message = message_of(1, components=[{"type": 13, "file": file, "size": 5}])

    assert [file.filename for file in message.attachments] == ["b.mp4"]


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
