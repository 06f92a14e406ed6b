"""The program itself: how it starts, whom it lets in with ``--strict``, how it stops."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from simulator.process import running
from tests.support.player import NO_TLS, SERVER_ID, Player, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = [sys.executable, "-m", "simulator"]


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the program and give it with its first line."""
    with subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_it_announces_where_it_listens_in_one_line_of_json() -> None:
    with started("--port", "0", "--json") as (_, line):
        announced = json.loads(line)

        assert announced == {"ready": True, "url": announced["url"]}
        assert httpx.get(f"{announced['url']}/sim/healthz", verify=NO_TLS).json() == {"ok": True}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_at_a_signal_even_while_a_submission_hangs(number: signal.Signals) -> None:
    with started("--port", "0") as (process, line), Player(line.split()[-1]) as player:
        hanging = threading.Thread(target=hang, args=(player,))
        hanging.start()
        wait_for(lambda: player.jobs() or None)

        process.send_signal(number)

        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
        hanging.join(5)


def hang(player: Player) -> None:
    with pytest.raises(httpx.HTTPError):
        player.http.post(
            "/interactions",
            json=player.interaction(
                "create_single", {"prompt": "a cat [[sim submit=hang-after-accept]]", "style": "Anime"}
            ),
        ).raise_for_status()


def test_a_port_that_is_taken_is_one_sentence_and_status_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        ended = subprocess.run([*PROGRAM, "--port", port], capture_output=True, text=True, check=False, timeout=10)

    assert ended.returncode == 1
    assert ended.stderr.startswith("simulator: cannot listen there: Address already in use")
    assert (port in ended.stderr, ended.stderr.count("\n")) == (True, 1)


def test_links_are_below_the_public_url_where_one_is_given() -> None:
    with running("--public-url", "http://simulator:9080") as public_url:
        assert public_url == "http://simulator:9080"


def test_strict_lets_declared_accounts_in_and_nobody_else() -> None:
    with running("--strict") as url:
        account = {"token": "known", "server": SERVER_ID, "max_jobs": 1}
        for channel_id in ("31", "32"):
            token = "known" if channel_id == "31" else "neighbour"
            declared = {**account, "channel": channel_id, "token": token}
            httpx.post(f"{url}/sim/accounts", json=declared, verify=NO_TLS).raise_for_status()
        with Player(url, token="known") as player:
            answers = {}
            for channel_id in ("31", "32", "33"):
                player.channel_id = channel_id
                answers[channel_id] = player.create(f"{channel_id} [[sim seconds=0]]").status_code
            listed = player.http.get("/channels/33/messages")

        stranger = httpx.get(f"{url}/api/v9/users/@me", headers={"authorization": "unknown"}, verify=NO_TLS)

    assert answers == {"31": 204, "32": 403, "33": 404}
    assert (listed.status_code, listed.json()["code"]) == (404, 10003)
    assert (stranger.status_code, stranger.json()["code"]) == (401, 0)


def test_without_strict_anybody_may_play() -> None:
    with running() as url, Player(url, token="whoever") as player:
        assert player.create("a cat [[sim seconds=0]]").status_code == 204
        assert player.account()["limit"] is None


@pytest.mark.parametrize("options", [("--port", "99999"), ("--host", "a..b")])
def test_an_address_that_does_not_exist_is_one_sentence(options: tuple[str, str]) -> None:
    ended = subprocess.run([*PROGRAM, *options], capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("simulator: cannot listen there: ")
    assert ended.stderr.count("\n") == 1
