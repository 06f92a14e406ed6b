from __future__ import annotations

import base64
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import PydanticUndefined

from dispatcher.errors import SettingsError
from dispatcher.settings import CONFIG_VARIABLE, Settings, load_settings

DEFAULTS_FILE = Path(__file__).parents[2] / "config" / "dispatcher.toml"
WITHOUT_A_FIXED_DEFAULT = {
    name for name, field in Settings.model_fields.items() if field.default in (None, PydanticUndefined)
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting comes from the machine; what ``load_settings`` leaves in the environment goes with the test."""
    for name in os.environ:
        if name.startswith("DISPATCHER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv(CONFIG_VARIABLE, "")
    monkeypatch.chdir(tmp_path)


def test_the_defaults_file_states_every_default_and_nothing_else() -> None:
    stated = tomllib.loads(DEFAULTS_FILE.read_text())

    assert stated.keys() == Settings.model_fields.keys() - WITHOUT_A_FIXED_DEFAULT
    assert {name: Settings.model_fields[name].default for name in stated} == stated


def test_the_defaults_file_shows_each_setting_without_a_fixed_default_commented_out() -> None:
    shown = set(re.findall(r"^# (\w+) = ", DEFAULTS_FILE.read_text(), re.MULTILINE))

    assert shown == WITHOUT_A_FIXED_DEFAULT


def test_the_defaults_file_comments_every_setting() -> None:
    blocks = DEFAULTS_FILE.read_text().split("\n\n")

    bare = [block for block in blocks if " = " in block and not re.match(r"# \S+ \S+ ", block)]

    assert bare == []


def test_the_defaults_file_is_accepted_as_it_is() -> None:
    assert load_settings(DEFAULTS_FILE) == Settings()


def test_arguments_win_over_the_environment_that_over_the_file_that_over_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("sweep_s = 2\npoll_min_s = 2\nhold_s = 2\n")
    monkeypatch.setenv("DISPATCHER_POLL_MIN_S", "3")
    monkeypatch.setenv("DISPATCHER_HOLD_S", "3")

    settings = load_settings(file, hold_s=4)

    assert (settings.heartbeat_s, settings.sweep_s, settings.poll_min_s, settings.hold_s) == (5, 2, 3, 4)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("storage_url", "http://127.0.0.1/files"),
        ("storage_url", "/var/lib/files"),
        ("discord_upload_hosts", ["https://host/path"]),
        ("discord_upload_hosts", ["host:8080"]),
        ("discord_upload_hosts", ["user@host"]),
        ("discord_upload_hosts", ["ftp://host"]),
        ("discord_upload_hosts", [""]),
        ("upload_max_bytes", 0),
        ("upload_max_bytes", 65 * 1024 * 1024),
        ("discord_prompt_patterns", {"animate": "("}),
    ],
)
def test_where_files_go_is_held_against_what_could_work(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings(**{name: value})


WHSEC = "whsec_" + base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("callback_allowed_networks", [value]) for value in ("10.0.0.1/8", "localhost", "10.0.0.0/40", "", "*")],
        *[("callback_secret", value) for value in ("hunter2", "whsec_", "whsec_hunter2", WHSEC[6:], f"x{WHSEC}")],
        *[("callback_secret", f"whsec_{base64.b64encode(bytes(size)).decode()}") for size in (23, 65)],
        *[("callback_timeout_s", value) for value in (0, 46)],
    ],
)
def test_what_callbacks_could_not_work_with_is_refused_by_name_and_without_the_value(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name) as raised:
        load_settings(**{name: value})

    assert "hunter2" not in str(raised.value)


def test_callback_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_CALLBACK_ALLOWED_NETWORKS", '["127.0.0.1", "10.1.0.0/16", "fd00::/8"]')
    monkeypatch.setenv("DISPATCHER_CALLBACK_SECRET", WHSEC)

    settings = load_settings()

    assert settings.callback_allowed_networks == ["127.0.0.1", "10.1.0.0/16", "fd00::/8"]
    assert settings.callback_secret is not None
    assert settings.callback_secret.get_secret_value() == WHSEC
    assert WHSEC not in f"{settings!r}{settings.model_dump_json()}"


def test_files_are_kept_in_the_state_directory_unless_another_place_is_named(tmp_path: Path) -> None:
    assert load_settings(state_dir=tmp_path / "a b").storage == f"file://{tmp_path}/a%20b/results"
    assert load_settings(storage_url="s3://bucket/folder").storage == "s3://bucket/folder"


def test_an_argument_of_none_and_an_empty_variable_count_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_SWEEP_S", "")

    assert load_settings(hold_s=None) == Settings()


def test_the_named_file_wins_over_the_one_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dispatcher.toml").write_text("sweep_s = 2\n")
    (tmp_path / "named.toml").write_text("sweep_s = 3\n")
    (tmp_path / "given.toml").write_text("sweep_s = 4\n")

    here = load_settings().sweep_s
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "named.toml"))
    named = load_settings().sweep_s
    given = load_settings(tmp_path / "given.toml").sweep_s

    assert (here, named, given) == (2, 3, 4)


def test_a_file_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml does not exist"):
        load_settings(tmp_path / "absent.toml")


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dispatcher.toml").write_text("sweep_s: 2")

    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings()


def test_an_unknown_name_in_the_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "dispatcher.toml").write_text("sweeps = 2\n")

    with pytest.raises(SettingsError, match="sweeps"):
        load_settings()


def test_an_unknown_argument_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="sweeps"):
        load_settings(sweeps=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat_s", "soon"),
        ("heartbeat_s", 0),
        ("hold_s", -1),
        ("min_interval_ms", 1.5),
        ("heartbeat_s", "inf"),
        ("heartbeat_s", "nan"),
        ("hold_s", 1e300),
        ("jobs_keep_days", "inf"),
        ("cancel_frees_slot", "later"),
        ("daily_cap", -1),
        ("suspicion_share_max", 1.01),
        ("suspicion_share_max", -0.1),
        ("namespace", "pxd"),
        ("namespace", "{a}{b}"),
        ("namespace", "{}"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings(**{name: value})


def test_a_refused_value_is_not_in_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dispatcher.toml").write_text('secret_keys = ["k1:hunter2"]\n')
    monkeypatch.setenv("DISPATCHER_HEARTBEAT_S", "hunter2")

    with pytest.raises(SettingsError, match="secret_keys") as raised:
        load_settings()

    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        *("foo", "http://127.0.0.1:6379", "redis://h:port/0", "redis://h:99999/0", "redis://[::1/0"),
        *("unix:///s?db=x", "redis://h?colour=red", "redis://h?protocol=9"),
        *(f"redis://:hunter2{mark}x@127.0.0.1:6379/0" for mark in "/#?"),
        *(f"redis://:12{mark}hunter2@127.0.0.1:6379/0" for mark in "/#?"),
        *(f"redis://:@{mark}hunter2@127.0.0.1:6379/0" for mark in "/#?"),
    ],
)
def test_what_is_no_redis_url_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(SettingsError, match="redis_url is no redis://, rediss:// or unix:// URL") as raised:
        load_settings(redis_url=url)

    assert not [part for part in (url, "hunter2", "colour") if part in str(raised.value)]
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        *("redis://127.0.0.1:6379/0", "rediss://user:p%2F%23@h", "redis://[::1]:6379", "redis://h?db=3"),
        *("unix:///var/run/redis.sock?db=1", "unix://:p@/var/run/a@b.sock"),
    ],
)
def test_a_redis_url_is_taken_as_it_is(url: str) -> None:
    assert load_settings(redis_url=url).redis_url == url


def test_an_empty_redis_url_is_none() -> None:
    assert load_settings(redis_url="").redis_url is None


def test_the_redis_url_with_its_password_is_not_shown_by_the_settings() -> None:
    settings = load_settings(redis_url="redis://:hunter2@127.0.0.1:6379/0")

    assert "hunter2" not in f"{settings!r}{settings}"


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dispatcher.toml").write_bytes(b'namespace = "{\xff}"')

    with pytest.raises(SettingsError, match="not valid TOML in UTF-8"):
        load_settings()


def test_a_folder_in_the_files_place_is_said_to_be_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is no file"):
        load_settings(tmp_path)


def test_a_variable_that_is_no_table_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_DISCORD_COMMANDS", "hunter2")

    with pytest.raises(SettingsError, match="discord_commands") as raised:
        load_settings()

    assert "hunter2" not in str(raised.value)


def test_secret_keys_are_not_shown_by_the_settings() -> None:
    settings = load_settings(secret_keys="k1:hunter2")

    assert "hunter2" not in f"{settings!r}{settings}{settings.model_dump_json()}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().sweep_s = 3  # type: ignore[misc]  # the claim itself


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"heartbeat_s": 10, "lease_ttl_s": 15}, "lease_ttl_s"),
        ({"cooling_first_s": 1000}, "cooling_max_s"),
        ({"jobs_keep_days": 0.01, "hard_deadline_s": 600, "hold_s": 300}, "jobs_keep_days"),
    ],
)
def test_times_that_contradict_each_other_are_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=f"^Settings not acceptable: {named} must be "):
        load_settings(**values)
