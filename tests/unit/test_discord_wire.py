from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from dispatcher.errors import SubmitUnknown, UpstreamUnavailable
from workers.upstream.wire import SENDING_ENDS_S, USER_AGENT, Wire, retry_after_s


class Server:
    """Counts the requests whose bodies arrived whole; answers each, or hangs up on it."""

    def __init__(self) -> None:
        self.whole = 0
        self.headers = b""
        self.answer: bytes | None = b"HTTP/1.1 204 No Content\r\n\r\n"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.headers = await reader.readuntil(b"\r\n\r\n")
            size = int(self.headers.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(size)
            self.whole += 1
            if self.answer:
                writer.write(self.answer)
                await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    played = Server()
    listener = await asyncio.start_server(played.serve, "127.0.0.1", 0)
    async with listener:
        yield played, f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"


async def submit(
    wire: Wire,
    url: str,
    *,
    start_in_s: float = 2,
    end_in_s: float = 5,
    on_sent: Callable[[], None] = lambda: None,
) -> httpx.Response:
    now_s = time.monotonic()
    try:
        return await wire.submit(
            url,
            headers={"Authorization": "t"},
            json={},
            start_by_s=now_s + start_in_s,
            end_by_s=now_s + end_in_s,
            on_sent=on_sent,
        )
    finally:
        await wire.close()


async def test_a_file_that_is_taken_too_slowly_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.upstream.wire._UPLOAD_MAX_S", 0.05)

    async def take_for_ever(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def content() -> AsyncIterator[bytes]:
        yield b"a file"

    async with httpx.AsyncClient(transport=httpx.MockTransport(take_for_ever)) as http:
        with pytest.raises(UpstreamUnavailable, match="TimeoutError"):
            await Wire("discord", http).put(
                httpx.URL("http://files/1"), content(), size_bytes=6, content_type="image/png"
            )


async def test_a_request_says_honestly_who_sends_it(server: tuple[Server, str]) -> None:
    played, url = server

    response = await submit(Wire("x"), url)

    assert response.status_code == 204
    assert f"user-agent: {USER_AGENT}".lower().encode() in played.headers.lower()
    assert USER_AGENT.startswith("pixverse-dispatcher/")


async def test_a_connection_that_closes_after_the_request_leaves_its_fate_unknown(server: tuple[Server, str]) -> None:
    played, url = server
    played.answer = None

    with pytest.raises(SubmitUnknown):
        await submit(Wire("x"), url)
    assert played.whole == 1


async def test_it_says_when_the_request_has_left_before_any_answer(server: tuple[Server, str]) -> None:
    played, url = server
    played.answer = None
    sent: list[bool] = []

    with pytest.raises(SubmitUnknown):
        await submit(Wire("x"), url, on_sent=lambda: sent.append(True))

    assert sent == [True]


async def test_a_request_that_never_left_is_not_called_sent() -> None:
    with pytest.raises(UpstreamUnavailable):
        await submit(Wire("x"), "http://127.0.0.1:9/", on_sent=lambda: pytest.fail("nothing was sent"))


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel has no TCP_USER_TIMEOUT")
async def test_the_kernel_gives_up_sending_before_a_submission_would_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.upstream.wire.getproxies", dict)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()
    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    wire, now_s = Wire("x"), time.monotonic()
    response = await wire.submit(
        f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/",
        headers={},
        json={},
        start_by_s=now_s + 2,
        end_by_s=now_s + 5,
        on_sent=lambda: None,
    )
    connected = response.extensions["network_stream"].get_extra_info("socket")
    timeout_ms = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    await wire.close()
    await closed.wait()
    listener.close()

    assert timeout_ms == SENDING_ENDS_S * 1000


async def test_a_refused_connection_means_that_nothing_was_sent() -> None:
    with pytest.raises(UpstreamUnavailable) as caught:
        await submit(Wire("x"), "http://127.0.0.1:9/")

    assert not caught.value.sent


async def test_a_permit_that_ran_out_is_not_used(server: tuple[Server, str]) -> None:
    played, url = server

    with pytest.raises(UpstreamUnavailable) as caught:
        await submit(Wire("x"), url, start_in_s=-0.001)

    assert not caught.value.sent
    assert played.whole == 0


async def test_the_permit_is_checked_when_the_first_byte_leaves(server: tuple[Server, str]) -> None:
    played, url = server

    class Slow(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(0.2)
            return await super().handle_async_request(request)

    async with httpx.AsyncClient(transport=Slow()) as http:
        with pytest.raises(UpstreamUnavailable) as caught:
            await submit(Wire("x", http), url, start_in_s=0.1)

    assert not caught.value.sent
    assert played.whole == 0


async def test_an_answer_that_takes_too_long_leaves_the_fate_unknown() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(204, request=request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(hang)) as http:
        with pytest.raises(SubmitUnknown):
            await submit(Wire("x", http), "http://upstream/", end_in_s=0.05)


@pytest.mark.parametrize(
    ("failure", "sent"),
    [
        (httpx.ConnectError("x"), False),
        (httpx.ConnectTimeout("x"), False),
        (httpx.PoolTimeout("x"), False),
        (httpx.ReadTimeout("x"), True),
        (httpx.RemoteProtocolError("x"), True),
        (httpx.WriteError("x"), True),
        (httpx.ReadError("x"), True),
    ],
)
async def test_every_failure_of_the_wire_is_told_in_our_words(failure: httpx.TransportError, sent: bool) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise failure

    async with httpx.AsyncClient(transport=httpx.MockTransport(fail)) as http:
        with pytest.raises(UpstreamUnavailable) as read:
            await Wire("x", http).read("http://upstream/", headers={})
        with pytest.raises(SubmitUnknown if sent else UpstreamUnavailable):
            await submit(Wire("x", http), "http://upstream/")

    assert read.value.sent == sent


@pytest.mark.parametrize(("header", "expected"), [("2", 2.0), ("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct", None)])
def test_retry_after_is_read_in_seconds(header: str, expected: float | None) -> None:
    assert retry_after_s(httpx.Response(429, headers={"Retry-After": header})) == expected


@pytest.mark.parametrize(
    ("now", "until", "expected"),
    [
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:29:30 GMT", 90.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Fri, 21 Oct 2028 07:27:00 GMT", 86_400.0),
        ("Wed, 21 Oct 2026 07:28:00 -0000", "Wed, 21 Oct 2026 07:29:30 GMT", None),
        ("never", "Wed, 21 Oct 2026 07:29:30 GMT", None),
    ],
)
def test_retry_after_as_a_date_is_read_by_the_answers_own_clock(now: str, until: str, expected: float | None) -> None:
    assert retry_after_s(httpx.Response(429, headers={"Retry-After": until, "Date": now})) == expected
