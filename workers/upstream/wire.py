"""The one place where httpx's failures become errors of our tree; nobody else catches an httpx exception.

A submission must not start late: its permit is worth 2 s (docs/upstream.md, "The permit's budget"). The clock is read
when it counts, as the first byte is about to leave, after any wait for a connection.
"""

from __future__ import annotations

import asyncio
import math
import socket
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any
from urllib.request import getproxies

import httpx

from dispatcher.errors import SubmitUnknown, UpstreamUnavailable

USER_AGENT = f"pixverse-dispatcher/{version('pixverse-dispatcher')} (+https://github.com/pixverse-dispatcher/pixverse-dispatcher)"
LANES = 16
"""Separate connection pools: the work of httpcore's pool grows with its connections times its waiting requests."""
CONNECTIONS_A_LANE = 16
READS_AT_ONCE = 48
"""Reads wait for each other: a permit to submit is worth 2 s, and is lost where the event loop lags behind hundreds of
reads at once. Measured with 2,000 jobs on 200 channels on a busy machine: 875 jobs came back and were delivered again
without this bound, 6 with it."""
UPLOADS_AT_ONCE = 8
_KEPT_ALIVE_S = 20.0
"""Shorter than any server's own limit that we know: a connection closed under a submission makes its fate unknown."""
SENDING_ENDS_S = 18
"""The kernel goes on sending for a program that has closed its socket, or died. What was not received by then is given
up, so that no submission arrives after its time (2 s to start, 20 s to end)."""
_RETRY_AFTER_MAX_S = 86_400.0
_READ_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_UPLOAD_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
"""Of each piece that is written, and of the answer."""
_UPLOAD_MAX_S = 300.0
"""Of a file as a whole: whoever takes it byte by byte must not keep the others waiting for ever."""

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.InvalidURL,
)
_SEND_BEGINS = ("send_request_headers.started", "send_request_body.started")
_user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)  # Linux has it
_SEND_ENDS = "send_request_body.complete"


class _TooLate(Exception):
    """The permit ran out before anything, or everything, was sent: an unfinished request is none to the server."""


class Wire:
    """Requests to one upstream.

    Args:
        upstream: its name in errors.
        http: a client to use instead of our own; whoever made it closes it.
    """

    def __init__(self, upstream: str, http: httpx.AsyncClient | None = None) -> None:
        self.upstream = upstream
        self._owned = http is None
        self._lanes = (http,) if http else _lanes()
        self._reading = asyncio.Semaphore(READS_AT_ONCE)
        self._uploading = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def read(self, url: str, *, headers: dict[str, str], params: dict[str, Any] | None = None) -> httpx.Response:
        """GET: harmless to repeat.

        Raises:
            UpstreamUnavailable: no answer, for whatever reason.
        """
        with self._read_failures():
            async with self._reading:
                lane = self._lane(headers)
                return await lane.get(url, headers=_signed(headers), params=params, timeout=_READ_TIMEOUT)

    async def ask(self, url: str, *, headers: dict[str, str], json: Any) -> httpx.Response:
        """POST what is harmless to repeat.

        Raises:
            UpstreamUnavailable: no answer, for whatever reason.
        """
        with self._read_failures():
            async with self._reading:
                lane = self._lane(headers)
                return await lane.post(url, headers=_signed(headers), json=json, timeout=_READ_TIMEOUT)

    async def put(
        self, url: httpx.URL, content: AsyncIterator[bytes], *, size_bytes: int, content_type: str
    ) -> httpx.Response:
        """PUT a file's bytes, with nothing of ours but the User-Agent: whoever gets them shall learn no token.

        Raises:
            UpstreamUnavailable: no answer, for whatever reason.
        """
        told = {"User-Agent": USER_AGENT, "Content-Length": str(size_bytes), "Content-Type": content_type}
        with self._read_failures():
            async with self._uploading, asyncio.timeout(_UPLOAD_MAX_S):
                return await self._lane({}).put(url, headers=told, content=content, timeout=_UPLOAD_TIMEOUT)

    @contextmanager
    def _read_failures(self) -> Iterator[None]:
        try:
            yield
        except (httpx.RequestError, httpx.InvalidURL, TimeoutError) as error:
            raise UpstreamUnavailable(self.upstream, _told(error), sent=not isinstance(error, _NEVER_SENT)) from error

    async def submit(
        self,
        url: str,
        *,
        headers: dict[str, str],
        json: Any,
        start_by_s: float,
        end_by_s: float,
        on_sent: Callable[[], None],
    ) -> httpx.Response:
        """POST what must not happen twice.

        Args:
            url: where to.
            headers: beside the User-Agent.
            json: the body.
            start_by_s: the monotonic instant after which no byte of it may leave.
            end_by_s: the monotonic instant after which the answer is not waited for.
            on_sent: called when the last byte has left for the kernel, which sends it even if this process dies.

        Raises:
            UpstreamUnavailable: ``sent`` is False: it was certainly not sent.
            SubmitUnknown: it may have arrived.
        """

        async def watch(event: str, _info: dict[str, Any]) -> None:
            if event.endswith(_SEND_BEGINS) and time.monotonic() > start_by_s:
                raise _TooLate
            if event.endswith(_SEND_ENDS):
                on_sent()

        room_s = start_by_s - time.monotonic()
        if room_s <= 0:
            raise self._too_late()
        try:
            async with asyncio.timeout(end_by_s - time.monotonic()):
                return await self._lane(headers).post(
                    url,
                    headers=_signed(headers),
                    json=json,
                    timeout=httpx.Timeout(None, connect=room_s, pool=room_s),
                    extensions={"trace": watch},
                )
        except _TooLate:
            raise self._too_late() from None
        except _NEVER_SENT as error:
            raise UpstreamUnavailable(self.upstream, _told(error), sent=False) from error
        except (httpx.RequestError, TimeoutError) as error:
            raise SubmitUnknown(self.upstream, f"no answer to a submission: {_told(error)}") from error

    def _too_late(self) -> UpstreamUnavailable:
        return UpstreamUnavailable(self.upstream, "the permit ran out before the request left", sent=False)

    async def close(self) -> None:
        """Close the connections, if they are ours."""
        if self._owned:
            for lane in self._lanes:
                await lane.aclose()

    def _lane(self, headers: dict[str, str]) -> httpx.AsyncClient:
        """One login's requests share a lane, so that one that hangs holds few others up."""
        return self._lanes[zlib.crc32(headers.get("Authorization", "").encode()) % len(self._lanes)]


def _lanes() -> tuple[httpx.AsyncClient, ...]:
    tls = httpx.create_ssl_context()
    limits = httpx.Limits(max_connections=CONNECTIONS_A_LANE, keepalive_expiry=_KEPT_ALIVE_S)
    if getproxies():  # they are httpx's to find, and the proxy's kernel is not ours
        return tuple(httpx.AsyncClient(verify=tls, limits=limits) for _ in range(LANES))
    options = [(socket.IPPROTO_TCP, _user_timeout, SENDING_ENDS_S * 1000)] if _user_timeout else []
    transports = (httpx.AsyncHTTPTransport(verify=tls, limits=limits, socket_options=options) for _ in range(LANES))
    return tuple(httpx.AsyncClient(transport=transport) for transport in transports)


def retry_after_s(response: httpx.Response) -> float | None:
    """Read the header ``Retry-After`` in seconds, a date by the answer's own ``Date``; None where it is neither."""
    told = response.headers.get("retry-after", "")
    if (seconds := bounded_s(told)) is not None:
        return seconds
    try:
        return bounded_s(
            (parsedate_to_datetime(told) - parsedate_to_datetime(response.headers["date"])).total_seconds()
        )
    except (KeyError, TypeError, ValueError):
        return None


def bounded_s(told: Any) -> float | None:
    """Read a wait in seconds as an upstream wrote it, a day at most; None where it is no number."""
    try:
        seconds = float(told)
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), _RETRY_AFTER_MAX_S) if math.isfinite(seconds) else None


def _signed(headers: dict[str, str]) -> dict[str, str]:
    return {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}


def _told(error: Exception) -> str:
    """Name the failure; httpx leaves some without words."""
    return f"{type(error).__name__} {error}".strip()
