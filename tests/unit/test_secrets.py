from __future__ import annotations

import shlex
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dispatcher.errors import SecretError, SettingsError
from dispatcher.secrets import KEY_FILE, SecretKeys, keys_for, load_or_create_key, mask
from dispatcher.settings import Settings
from tests.support.api import new_key_text

SECRET = SecretStr("MTE5NzAxMzc5Nzk2.GxYz12.abcdefghijklmnopqrstuvwxyz0123456789")
ACCOUNT = "1:discord:1197013797467074673"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_what_is_sealed_opens_again(text: str) -> None:
    keys = SecretKeys.parse(new_key_text())

    sealed = keys.seal(SecretStr(text), account=ACCOUNT, version="1")

    assert keys.open(sealed, account=ACCOUNT, version="1").get_secret_value() == text


def test_a_sealed_text_names_its_key_and_hides_its_secret() -> None:
    keys = SecretKeys.parse(new_key_text("k7"))

    sealed = keys.seal(SECRET, account=ACCOUNT, version="1")

    assert sealed.startswith("k7:")
    assert SECRET.get_secret_value() not in sealed
    assert b64encode(SECRET.get_secret_value().encode()).decode() not in sealed


def test_the_same_secret_never_seals_to_the_same_text() -> None:
    keys = SecretKeys.parse(new_key_text())

    texts = {keys.seal(SECRET, account=ACCOUNT, version="1") for _ in range(50)}

    assert len(texts) == 50


@pytest.mark.parametrize(("account", "version"), [("1:discord:2", "1"), ("2:discord:1", "1"), (ACCOUNT, "2")])
def test_a_sealed_text_opens_for_its_account_and_version_alone(account: str, version: str) -> None:
    keys = SecretKeys.parse(new_key_text())
    sealed = keys.seal(SECRET, account=ACCOUNT, version="1")

    with pytest.raises(SecretError, match="does not open"):
        keys.open(sealed, account=account, version=version)


def test_a_sealed_text_is_bound_to_the_id_of_its_key() -> None:
    material = new_key_text().partition(":")[2]
    sealed = SecretKeys.parse(f"k1:{material}").seal(SECRET, account=ACCOUNT, version="1")
    renamed = SecretKeys.parse(f"k2:{material}")

    with pytest.raises(SecretError, match="does not open"):
        renamed.open(sealed.replace("k1:", "k2:", 1), account=ACCOUNT, version="1")


@pytest.mark.parametrize(
    "damage",
    [lambda text: text[:-8], lambda text: text[:-4] + "AAA=", lambda _: "k1:?", lambda _: "k1:"],
    ids=["cut", "altered", "no base64", "empty"],
)
def test_a_damaged_text_is_refused_without_showing_anything(damage: Callable[[str], str]) -> None:
    keys = SecretKeys.parse(new_key_text())
    sealed = keys.seal(SECRET, account=ACCOUNT, version="1")

    with pytest.raises(SecretError) as raised:
        keys.open(damage(sealed), account=ACCOUNT, version="1")

    assert SECRET.get_secret_value() not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_new_key_in_front_seals_and_the_old_one_still_opens() -> None:
    old, new = new_key_text("k1"), new_key_text("k2")
    before = SecretKeys.parse(old).seal(SECRET, account=ACCOUNT, version="1")
    rotated = SecretKeys.parse(f"{new},{old}")

    after = rotated.seal(SECRET, account=ACCOUNT, version="2")

    assert after.startswith("k2:")
    assert rotated.open(before, account=ACCOUNT, version="1") == SECRET
    assert rotated.open(after, account=ACCOUNT, version="2") == SECRET


def test_a_new_key_in_front_changes_no_digest() -> None:
    old, new = new_key_text("k1"), new_key_text("k2")

    assert SecretKeys.parse(old).digest(SECRET) == SecretKeys.parse(f"{new},{old}").digest(SECRET)
    assert SecretKeys.parse(old).digest(SECRET) != SecretKeys.parse(new).digest(SECRET)
    assert SecretKeys.parse(old).digest(SECRET) != SecretKeys.parse(old).digest(SecretStr("another"))


def test_a_key_that_is_not_configured_is_said_so() -> None:
    sealed = SecretKeys.parse(new_key_text("k1")).seal(SECRET, account=ACCOUNT, version="1")

    with pytest.raises(SecretError, match="not configured; add that key"):
        SecretKeys.parse(new_key_text("k2")).open(sealed, account=ACCOUNT, version="1")


GOOD = new_key_text().partition(":")[2]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", 1),
        (GOOD, 1),
        ("k1:", 1),
        ("k1:c2hvcnQ=", 1),
        (f"k1:{GOOD}!", 1),
        (f"k 1:{GOOD}", 1),
        (f"k1:{GOOD},k1:{GOOD}", 2),
        (f"k1:{GOOD},", 2),
    ],
    ids=lambda value: str(value).replace(GOOD, "<key>"),  # the same in every process that runs the tests
)
def test_keys_of_another_form_are_refused_by_place_and_never_shown(text: str, place: int) -> None:
    with pytest.raises(SettingsError, match=f"entry {place} is not") as raised:
        SecretKeys.parse(SecretStr(text))

    assert GOOD not in str(raised.value)


def test_keys_are_not_in_their_repr() -> None:
    text = new_key_text()

    assert text.partition(":")[2] not in repr(SecretKeys.parse(text))


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("abcdefghijklmnop", "abc…secured…nop"),
        ("abcdefghijkl", "abc…secured…jkl"),
        ("abcdefghijk", "…secured…"),
        ("abc", "…secured…"),
        ("", "…secured…"),
    ],
)
def test_a_mask_shows_three_characters_at_each_end_and_none_of_a_short_secret(secret: str, shown: str) -> None:
    assert mask(SecretStr(secret)) == shown


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"

    first = load_or_create_key(folder)
    second = load_or_create_key(folder)

    assert first == second
    SecretKeys.parse(first)
    assert stat.S_IMODE((folder / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [KEY_FILE]


def test_processes_that_start_together_get_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as threads:
        keys = list(threads.map(lambda _: load_or_create_key(tmp_path).get_secret_value(), range(64)))

    assert len(set(keys)) == 1
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)

    with pytest.raises(SettingsError, match="chmod 600"):
        load_or_create_key(tmp_path)


def test_a_key_file_that_cannot_be_used_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file, no folder")

    with pytest.raises(SettingsError, match=r"secret\.key cannot be used: "):
        load_or_create_key(tmp_path / "state")


def test_a_key_file_of_another_form_is_refused_without_being_shown(tmp_path: Path) -> None:
    load_or_create_key(tmp_path)
    (tmp_path / KEY_FILE).write_bytes(b"\xff hunter2")

    with pytest.raises(SettingsError, match="entry 1 is not") as raised:
        keys_for(Settings(state_dir=tmp_path))

    assert "hunter2" not in str(raised.value)


def test_the_setting_wins_over_the_key_file(tmp_path: Path) -> None:
    settings = Settings(secret_keys=SecretStr(new_key_text("mine")), state_dir=tmp_path)

    assert list(keys_for(settings).keys) == ["mine"]
    assert not list(tmp_path.iterdir())


def test_without_a_redis_url_the_state_directory_has_the_key(tmp_path: Path) -> None:
    assert keys_for(Settings(state_dir=tmp_path)) == SecretKeys.parse(load_or_create_key(tmp_path))


def test_a_redis_url_without_keys_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="python -c") as raised:
        keys_for(Settings(redis_url="redis://127.0.0.1:1", state_dir=tmp_path))

    assert not list(tmp_path.iterdir())
    made = _run_the_advice(str(raised.value))
    SecretKeys.parse(made)


def _run_the_advice(message: str) -> str:
    """Do what the message says, as a shell would."""
    words = shlex.split(message[message.index("python -c") :])
    return subprocess.run([sys.executable, *words[1:]], check=True, capture_output=True, text=True).stdout.strip()
