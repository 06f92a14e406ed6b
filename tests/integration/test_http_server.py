from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
import requests
from pydantic import SecretStr

from dispatcher.connection import Store
from dispatcher.errors import InUse, SettingsError
from dispatcher.http.server import serve
from dispatcher.settings import Settings
from tests.support.api import ACCOUNTS, CHANNEL, account_body, api_process, discord_token, new_key_text

PATH = f"{ACCOUNTS}/{CHANNEL}"


def test_a_process_serves_the_contract_on_the_address_it_reports(live_api: str, user_token: str) -> None:
    headers = {"Authorization": f"Bearer {user_token}"}

    posted = requests.post(f"{live_api}{PATH}", json=account_body(), headers=headers, timeout=10)
    read = requests.get(f"{live_api}{PATH}/", headers=headers, timeout=10)

    assert (posted.status_code, posted.content) == (204, b"")
    assert read.json()["maxJobs"] == 3
    assert read.json()["discord"].startswith("MTE…secured…")
    assert "server" not in read.headers


@pytest.mark.parametrize("token", [None, "known"])
def test_a_body_of_1_mib_is_answered_and_the_connection_is_not_reset(
    live_api: str, user_token: str, token: str | None
) -> None:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {user_token}"

    with requests.Session() as session:
        answers = [session.post(f"{live_api}{PATH}", data=b" " * 2**20, headers=headers, timeout=10) for _ in range(5)]

    expected = 413 if token else 401
    assert [answer.json()["code"] for answer in answers] == [expected] * 5


@pytest.mark.parametrize(
    "request_head",
    [
        "GET /v1/pixverse/account/%ff%fe HTTP/1.1\r\nHost: x\r\n",
        "GET /v1/pixverse/account/%ed%a0%80 HTTP/1.1\r\nHost: x\r\n",
        "GET //v1/pixverse/account HTTP/1.1\r\nHost: x\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        "GET /v1/pixverse/account HTTP/1.0\r\n",
        "GET /v1/pixverse/account?%ff=%00 HTTP/1.1\r\nHost: x\r\n",
    ],
)
def test_odd_request_lines_get_no_500(live_api: str, user_token: str, request_head: str) -> None:
    address = urlsplit(live_api)
    head = f"{request_head}Authorization: Bearer {user_token}\r\nConnection: close\r\n\r\n"

    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    assert answer.startswith("HTTP/1.1 4")
    assert user_token not in answer


def exchange(url: str, *sent: bytes) -> tuple[str, bytes]:
    """Send bytes as they are; the answer's head and body."""
    address = urlsplit(url)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        for part in sent:
            connection.sendall(part)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode(), body


NO_HTTP = {"error": "Request is not valid HTTP", "code": 400}
HEAD_TOO_LARGE = {"error": "Request head is larger than 65536 bytes", "code": 431}


@pytest.mark.parametrize(
    ("request_head", "refusal"),
    [
        (b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n", NO_HTTP),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n", NO_HTTP),
        (b"no http at all\r\n\r\n", NO_HTTP),
        (b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\nHost: x\r\n\r\n", HEAD_TOO_LARGE),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65_536 + b"\r\n\r\n", HEAD_TOO_LARGE),
        (b"GET /livez HTTP/1.1\r\n" + b"X: aaaa\r\n" * 13_200 + b"\r\n", HEAD_TOO_LARGE),
    ],
    ids=["method", "content-length", "words", "address", "one-header", "many-headers"],
)
def test_what_is_refused_before_it_is_a_request_has_the_contracts_shape_too(
    live_api: str, request_head: bytes, refusal: dict[str, object]
) -> None:
    head, body = exchange(live_api, request_head)

    assert head.startswith(f"HTTP/1.1 {refusal['code']} ")
    assert "content-type: application/json" in head
    assert f"content-length: {len(body)}" in head
    assert json.loads(body) == refusal


def test_a_header_that_never_ends_is_not_kept(live_api: str) -> None:
    address = urlsplit(live_api)
    with socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=10) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")

        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):  # noqa: PT012 (which of the sends meets it is chance)
            for _ in range(1000):
                connection.sendall(b"a" * 65_536)


def test_a_large_head_within_the_bound_and_pipelined_calls_are_served(live_api: str) -> None:
    large = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 65_000 + b"\r\n\r\n"
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    head, body = exchange(live_api, large, large + large + last)

    assert head.startswith("HTTP/1.1 200 ")
    assert body.count(b'{"status":"alive"}') == 4


def test_each_line_of_the_log_is_json_whatever_a_caller_sends(keyed_settings: Settings, store: Store) -> None:
    with api_process(keyed_settings) as (url, process):
        exchange(url, b"FOO / HTTP/1.1\r\n\r\n")
        upgrade = b"Connection: close, upgrade\r\nUpgrade: websocket\r\n"
        exchange(url, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + upgrade + b"\r\n")
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=30)

    lines = [json.loads(line) for line in log.splitlines()]
    said = {line["said"]: line["logger"] for line in lines if line["event"] == "library speaks"}
    assert said["Invalid HTTP request received."] == "uvicorn.error"
    assert said["Unsupported upgrade request."] == "uvicorn.error"


def test_bytes_beyond_ascii_in_the_authorization_header_are_unauthorized(live_api: str) -> None:
    answer = httpx.get(f"{live_api}{ACCOUNTS}", headers=[(b"Authorization", b"Bearer user:1-\xff\xfe")])

    assert answer.json() == {"error": "Unauthorized", "code": 401}


def test_sigterm_ends_the_process_cleanly_and_its_log_has_no_secret(
    keyed_settings: Settings, store: Store, user_token: str
) -> None:
    with api_process(keyed_settings) as (url, process):
        headers = {"Authorization": f"Bearer {user_token}"}
        with requests.Session() as session:  # a connection that is kept open does not hold it up
            session.post(f"{url}{PATH}", json=account_body(), headers=headers, timeout=10)
            process.send_signal(signal.SIGTERM)
            _, log = process.communicate(timeout=30)

    assert process.returncode == 0
    assert f'"route": "{ACCOUNTS}/{{channel}}"' in log
    assert user_token not in log
    assert discord_token() not in log


def test_all_addresses_are_reported_as_one_that_can_be_called(keyed_settings: Settings, store: Store) -> None:
    with api_process(keyed_settings, host="0.0.0.0") as (url, _):
        assert url.startswith("http://127.0.0.1:")
        assert requests.get(f"{url}/readyz", timeout=10).json()["status"] == "ready"


def test_an_address_in_use_is_told_in_one_sentence(tmp_path: Path) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1", secret_keys=SecretStr(new_key_text()), state_dir=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(InUse, match=f"127.0.0.1 port {port} is in use"):
            serve(settings, host="127.0.0.1", port=port)


@pytest.mark.parametrize("host", ["300.1.1.1", "203.0.113.1", "a..b", "::zz"])
def test_an_address_that_is_none_of_ours_is_told_in_one_sentence(tmp_path: Path, host: str) -> None:
    settings = Settings(redis_url="redis://127.0.0.1:1", secret_keys=SecretStr(new_key_text()), state_dir=tmp_path)

    with pytest.raises(SettingsError, match=r"cannot be bound .+; choose another by --host"):
        serve(settings, host=host, port=0)
