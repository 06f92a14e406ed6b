from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dispatcher.access import Access, new_token
from dispatcher.connection import Store
from dispatcher.errors import SettingsError, Unauthorized
from dispatcher.plan import carry_out
from dispatcher.settings import Settings


@pytest.fixture
def access(settings: Settings) -> Access:
    return Access(settings)


def test_a_registered_token_authenticates_its_user(store: Store, access: Access) -> None:
    for user in (1, 1234):
        token = new_token(user)
        carry_out(store, access.add(token))

        assert store.do(access.authenticate(f"Bearer {token.get_secret_value()}")) == user


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer  "])
def test_the_scheme_has_no_case(store: Store, access: Access, scheme: str) -> None:
    carry_out(store, access.add(SecretStr("user:1-abc")))

    assert store.do(access.authenticate(f"{scheme} user:1-abc")) == 1


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "user:1-abc",
        "Bearer",
        "Bearer ",
        "Bearer user:1-abcd",
        "Bearer user:1-ab",
        "Bearer user:2-abc",
        "Bearer USER:1-abc",
        "Bearer user:01-abc",
        "Bearer user:0-abc",
        "Bearer user:1-",
        "Bearer user:-abc",
        "Bearer user:1-abc, Bearer user:1-abc",
        "Basic user:1-abc",
        "Basic dXNlcjoxLWFiYw==",
        "Bearer user:1-ümlaut",
        "Bearer user:1-" + "x" * 10_000,
        "Bearer user:99999999999999999999-abc",
    ],
)
def test_everything_else_is_unauthorized(store: Store, access: Access, header: str | None) -> None:
    carry_out(store, access.add(SecretStr("user:1-abc")))

    with pytest.raises(Unauthorized):
        store.do(access.authenticate(header))


@given(st.text(max_size=300))
def test_no_header_at_all_breaks_it(header: str) -> None:
    try:
        call = Access(Settings()).authenticate(header)
    except Unauthorized:
        return
    with pytest.raises(Unauthorized):
        call.read(None)


def test_a_token_is_stored_as_its_hash_alone(store: Store, access: Access) -> None:
    token = new_token(1).get_secret_value()
    carry_out(store, access.add(SecretStr(token)))

    stored = store.client.hgetall(store.keys.of("tokens"))

    secret = token.partition("-")[2]
    assert hashlib.sha256(token.encode()).hexdigest() in repr(stored)
    assert secret not in repr(stored)
    assert secret not in repr(store.client.hgetall(store.keys.of("users")))


def test_a_digest_that_only_begins_alike_is_unauthorized(store: Store, access: Access) -> None:
    carry_out(store, access.add(SecretStr("user:1-abc")))
    digest = hashlib.sha256(b"user:1-abc").hexdigest()
    key = store.keys.of("tokens")
    record = str(store.client.hget(key, digest[:12]))
    store.client.hset(key, digest[:12], record.replace(digest, digest[:12] + "0" * 52))

    with pytest.raises(Unauthorized):
        store.do(access.authenticate("Bearer user:1-abc"))


def test_lists_show_ids_users_and_names_but_never_a_token(store: Store, access: Access) -> None:
    second, first = new_token(2), new_token(1)
    added = [carry_out(store, access.add(second, name="studio")), carry_out(store, access.add(first))]

    listed = carry_out(store, access.list())

    assert [(token.user, token.name) for token in listed] == [(1, ""), (2, "studio")]
    assert sorted(listed, key=repr) == sorted(added, key=repr)
    assert first.get_secret_value().partition("-")[2] not in repr(listed)


def test_a_name_is_the_users_and_stays_until_another_is_given(store: Store, access: Access) -> None:
    carry_out(store, access.add(new_token(1), name="studio"))
    carry_out(store, access.add(new_token(1)))
    kept = {token.name for token in carry_out(store, access.list())}

    carry_out(store, access.add(new_token(1), name="lab"))

    assert kept == {"studio"}
    assert {token.name for token in carry_out(store, access.list())} == {"lab"}


def test_adding_a_token_again_changes_nothing(store: Store, access: Access) -> None:
    token = new_token(1)

    first = carry_out(store, access.add(token))
    second = carry_out(store, access.add(token))

    assert first == second
    assert carry_out(store, access.list()) == [first]


def test_a_revoked_token_is_unauthorized_from_the_next_request_on(store: Store, access: Access) -> None:
    kept, dropped = new_token(1), new_token(1)
    carry_out(store, access.add(kept))
    token_id = carry_out(store, access.add(dropped)).id

    revoked = store.do(access.revoke(token_id))

    assert revoked
    assert not store.do(access.revoke(token_id))
    with pytest.raises(Unauthorized):
        store.do(access.authenticate(f"Bearer {dropped.get_secret_value()}"))
    assert store.do(access.authenticate(f"Bearer {kept.get_secret_value()}")) == 1


@pytest.mark.parametrize(
    "token",
    ["", "hunter2", "user:hunter2", "user:1-", "user:x-hunter2", "user:1-hunter 2", "user:0-hunter2", "1-hunter2"],
)
def test_a_token_of_another_form_is_refused_and_not_shown(store: Store, access: Access, token: str) -> None:
    with pytest.raises(SettingsError, match="user:<number>-<string>") as raised:
        carry_out(store, access.add(SecretStr(token)))

    assert "hunter" not in str(raised.value)


def test_new_tokens_carry_at_least_128_bits_of_chance() -> None:
    tokens = {new_token(7).get_secret_value() for _ in range(1000)}

    assert len(tokens) == 1000
    assert all(token.startswith("user:7-") and len(token.partition("-")[2]) * 6 >= 128 for token in tokens)
