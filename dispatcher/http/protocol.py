"""The API's side of a connection: what is no HTTP, or has too large a head, is refused in the contract's shape.

uvicorn answers the former in plain text and does not bound the latter. Nobody's token is known before the head has
been read, so these refusals come to strangers too.

Source: contract §1, "Error envelope"; docs/http-api.md, "Calls and answers".
"""

from __future__ import annotations

from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dispatcher.http.errors import Answer

HEAD_BYTES = 64 * 1024
"""Address and headers together; a browser's are 8 KiB at the very most."""
NO_HTTP = "Request is not valid HTTP"
HEAD_TOO_LARGE = f"Request head is larger than {HEAD_BYTES} bytes"


class _HeadTooLargeError(Exception):
    """Raised in the parser's callbacks, it ends the parsing."""


class ContractProtocol(HttpToolsProtocol):
    """One connection."""

    _in_head = False
    _head_bytes = 0
    _unread_bytes = 0
    """Of a head whose end has not come: what came in the chunks after its first."""

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        was_in_head = self._in_head
        super().data_received(data)
        self._unread_bytes = self._unread_bytes + len(data) if was_in_head and self._in_head else 0
        if self._unread_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._head_bytes = self._unread_bytes
            self.send_400_response(HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start to count."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a chunked body's trailer."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Serve the request."""
        self._in_head = False
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser refused, for whatever of its reasons, and hang up."""
        del msg  # uvicorn's words, and plain text
        if self._head_bytes > HEAD_BYTES:
            answer = Answer(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, HEAD_TOO_LARGE)
        else:
            answer = Answer(HTTPStatus.BAD_REQUEST, NO_HTTP)
        status = HTTPStatus(answer.status_code)
        head = [f"HTTP/1.1 {status.value} {status.phrase}".encode(), b"connection: close"]
        head += [name + b": " + value for name, value in (*self.server_state.default_headers, *answer.raw_headers)]
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_BYTES:
            raise _HeadTooLargeError
