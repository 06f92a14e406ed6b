"""Where a caller wants to be called back: what is taken, what is refused, what is shown of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import RequestInvalid
from dispatcher.options import Options
from dispatcher.reply_url import check_reply_url, shown_url

HALF_A_PAIR = "\ud83d"
PLACES = ("http://a.example:8080/x?ind=3", "https://u:p@a.example/", "http://127.0.0.1/", "http://[::1]:9/x")
WRONG = (
    *("", "x", "ftp://a.example/x", "http://", "http://[", "http://a.example:x/", "http://a.example:0/", "http:/x"),
    *(5, b"http://a.example/", "http://a.example/ b", "http://a.example/\n", HALF_A_PAIR, f"http://a.ex/{HALF_A_PAIR}"),
)


@pytest.mark.parametrize("url", [*PLACES, "https://a.example/".ljust(1024, "x")])
def test_an_address_is_taken_wherever_it_leads(url: str) -> None:
    assert Options(reply_url=url).reply_url == url


@pytest.mark.parametrize("url", WRONG)
def test_what_is_no_web_address_is_refused_in_words_that_can_be_answered_with(url: Any) -> None:
    with pytest.raises(RequestInvalid, match=r"(?s)\AParam replyUrl value .*is not supported\Z") as refused:
        Options(reply_url=url)

    assert refused.value.field == "replyUrl"
    assert str(refused.value).encode()


def test_a_long_one_is_refused_in_the_words_of_the_contract() -> None:
    with pytest.raises(RequestInvalid) as refused:
        Options(reply_url="http://a.example/".ljust(1025, "x"))

    assert str(refused.value) == "replyUrl is too long"


@given(st.none() | st.integers() | st.text() | st.text().map("http://{}".format))
def test_any_value_is_taken_or_refused_by_name(value: Any) -> None:
    try:
        check_reply_url(value)
    except RequestInvalid as refused:
        assert refused.field == "replyUrl"  # noqa: PT017 (either way is right)
    else:
        shown_url(value)


def test_what_may_be_secret_of_it_is_not_shown() -> None:
    url = "https://user:hunter2@a.example:8443/hooks/x?key=hunter2#hunter2"

    assert shown_url(url) == "https://a.example:8443/hooks/x"
