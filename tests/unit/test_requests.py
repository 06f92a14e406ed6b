"""What a caller may ask for: fields and bounds of the contract, and files known by their first bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from dispatcher.errors import RequestInvalid
from dispatcher.requests import REQUESTS, Animate, Button, MemeFace, Request
from tests.support.images import jpeg, png

NEITHER = "Param image is neither a png nor a jpeg file, which its first bytes would say"
PRESS = {"jobid": "20261122203000123ABCDEF", "button": "U1"}


def test_an_animation_takes_all_that_the_contract_names() -> None:
    request = Animate(image=png(), prompt="it smiles", motion=10, seed_value=0, hd_quality="Yes", maxJobs=2)

    assert request.model_dump(exclude={"image"}) == {
        "prompt": "it smiles",
        "motion": 10,
        "seed_value": 0,
        "hd_quality": "Yes",
        "maxJobs": 2,
    }


def test_a_meme_takes_all_that_the_contract_names() -> None:
    request = MemeFace(face=jpeg(), prompt="a hero", negative_prompt="rain", seed_value=7, aspect_ratio="9:16")

    assert request.model_dump(exclude_none=True, exclude={"face"}) == {
        "prompt": "a hero",
        "negative_prompt": "rain",
        "seed_value": 7,
        "aspect_ratio": "9:16",
    }


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (Animate, {}, "Required param image is missing or empty"),
        (Animate, {"image": None}, "Required param image is missing or empty"),
        (Animate, {"image": b""}, "Required param image is missing or empty"),
        (Animate, {"image": "https://host/a.png"}, "Param image value https://host/a.png is not supported"),
        (Animate, {"image": b"GIF89a"}, NEITHER),
        (Animate, {"image": png(), "motion": 0}, "Param motion value 0 is not supported"),
        (Animate, {"image": png(), "motion": 11}, "Param motion value 11 is not supported"),
        (Animate, {"image": png(), "hd_quality": "Maybe"}, "Param hd_quality value Maybe is not supported"),
        (Animate, {"image": png(), "seed_value": -1}, "Param seed_value value -1 is not supported"),
        (Animate, {"image": png(), "prompt": "x" * 513}, "prompt is too long"),
        (Animate, {"image": png(), "style": "Anime"}, "Animate has no field style"),
        (MemeFace, {"prompt": "a hero"}, "Required param face is missing or empty"),
        (MemeFace, {"face": png()}, "Required param prompt is missing or empty"),
        (MemeFace, {"face": png(), "prompt": "a hero", "motion": 5}, "MemeFace has no field motion"),
        (Button, {"button": "U1"}, "Required param jobid is missing or empty"),
        (Button, {"jobid": "x"}, "Required param button is missing or empty"),
        (Button, {**PRESS, "button": "U" * 81}, "button is too long"),
        (Button, {**PRESS, "prompt": "x" * 513}, "prompt is too long"),
    ],
)  # fmt: skip
def test_what_is_not_acceptable_is_told_in_the_contracts_words(
    kind: type[Request], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestInvalid) as refused:
        kind(**fields)

    assert str(refused.value) == message


def test_an_empty_optional_value_is_an_absent_one() -> None:
    request = Animate(image=png(), prompt="", motion="", seed_value="", hd_quality="")

    assert request.model_dump(exclude_none=True, exclude={"image"}) == {}
    assert Button(**PRESS, prompt="").prompt is None


@pytest.mark.parametrize(
    ("content", "type_", "ending"), [(png(), "image/png", "png"), (jpeg(), "image/jpeg", "jpg")], ids=["png", "jpeg"]
)
def test_a_file_is_known_by_its_first_bytes_and_named_by_its_content(
    tmp_path: Path, content: bytes, type_: str, ending: str
) -> None:
    path = tmp_path / "misnamed.gif"
    path.write_bytes(content)

    upload = Animate(image=path).image

    assert upload == Animate(image=content).image
    assert (upload.size, upload.type) == (len(content), type_)
    assert upload.object == f"uploads/{hashlib.sha256(content).hexdigest()}.{ending}"


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        RequestInvalid, match=f"Param face cannot be read: {tmp_path / 'none.png'}: No such file"
    ) as refused:
        MemeFace(face=tmp_path / "none.png", prompt="a hero")

    assert refused.value.field == "face"


def test_a_file_beyond_all_bounds_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.uploads.READ_MAX_BYTES", 20)
    path = tmp_path / "large.png"
    path.write_bytes(png("x" * 13))

    with pytest.raises(RequestInvalid, match="image is too large: at most 20 bytes are taken"):
        Animate(image=path)


def test_bytes_are_in_no_dump_and_no_repr() -> None:
    request = Animate(image=png("words that nobody shall read"))

    assert set(request.model_dump()["image"]) == {"size", "type", "object"}
    assert "nobody" not in request.model_dump_json() + repr(request)


@pytest.mark.parametrize(
    "name",
    [
        "../secret.key",
        "uploads/../../secret.key",
        "results/a.png",
        f"uploads/{'g' * 64}.png",
        f"uploads/{'a' * 64}.gif",
    ],
)
def test_a_record_can_name_nothing_but_an_upload(name: str) -> None:
    with pytest.raises(RequestInvalid):
        Animate(image={"size": 3, "type": "image/png", "object": name})


def test_a_request_reads_again_from_its_own_record() -> None:
    request = MemeFace(face=png(), prompt="a hero")

    again = REQUESTS["meme_face"](**request.model_dump(exclude_none=True))

    assert again.model_dump() == request.model_dump()
    assert again.uploads()["face"].content is None
