"""What a caller may say beside a request: whatever passes can be stored and read again."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.connected import Patience
from dispatcher.errors import RequestInvalid
from dispatcher.models import short_id
from dispatcher.options import Options, check_list, check_request, check_user
from dispatcher.requests import Create, CreateSingle, Request

HALF_A_PAIR = "\ud83d"
WRONG: list[tuple[str, Any]] = [
    *[("user", value) for value in (0, -5, 1.0, True, "1", "1:discord:x", None, 2**53)],
    *[("priority", value) for value in (1.5, 1.0, True, "1", None, 101, -101, 10**400)],
    *[("deadline_s", value) for value in (0, -1, math.nan, math.inf, -math.inf, "5", True, 1e300, 10**400)],
    *[("idempotency_key", value) for value in ("", "x" * 256, 5, b"k", HALF_A_PAIR)],
    *[("channel", value) for value in ("", 1197013797467074001, "1" * 65, HALF_A_PAIR)],
    *[("reply_ref", value) for value in ("", "x" * 1025, 5, HALF_A_PAIR)],
    ("mode", "hope"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(RequestInvalid, match=name) as refused:
        Options(**{name: value})

    assert refused.value.field == name
    assert len(str(refused.value)) < 150


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("user", value) for value in (1, 2**53 - 1)],
        *[("priority", value) for value in (-100, 0, 100)],
        *[("deadline_s", value) for value in (None, 0.001, 5, 366 * 86_400)],
        *[("idempotency_key", value) for value in (None, "k", "ä" * 255)],
        ("channel", "1197013797467074001"),
        ("reply_ref", "x" * 1024),
    ],
)
def test_a_value_on_the_border_is_taken(name: str, value: Any) -> None:
    assert getattr(Options(**{name: value}), name) == value


@given(st.sampled_from([row[0] for row in WRONG]), st.none() | st.booleans() | st.integers() | st.floats() | st.text())
def test_any_value_is_taken_or_refused_by_name(name: str, value: Any) -> None:
    try:
        Options(**{name: value})
    except RequestInvalid as refused:
        assert refused.field == name  # noqa: PT017 (either way is right)


def test_a_refused_text_is_not_echoed() -> None:
    with pytest.raises(RequestInvalid) as refused:
        Options(deadline_s="hunter2")  # type: ignore[arg-type]  # the claim itself

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("user", [0, -5, "1:discord:x", True])
def test_what_is_no_user_is_refused(user: Any) -> None:
    with pytest.raises(RequestInvalid, match="user"):
        check_user(user)


@pytest.mark.parametrize("request_", [Request(), {"prompt": "x"}, None, Create])
def test_what_names_no_work_is_refused(request_: Any) -> None:
    with pytest.raises(RequestInvalid, match="is not a request"):
        check_request(request_, upload_max_bytes=1)


def test_what_names_work_is_taken() -> None:
    check_request(CreateSingle(prompt="a calm sea", style="Anime"), upload_max_bytes=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("status", value) for value in ("nope", "", 5)],
        *[("limit", value) for value in ("x", 0, -1, 10_001, True, 1.5, None)],
        *[("before", value) for value in (5, b"x")],
    ],
)
def test_what_no_list_can_be_asked_for_is_refused_by_name(name: str, value: Any) -> None:
    asked: dict[str, Any] = {"status": None, "limit": 100, "before": None}

    with pytest.raises(RequestInvalid) as refused:
        check_list(**{**asked, name: value})

    assert refused.value.field == name


def test_what_a_list_can_be_asked_for_is_taken() -> None:
    check_list(status="failed", limit=1, before=datetime.now(UTC))
    check_list(status=None, limit=10_000, before="20261122203000123ABCDEF")


@pytest.mark.parametrize("timeout_s", [math.nan, "5", True])
def test_what_is_no_length_of_time_is_refused(timeout_s: Any) -> None:
    with pytest.raises(RequestInvalid, match="timeout_s"):
        Patience(timeout_s)


def test_a_lone_surrogate_in_an_id_names_no_job() -> None:
    assert short_id(HALF_A_PAIR) == "?"
