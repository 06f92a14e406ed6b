"""The caller's own entry: who it is, and where its jobs are reported by default."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from dispatcher.connection import Store
from dispatcher.profiles import Profile, Profiles
from dispatcher.settings import Settings
from tests.support.api import registered_token

PATH = "/v2/account"
HOOK = "https://example.com/hook?ind=3"


async def test_a_caller_is_told_who_it_is_under_both_versions(api: httpx.AsyncClient) -> None:
    one, two = await api.get("/v1/account"), await api.get(PATH)

    body = two.json()
    assert (one.status_code, two.status_code, one.json()) == (200, 200, body)
    assert body.keys() == {"email", "created", "name", "verified", "sub", "replyUrl"}
    assert (body["email"], body["verified"], body["sub"], body["replyUrl"]) == ("", True, "user:1", "")


async def test_what_is_said_is_kept_and_shown_and_the_rest_stays(
    api: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    named = await api.post(PATH, json={"name": "Ada"})
    hooked = await api.post(f"{PATH}/", json={"replyUrl": HOOK, "name": None})
    read = await api.get(PATH)

    assert (named.status_code, named.json()["name"], named.json()["replyUrl"]) == (200, "Ada", "")
    assert hooked.json() == read.json()
    assert (read.json()["name"], read.json()["replyUrl"]) == ("Ada", HOOK)
    assert store.do(Profiles(settings).get(1)) == Profile(name="Ada", reply_url=HOOK)


async def test_empty_text_takes_it_back_and_nothing_changes_nothing(api: httpx.AsyncClient) -> None:
    await api.post(PATH, json={"name": "Ada", "replyUrl": HOOK})

    nothing = await api.post(PATH, json={})
    taken = await api.post(PATH, json={"replyUrl": ""})

    assert nothing.json()["replyUrl"] == HOOK
    assert (taken.json()["name"], taken.json()["replyUrl"]) == ("Ada", "")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"replyUrl": f"https://h/{'a' * 1015}"}, "replyUrl is too long"),
        ({"name": "a" * 256}, "name is too long"),
        ({"replyUrl": "ftp://example.com"}, "Param replyUrl value ftp://example.com is not supported"),
        ({"replyUrl": "https://"}, "Param replyUrl value https:// is not supported"),
        ({"replyUrl": 5}, "Param replyUrl is not text"),
        ({"name": ["Ada"]}, "Param name is not text"),
        ({"name": "Ada", "replyUrl": "nonsense"}, "Param replyUrl value nonsense is not supported"),
    ],
)
async def test_what_cannot_be_kept_is_refused_and_nothing_is_stored(
    api: httpx.AsyncClient, body: dict[str, Any], error: str
) -> None:
    answer = await api.post(PATH, json=body)

    assert (answer.status_code, answer.json()) == (400, {"error": error, "code": 400})
    assert (await api.get(PATH)).json()["name"] == ""


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'"text"', b"5"])
async def test_a_body_that_is_no_object_is_refused(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post(PATH, content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()) == (400, {"error": "Request body is not a JSON object", "code": 400})


async def test_the_longest_address_is_kept(api: httpx.AsyncClient) -> None:
    longest = f"https://h/{'a' * 1014}"

    assert (await api.post(PATH, json={"replyUrl": longest})).json()["replyUrl"] == longest


async def test_each_user_has_its_own(
    api: httpx.AsyncClient, stranger: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    await api.post(PATH, json={"name": "Ada", "replyUrl": HOOK})
    theirs = {"Authorization": f"Bearer {registered_token(store, settings, user=2)}"}

    body = (await stranger.get(PATH, headers=theirs)).json()

    assert (body["name"], body["replyUrl"], body["sub"]) == ("", "", "user:2")
