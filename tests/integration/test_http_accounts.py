from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dispatcher.accounts import Accounts
from dispatcher.connection import Store
from dispatcher.jobs import Jobs
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from tests.support.api import (
    ACCOUNTS,
    CHANNEL,
    NOT_FOUND,
    OTHER_CHANNEL,
    SERVER,
    account_body,
    discord_token,
    registered_token,
)

PATH = f"{ACCOUNTS}/{CHANNEL}"
SHOWN = {"server": SERVER, "channel": CHANNEL, "discord": f"MTE…secured…{discord_token()[-3:]}", "maxJobs": 3}


def refusal(error: str, code: int = 400) -> dict[str, Any]:
    return {"error": error, "code": code}


async def test_an_account_is_created_read_listed_and_removed(api: httpx.AsyncClient) -> None:
    created = await api.post(PATH, json=account_body())
    one, everything = await api.get(PATH), await api.get(ACCOUNTS)
    removed = await api.delete(PATH)
    gone, none = await api.get(PATH), await api.get(ACCOUNTS)

    assert (created.status_code, created.content) == (204, b"")
    assert (one.status_code, one.json()) == (200, SHOWN)
    assert (everything.status_code, everything.json()) == (200, {CHANNEL: SHOWN})
    assert (removed.status_code, removed.content) == (204, b"")
    assert (gone.status_code, gone.json()) == (404, NOT_FOUND)
    assert (none.status_code, none.json()) == (404, NOT_FOUND)


async def test_a_path_that_ends_in_a_slash_answers_as_without_it(api: httpx.AsyncClient) -> None:
    posted = await api.post(f"{PATH}/", json=account_body())

    assert posted.status_code == 204
    assert (await api.get(f"{ACCOUNTS}/")).json() == {CHANNEL: SHOWN}
    assert (await api.get(f"{PATH}/")).json() == SHOWN
    assert (await api.delete(f"{PATH}/")).status_code == 204


async def test_removing_what_was_never_stored_is_not_found(api: httpx.AsyncClient) -> None:
    answer = await api.delete(PATH)

    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


@pytest.mark.parametrize("channel", ["abc", "1:discord", "%2e%2e", "1" * 16, "1" * 21, "%00", "%FF", "٣" * 18])
async def test_a_path_that_is_no_channel_id_is_not_found(api: httpx.AsyncClient, channel: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await api.request(method, f"{ACCOUNTS}/{channel}")

        assert (answer.status_code, answer.json()["code"]) == (404, 404)


ABSENT: list[Any] = [None, "", "   "]
CASES: list[tuple[dict[str, Any], str]] = [
    *(({"discord": absent}, "Required param discord is missing or empty") for absent in (*ABSENT, 5, True, [], {})),
    *(({"server": absent}, "Required param server is missing or empty") for absent in ABSENT),
    *(({"channel": absent}, "Required param channel is missing or empty") for absent in ABSENT),
    *(
        ({"channel": bad}, f"Required param channel ({shown}) is not valid Discord channel id")
        for bad, shown in [
            ("abc", "abc"),
            ("1" * 16, "1" * 16),
            ("1" * 21, "1" * 21),
            (f"{CHANNEL} ", f"{CHANNEL} "),
            (f"{CHANNEL}\n", f"{CHANNEL}\n"),
            ("٣" * 18, "٣" * 18),
            (int(CHANNEL), CHANNEL),
            (0, "0"),
            (True, "true"),
            ([CHANNEL], "[…]"),
            ({CHANNEL: discord_token()}, "{…}"),
            ("a" * 41, f"{'a' * 40}…"),
        ]
    ),
    ({"server": int(SERVER)}, f"Required param channel ({CHANNEL}) is not valid Discord channel id"),
    (
        {"channel": OTHER_CHANNEL},
        f"Required param channel ({OTHER_CHANNEL}) not matching to /pixverse/account/{CHANNEL}",
    ),
    *(
        ({"maxJobs": bad}, "Required param maxJobs is missing or empty")
        for bad in (
            *ABSENT,
            0,
            -1,
            -0.5,
            0.5,
            2.5,
            True,
            False,
            "abc",
            "2.5",
            "-3",
            "0",
            "1_0",
            "٣",
            "NaN",
            [3],
            {"a": 3},
        )
    ),
    *(
        ({"maxJobs": bad}, f"Required param maxJobs {shown} can't be more that 10")
        for bad, shown in [
            (11, "11"),
            ("11", "11"),
            (10.5, "10.5"),
            (2**63, str(2**63)),
            (10**30, str(10**30)),
            ("1e400", "1e400"),
        ]
    ),
]


@pytest.mark.parametrize(("changes", "error"), CASES, ids=[json.dumps(changes)[:50] for changes, _ in CASES])
async def test_each_rule_that_is_broken_is_told_in_the_contracts_words(
    api: httpx.AsyncClient, changes: dict[str, Any], error: str
) -> None:
    answer = await api.post(PATH, json={**account_body(), **changes})

    assert (answer.status_code, answer.json()) == (400, refusal(error))
    assert discord_token() not in answer.text
    assert (await api.get(PATH)).status_code == 404


async def test_the_first_broken_rule_is_told_in_the_contracts_order(api: httpx.AsyncClient) -> None:
    """Mend one rule after the other: each answer is the next one's."""
    body: dict[str, Any] = {}
    told = []
    for name, value in (
        ("discord", discord_token()),
        ("server", SERVER),
        ("channel", "abc"),
        ("channel", OTHER_CHANNEL),
        ("channel", CHANNEL),
        ("maxJobs", 11),
        ("maxJobs", 3),
    ):
        told.append((await api.post(PATH, json=body)).json()["error"])
        body[name] = value

    assert told == [
        "Required param discord is missing or empty",
        "Required param server is missing or empty",
        "Required param channel is missing or empty",
        "Required param channel (abc) is not valid Discord channel id",
        f"Required param channel ({OTHER_CHANNEL}) not matching to /pixverse/account/{CHANNEL}",
        "Required param maxJobs is missing or empty",
        "Required param maxJobs 11 can't be more that 10",
    ]
    assert (await api.post(PATH, json=body)).status_code == 204


async def test_the_same_discord_token_on_another_channel_is_the_last_rule(api: httpx.AsyncClient) -> None:
    await api.post(f"{ACCOUNTS}/{OTHER_CHANNEL}", json=account_body(OTHER_CHANNEL))

    answer = await api.post(PATH, json=account_body())

    assert answer.json() == refusal(f"Channel {OTHER_CHANNEL} configuration has same discord value")
    assert (await api.post(PATH, json=account_body(maxJobs=11))).json()["error"].startswith("Required param maxJobs")


@pytest.mark.parametrize("sent", ["3", "3.0", '"3"', '"3.0"', "3e0", "30e-1"])
async def test_a_number_may_come_in_any_spelling(api: httpx.AsyncClient, sent: str) -> None:
    text = json.dumps(account_body()).replace('"maxJobs": 3', f'"maxJobs": {sent}')

    answer = await api.post(PATH, content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code == 204
    assert (await api.get(PATH)).json() == SHOWN


@pytest.mark.parametrize("sent", ["1e400", "1" * 5000, "11.000", "1E+2"])
async def test_a_number_too_large_is_quoted_as_it_was_sent(api: httpx.AsyncClient, sent: str) -> None:
    text = json.dumps(account_body()).replace('"maxJobs": 3', f'"maxJobs": {sent}')

    answer = await api.post(PATH, content=text, headers={"Content-Type": "application/json"})

    shown = sent if len(sent) <= 40 else f"{sent[:40]}…"
    assert answer.json() == refusal(f"Required param maxJobs {shown} can't be more that 10")


async def test_unknown_fields_are_ignored(api: httpx.AsyncClient) -> None:
    assert (await api.post(PATH, json=account_body(colour="red", maxjobs=99))).status_code == 204


@pytest.mark.parametrize(
    ("content", "content_type", "status", "error"),
    [
        (b"{", "application/json", 400, "Request body is not valid JSON"),
        (b"{'discord': 1}", "application/json", 400, "Request body is not valid JSON"),
        (b'{"maxJobs": NaN}', "application/json", 400, "Request body is not valid JSON"),
        (b'{"maxJobs": Infinity}', "application/json", 400, "Request body is not valid JSON"),
        (b"[" * 60_000, "application/json", 400, "Request body is not valid JSON"),
        (b'{"a":' * 10_000, "application/json", 400, "Request body is not valid JSON"),
        (b'{"discord": "\xff\xfe"}', "application/json", 400, "Request body is not valid UTF-8"),
        ('{"discord": "x"}'.encode("utf-16"), "application/json", 400, "Request body is not valid UTF-8"),
        (b'{"discord": "\\ud800"}', "application/json", 400, "Request body is not valid UTF-8"),
        (b"\xef\xbb\xbf{}", "application/json", 400, "Request body is not valid JSON"),
        (b"", "application/json", 400, "Required param discord is missing or empty"),
        (b"[]", "application/json", 400, "Required param discord is missing or empty"),
        (b"null", "application/json", 400, "Required param discord is missing or empty"),
        (b'"text"', "application/json; charset=utf-8", 400, "Required param discord is missing or empty"),
        (b"{}", "Application/JSON ;charset=UTF-8", 400, "Required param discord is missing or empty"),
        (b"{}", "text/plain", 415, "Content-Type is not supported; send application/json in UTF-8"),
        (
            b"{}",
            "multipart/form-data; boundary=x",
            415,
            "Content-Type is not supported; send application/json in UTF-8",
        ),
        (
            b"a=1",
            "application/x-www-form-urlencoded",
            415,
            "Content-Type is not supported; send application/json in UTF-8",
        ),
        (
            b"{}",
            "application/json; charset=latin-1",
            415,
            "Content-Type is not supported; send application/json in UTF-8",
        ),
        (b"{}", "", 415, "Content-Type is not supported; send application/json in UTF-8"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_the_contracts_shape(
    api: httpx.AsyncClient, content: bytes, content_type: str, status: int, error: str
) -> None:
    answer = await api.post(PATH, content=content, headers={"Content-Type": content_type})

    assert (answer.status_code, answer.json()) == (status, refusal(error, status))


async def test_a_body_without_a_content_type_is_refused_and_no_body_is_an_empty_one(api: httpx.AsyncClient) -> None:
    untyped, empty = await api.post(PATH, content=b"{}"), await api.post(PATH)

    assert untyped.json() == refusal("Content-Type is missing; send application/json", 415)
    assert empty.json() == refusal("Required param discord is missing or empty")


async def test_a_compressed_body_is_refused(api: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    answer = await api.post(PATH, content=b"\x1f\x8b", headers=headers)

    assert answer.status_code == 415


async def test_a_body_over_64_kib_is_refused_whether_or_not_it_says_so(api: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(1024):
            yield b" " * 1024

    declared = await api.post(PATH, content=b" " * 2**20, headers={"Content-Type": "application/json"})
    streamed = await api.post(PATH, content=chunks(), headers={"Content-Type": "application/json"})
    padded = json.dumps(account_body()).encode().ljust(64 * 1024)
    largest = await api.post(PATH, content=padded, headers={"Content-Type": "application/json"})

    assert declared.json() == streamed.json() == refusal("Request body is larger than 65536 bytes", 413)
    assert (declared.status_code, streamed.status_code, largest.status_code) == (413, 413, 204)


@pytest.mark.parametrize("field", ["channel", "maxJobs", "server"])
async def test_a_discord_token_in_the_wrong_field_is_not_echoed(api: httpx.AsyncClient, field: str) -> None:
    answer = await api.post(PATH, json={**account_body(), field: discord_token()})

    assert discord_token() not in answer.text


async def test_an_api_token_in_the_wrong_place_is_not_echoed(api: httpx.AsyncClient, user_token: str) -> None:
    in_body = await api.post(PATH, json=account_body(user_token))
    in_path = await api.post(f"{ACCOUNTS}/{user_token}", json=account_body())

    assert in_body.status_code == in_path.status_code == 400
    assert user_token not in in_body.text + in_path.text


@pytest.mark.parametrize("before", range(40))
async def test_no_part_of_a_token_is_echoed_where_a_long_value_is_cut(
    api: httpx.AsyncClient, user_token: str, before: int
) -> None:
    own_words = (await api.post(PATH, json=account_body("a" * (before + len(user_token))))).text
    for secret in (user_token, user_token[:-5], discord_token(), discord_token()[:-5]):
        answer = await api.post(PATH, json=account_body("a" * before + secret))

        middle = secret[12:]  # without the user's number, and what a mask shows
        pieces = {middle[start : start + 4] for start in range(len(middle) - 4)}
        assert answer.status_code == 400
        # A token is random: once in a hundred runs a piece of it is one of the answer's own words, such as "rror".
        assert not {piece for piece in pieces if piece in answer.text and piece not in own_words}


async def test_no_token_is_echoed_out_of_a_list(api: httpx.AsyncClient) -> None:
    escaped_in_json = 'x"y\\z.secretdiscordtoken'

    answer = await api.post(PATH, json={**account_body(discord=escaped_in_json), "channel": [escaped_in_json]})

    assert answer.json() == refusal("Required param channel ([…]) is not valid Discord channel id")


@pytest.mark.parametrize("discord", ["two words", "line\nbreak", "ümlaut-token", "nul\0"])
async def test_a_discord_token_that_no_header_can_carry_is_refused_and_not_shown(
    api: httpx.AsyncClient, discord: str
) -> None:
    answer = await api.post(PATH, json=account_body(discord=discord))

    assert answer.json() == refusal("Param discord value is not supported")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries(
        {},
        optional={
            "discord": st.just(discord_token()) | json_values,
            "server": st.just(SERVER) | json_values,
            "channel": st.just(CHANNEL) | json_values,
            "maxJobs": st.integers(-1, 12) | json_values,
        },
    )
)
async def test_no_json_body_brings_anything_but_204_or_the_contracts_400(
    api: httpx.AsyncClient, body: dict[str, Any]
) -> None:
    # json.dumps escapes everything beyond ASCII, lone surrogates included
    answer = await api.post(PATH, content=json.dumps(body), headers={"Content-Type": "application/json"})

    if answer.status_code != 204:
        assert answer.status_code == 400
        assert answer.json().keys() == {"error", "code"}
        assert discord_token() not in answer.text


@hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
async def test_no_bytes_bring_anything_but_a_400(api: httpx.AsyncClient, content: bytes) -> None:
    answer = await api.post(PATH, content=content, headers={"Content-Type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, 400)


# --- Users -----------------------------------------------------------------------------------------


async def test_each_user_sees_its_own_accounts_alone(
    app: FastAPI, api: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    await api.post(PATH, json=account_body())
    other = {"Authorization": f"Bearer {registered_token(store, settings, user=2)}"}

    reads = [await api.get(path, headers=other) for path in (ACCOUNTS, PATH)]
    removal = await api.delete(PATH, headers=other)
    takeover = await api.post(PATH, json=account_body(discord=discord_token("B")), headers=other)
    same_token = await api.post(f"{ACCOUNTS}/{OTHER_CHANNEL}", json=account_body(OTHER_CHANNEL), headers=other)

    assert [answer.json() for answer in (*reads, removal)] == [NOT_FOUND] * 3
    assert takeover.json() == refusal(f"Channel {CHANNEL} is registered by another user")
    assert same_token.json() == refusal("Configuration of another user has same discord value")
    assert CHANNEL not in same_token.text
    assert (await api.get(PATH)).json() == SHOWN


async def test_two_tokens_of_one_user_see_the_same_accounts(
    api: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    await api.post(PATH, json=account_body())
    second = {"Authorization": f"Bearer {registered_token(store, settings, user=1)}"}

    assert (await api.get(PATH, headers=second)).json() == SHOWN


# --- Live updates ----------------------------------------------------------------------------------


def submit(store: Store, settings: Settings, number: int) -> None:
    for index in range(number):
        store.do(Jobs(settings).submit(CreateSingle(prompt=f"job {index}", style="Anime"), Options()))


def handed_over(store: Store) -> int:
    return int(store.client.llen(store.keys.of("rq", "queue", "pixverse")))


async def test_posting_a_larger_max_jobs_starts_waiting_jobs_before_it_answers(
    api: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    await api.post(PATH, json=account_body(maxJobs=1))
    submit(store, settings, 5)
    before = handed_over(store)

    await api.post(PATH, json=account_body(maxJobs=4))

    assert (before, handed_over(store)) == (1, 4)
    assert (await api.get(PATH)).json()["maxJobs"] == 4


async def test_the_first_account_starts_the_jobs_that_waited_for_one(
    api: httpx.AsyncClient, store: Store, settings: Settings
) -> None:
    submit(store, settings, 3)

    await api.post(PATH, json=account_body(maxJobs=2))

    assert handed_over(store) == 2


async def test_posting_a_new_discord_token_replaces_the_one_in_force(
    api: httpx.AsyncClient, store: Store, accounts: Accounts
) -> None:
    await api.post(PATH, json=account_body())
    before = store.do(accounts.get(user=1, channel=CHANNEL))

    await api.post(PATH, json=account_body(discord=discord_token("B")))

    after = store.do(accounts.get(user=1, channel=CHANNEL))
    assert after.secret_version != before.secret_version
    assert accounts.open_secret(after).get_secret_value() == discord_token("B")


async def test_a_removed_account_is_gone_at_once_and_its_old_jobs_count_when_it_returns(
    api: httpx.AsyncClient, store: Store, settings: Settings, accounts: Accounts
) -> None:
    await api.post(PATH, json=account_body(maxJobs=2))
    submit(store, settings, 4)

    await api.delete(PATH)
    gone = await api.get(PATH)
    draining = store.do(accounts.used(user=1, channel=CHANNEL))
    await api.post(PATH, json=account_body(maxJobs=3))

    assert (gone.status_code, draining) == (404, 2)
    assert store.do(accounts.used(user=1, channel=CHANNEL)) == 3
    assert handed_over(store) == 3
