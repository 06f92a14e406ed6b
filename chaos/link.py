"""One client's connection through the proxy: two ends, and what can be done to the bytes between them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

HIGH_WATER_BYTES = 256 * 1024
"""Bytes kept for an end that does not read; then the other end is not read either."""
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, zero seconds: closing sends RST and drops what was not sent."""


class End(asyncio.Protocol):
    """The connection to the client, or to the server; what arrives goes out at its peer."""

    peer: End

    def __init__(self, link: Link) -> None:
        self.link = link
        self.transport: asyncio.Transport | None = None
        self._held: set[str] = set()
        self._kept: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)

    def data_received(self, data: bytes) -> None:
        """Pass on what arrived, or keep it while the end is held.

        A loop may deliver once more after it was told to pause (uvloop starts to read after ``connection_made``,
        whatever was said in there); it is told again here, so no more than that is kept.
        """
        if self._held:
            self._kept.append(data)
            if self.transport is not None:
                self.transport.pause_reading()
        else:
            self.carry(data)

    def carry(self, data: bytes) -> None:
        """Write it to the peer."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass the end on: what is still to be sent to the peer is sent first."""
        self.transport = None
        self.link.lost(self, exc)

    def pause_writing(self) -> None:
        """Stop reading from the peer: this end takes no more."""
        self.peer.hold("full")

    def resume_writing(self) -> None:
        """Go on."""
        self.peer.release("full")

    def hold(self, reason: str) -> None:
        """Read nothing until every reason is released."""
        if not self._held and self.transport is not None:
            self.transport.pause_reading()
        self._held.add(reason)

    def release(self, reason: str) -> None:
        """Take one reason away."""
        self._held.discard(reason)
        if self._held:
            return
        kept, self._kept = self._kept, []
        for data in kept:
            self.carry(data)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def reset(self) -> None:
        """Close with RST, at once."""
        if self.transport is not None:
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()

    def finish(self) -> None:
        """Close once everything is sent."""
        if self.transport is not None:
            self.transport.close()


class ClientEnd(End):
    """Requests come in here."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client, and only then look for the server: it may be connected before its client is."""
        super().connection_made(transport)
        self.link.on_open(self.link)

    def carry(self, data: bytes) -> None:
        """Pass a request on."""
        self.link.unanswered = True
        if self.peer.transport is not None:
            self.peer.transport.write(data)


class ServerEnd(End):
    """Replies come in here."""

    def carry(self, data: bytes) -> None:
        """Pass a reply on, or as much of it as a half-close lets through."""
        link = self.link
        if link.bytes_max is not None:
            data = link.cut_reply(data)
        elif not link.is_half_closed:
            link.unanswered = False
        if link.is_half_closed:
            link.cut_bytes += len(data)
        elif self.peer.transport is not None:
            self.peer.transport.write(data)


class Link:
    """The two ends together.

    Args:
        label: of the port that the client came by.
        on_open: called when the client is connected; it connects the server.
        on_end: called when both ends are closed.
    """

    def __init__(self, label: str, on_open: Callable[[Link], None], on_end: Callable[[Link], None]) -> None:
        self.label = label
        self.on_open = on_open
        self.unanswered = False
        """Whether the last bytes that passed were a request's."""
        self.bytes_max: int | None = None
        """Set by a half-close that waits for the next reply: so many bytes of it pass."""
        self.is_half_closed = False
        self.cut_bytes = 0
        self.client, self.server = ClientEnd(self), ServerEnd(self)
        self.client.peer, self.server.peer = self.server, self.client
        self.client.hold("connecting")
        self._on_end = on_end

    def cut_reply(self, data: bytes) -> bytes:
        """Let the first bytes of a reply pass, never all of it, and close the client's reading side after them.

        The server's side stays open: requests still reach it and are carried out. Returns what was not passed.
        """
        passed = min(self.bytes_max or 0, len(data) - 1)
        self.bytes_max = None
        self.is_half_closed = True
        if self.client.transport is not None:
            self.client.transport.write(data[:passed])
            self.client.transport.write_eof()
        return data[passed:]

    def reset(self) -> None:
        """Send RST to both ends."""
        self.client.reset()
        self.server.reset()

    def lost(self, end: End, error: Exception | None) -> None:
        """Close the other end as this one was closed: with RST, or after everything is sent."""
        if end.peer.transport is None:
            self._on_end(self)
        elif error is not None:
            end.peer.reset()
        else:
            end.peer.finish()
