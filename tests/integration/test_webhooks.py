"""The one door to addresses that callers name: what it refuses, what it sends, and what it takes for an answer."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from bench.hook import Answer, Hook, answers, hangs_up
from dispatcher.errors import CallbackRefused, CallbackUnanswered, SettingsError
from dispatcher.settings import Settings
from dispatcher.webhooks import Webhooks

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = '{"jobid":"job:1","prompt":"ein Löwe 🦁"}'
HOUR = timedelta(hours=1)
LOOPBACK = ["127.0.0.0/8"]
LITERAL = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.255.255.254",
    "0.0.0.0", "0", "169.254.169.254", "2852039166", "0xa9fea9fe", "169.254.1.1", "10.0.0.1", "172.16.0.1",
    "172.31.255.255", "192.168.1.1", "100.64.0.1", "192.0.0.1", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
    "[::ffff:169.254.169.254]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]",
    "[fe80::1]", "[fd00::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]",
    "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021",
)  # fmt: skip
"""Addresses that are nobody's but ours, in the spellings that resolvers and clients understand."""
NAMED = ("127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fd00::1", "fe80::1")


@pytest.fixture
def hook() -> Iterator[Hook]:
    with Hook() as listening:
        yield listening


def door(**settings: Any) -> Webhooks:
    return Webhooks(Settings(**{"callback_timeout_s": 5, "callback_allowed_networks": LOOPBACK, **settings}))


def stand_for(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Let every name stand for these addresses; returns the names that are looked up, as they are."""
    asked: list[str] = []

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        asked.append(host)
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, port) if family == socket.AF_INET else (address, port, 0, 0))
            for family, address in zip(families, addresses, strict=True)
        ]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


async def refused(url: str, **settings: Any) -> str:
    with pytest.raises(CallbackRefused) as told:
        await door(**{"callback_allowed_networks": [], **settings}).post(url, "id", BODY)
    return told.value.reason


async def unanswered(hook: Hook, answer: Answer, **settings: Any) -> str:
    hook.answer = answer
    with pytest.raises(CallbackUnanswered) as told:
        await door(**settings).post(hook.url, "id", BODY)
    return told.value.reason


def self_signed(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a listener")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + HOUR)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    written = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + signed.public_bytes(Encoding.PEM)
    (folder / "listener.pem").write_bytes(written)
    return folder / "listener.pem"


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", LITERAL)
async def test_an_address_that_is_not_public_is_refused_in_every_spelling(hook: Hook, host: str) -> None:
    assert await refused(f"http://{host}:{hook.port}/")
    assert hook.heard == []


@pytest.mark.parametrize("address", NAMED)
async def test_a_name_that_stands_for_such_an_address_is_refused(
    hook: Hook, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_for(monkeypatch, address)

    assert await refused(f"http://listener.example:{hook.port}/")
    assert hook.heard == []


async def test_a_name_that_stands_for_a_public_and_a_private_address_is_refused_whole(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_for(monkeypatch, "93.184.216.34", "127.0.0.1")

    assert await refused(f"http://listener.example:{hook.port}/")
    assert hook.heard == []


async def test_a_name_is_looked_up_once_and_the_call_goes_where_that_answer_said(
    hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stand_for(monkeypatch, "127.0.0.1")

    assert await door().post(f"http://listener.example:{hook.port}/x", "id", BODY) == 200

    assert asked == ["listener.example"]
    assert hook.heard[0].headers["host"] == f"listener.example:{hook.port}"


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:{}@127.0.0.1:{}/", "http://public.example@127.0.0.1:{}/", "http://127.0.0.1:{}#@a.example"],
)
async def test_the_host_is_what_is_judged_whatever_stands_around_it(hook: Hook, url: str) -> None:
    assert await refused(url.replace("{}", str(hook.port)))
    assert hook.heard == []


@pytest.mark.parametrize("target", ["http://127.0.0.1:{}/in", "http://169.254.169.254/", "http://[", "\x01", ""])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_is_not_followed(hook: Hook, target: str, status: int) -> None:
    hook.answer = answers(status, {"location": target.format(hook.port)})

    assert await door().post(hook.url, "id", BODY) == status
    assert len(hook.heard) == 1


async def test_only_the_allowed_networks_are_opened(hook: Hook) -> None:
    assert await door(callback_allowed_networks=["127.0.0.1/32"]).post(hook.url, "id", BODY) == 200
    assert await refused(f"http://127.0.0.2:{hook.port}/", callback_allowed_networks=["127.0.0.1/32"])
    assert await refused(f"http://[::ffff:127.0.0.1]:{hook.port}/", callback_allowed_networks=["127.0.0.1/32"])
    assert await refused("http://169.254.169.254/", callback_allowed_networks=LOOPBACK)


def test_a_network_that_would_open_all_others_is_refused_as_a_setting() -> None:
    with pytest.raises(SettingsError, match="callback_allowed_networks"):
        door(callback_allowed_networks=["64:ff9b::/96"])


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://a..example/", f"http://{'a' * 70}.example/", "ftp://a.example/"]
)
async def test_what_leads_nowhere_is_refused_and_not_tried_for_a_day(url: str) -> None:
    assert await refused(url)


async def test_no_reason_tells_what_may_be_a_secret_of_the_url(hook: Hook) -> None:
    told = await refused(f"http://user:hunter2@127.0.0.1:{hook.port}/hunter2?key=hunter2#hunter2")

    assert "hunter2" not in told


async def test_no_proxy_of_the_environment_is_asked(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    with Hook() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)

        assert await door().post(hook.url, "id", BODY) == 200
        assert (len(hook.heard), proxy.heard) == (1, [])


# --- sent ------------------------------------------------------------------------------------------------------------


async def test_body_path_and_query_arrive_as_they_are(hook: Hook) -> None:
    await door().post(f"{hook.url}/hook/a%20b?ind=3&x=%2F", "j1-final", BODY)

    (heard,) = hook.heard
    assert (heard.path, heard.body.decode(), heard.id) == ("/hook/a%20b?ind=3&x=%2F", BODY, "j1-final")
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"] == "pixverse-dispatcher"


async def test_user_and_password_of_the_url_are_told_to_its_host(hook: Hook) -> None:
    await door().post(f"http://user:pass@127.0.0.1:{hook.port}/", "id", BODY)

    assert hook.heard[0].headers["authorization"] == "Basic " + base64.b64encode(b"user:pass").decode()


async def test_a_signature_is_verified_by_the_standards_own_library(hook: Hook) -> None:
    await door(callback_secret=SecretStr(SECRET)).post(hook.url, "j1-final", BODY)

    (heard,) = hook.heard
    assert Webhook(SECRET).verify(heard.body, heard.headers)["jobid"] == "job:1"
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(heard.body + b" ", heard.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(heard.body, heard.headers | {"webhook-id": "j2-final"})


async def test_without_a_secret_nothing_is_signed(hook: Hook) -> None:
    await door().post(hook.url, "j1-final", BODY)

    assert {name for name in hook.heard[0].headers if name.startswith("webhook")} == {"webhook-id"}


async def test_nothing_of_one_listener_is_told_to_the_next(hook: Hook) -> None:
    hook.answer = answers(200, {"set-cookie": "session=1; Path=/"})
    webhooks = door()

    for _ in range(2):
        await webhooks.post(hook.url, "id", BODY)

    assert all("cookie" not in heard.headers for heard in hook.heard)


# --- answered --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 400, 404, 429, 500, 503])
async def test_any_status_is_an_answer(hook: Hook, status: int) -> None:
    hook.answer = answers(status)

    assert await door().post(hook.url, "id", BODY) == status


async def test_of_a_long_answer_little_is_read(hook: Hook) -> None:
    written = []

    def endless(call: BaseHTTPRequestHandler) -> None:
        call.send_response(200)
        call.end_headers()
        while True:
            written.append(call.wfile.write(bytes(65_536)))

    hook.answer = endless

    assert await door().post(hook.url, "id", BODY) == 200
    assert sum(written) < 16 * 1024 * 1024  # what the kernel took for us


async def test_an_answer_whose_body_never_ends_is_an_answer_all_the_same(hook: Hook) -> None:
    def begins(call: BaseHTTPRequestHandler) -> None:
        call.send_response(201)
        call.send_header("content-length", "5")
        call.end_headers()
        call.wfile.flush()
        hook.hangs(call)

    hook.answer = begins

    assert await door(callback_timeout_s=0.3).post(hook.url, "id", BODY) == 201


async def test_what_hangs_is_given_up_in_time(hook: Hook) -> None:
    began_s = time.monotonic()

    assert await unanswered(hook, hook.hangs, callback_timeout_s=0.3) == "it took too long"
    assert time.monotonic() - began_s < 3


async def test_a_status_line_that_drips_is_given_up_in_time(hook: Hook) -> None:
    def drips(call: BaseHTTPRequestHandler) -> None:
        while not hook.released.wait(0.05):
            call.wfile.write(b"H")

    assert await unanswered(hook, drips, callback_timeout_s=0.5)


async def test_a_connection_that_is_closed_or_talks_of_something_else_is_no_answer(hook: Hook) -> None:
    def speaks_ssh(call: BaseHTTPRequestHandler) -> None:
        call.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        hangs_up(call)

    assert await unanswered(hook, hangs_up)
    assert await unanswered(hook, speaks_ssh)
    hook.dies()
    with pytest.raises(CallbackUnanswered, match="ConnectError"):
        await door().post(hook.url, "id", BODY)


async def test_a_name_that_is_not_found_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    with pytest.raises(CallbackUnanswered, match="Name or service not known"):
        await door().post("http://nobody.example/", "id", BODY)


async def test_a_look_up_that_hangs_is_not_waited_for(hook: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        hook.released.wait(20)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    began_s = time.monotonic()

    with pytest.raises(CallbackUnanswered, match="too long"):
        await door(callback_timeout_s=0.2).post("http://slow.example/", "id", BODY)
    assert time.monotonic() - began_s < 3


async def test_a_certificate_must_be_of_an_authority_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate = self_signed(tmp_path)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

        with pytest.raises(CallbackUnanswered, match="CERTIFICATE_VERIFY_FAILED"):
            await door().post(url, "id", BODY)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await door().post(url, "id", BODY) == 204


async def test_calls_beside_each_other_do_not_wait_for_one_another(hook: Hook) -> None:
    with Hook() as other:
        hook.answer = hook.hangs
        webhooks = door()
        hanging = [asyncio.create_task(webhooks.post(hook.url, "id", BODY)) for _ in range(8)]

        assert await asyncio.wait_for(webhooks.post(other.url, "id", BODY), 3) == 200

        hook.released.set()
        assert all(
            isinstance(end, CallbackUnanswered) for end in await asyncio.gather(*hanging, return_exceptions=True)
        )
