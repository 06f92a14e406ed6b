from __future__ import annotations

from simulator.clip import Clip


def boxes_of(content: bytes) -> list[tuple[str, bytes]]:
    """Read the top-level boxes of an mp4 as (name, payload); sizes must add up to the whole file."""
    boxes, at = [], 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 4])
        assert 8 <= size <= len(content) - at
        boxes.append((content[at + 4 : at + 8].decode(), content[at + 8 : at + size]))
        at += size
    return boxes


def test_the_clip_is_a_small_mp4_that_can_play_while_it_loads() -> None:
    clip = Clip()

    names = [name for name, _ in boxes_of(clip.content)]

    assert len(clip.content) < 8192
    assert names[0] == "ftyp"
    assert names.index("moov") < names.index("mdat")
    assert (clip.width, clip.height) == (160, 90)


def test_a_stamp_is_a_box_of_its_own_after_the_untouched_clip() -> None:
    clip = Clip()

    stamped = clip.stamped("1574155637053456384", 2)

    name, payload = boxes_of(stamped)[-1]
    assert stamped.startswith(clip.content)
    assert (name, payload[:16], payload[16:]) == ("uuid", b"pixverse-simulat", b"1574155637053456384/2")


def test_no_two_results_are_the_same_bytes() -> None:
    clip = Clip()

    results = {clip.stamped(interaction_id, index) for interaction_id in ("1", "2") for index in (1, 2, 3, 4)}

    assert len(results) == 8
