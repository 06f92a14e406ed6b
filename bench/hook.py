"""A listener for callbacks on loopback: it keeps what it hears, and answers, hangs or breaks off as it is told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

HANG_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Heard:
    """One call, as it came; header names are lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The `webhook-id`."""
        return self.headers["webhook-id"]


class _Call(BaseHTTPRequestHandler):
    """One connection; the server says what becomes of a call."""

    server: _Server

    def do_POST(self) -> None:
        """Keep what came, whole, then answer."""
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.hook.heard.append(Heard(self.path, headers, body))
        self.server.hook.answer(self)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, port: int, hook: Hook) -> None:
        self.hook = hook
        super().__init__(("127.0.0.1", port), _Call)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a caller who hung up."""


Answer = Callable[[BaseHTTPRequestHandler], None]


def answers(status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer so, each time, without a body."""

    def answer(call: BaseHTTPRequestHandler) -> None:
        call.send_response(status)
        for name, value in {"content-length": "0", **(headers or {})}.items():
            call.send_header(name, value)
        call.end_headers()

    return answer


def in_turn(*each: Answer) -> Answer:
    """Answer the first call by the first, and so on; the last stays."""
    left = list(each)

    def answer(call: BaseHTTPRequestHandler) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(call)

    return answer


def hangs_up(call: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    call.close_connection = True


class Hook:
    """The listener; a context manager. `dies` and `comes_back` keep its port."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer = answer or answers(200)
        self.heard: list[Heard] = []
        self.released = threading.Event()
        """Ends every `hangs`."""
        self._server: _Server | None = None
        self.comes_back()
        self.port = self._port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.released.set()
        self.dies()

    @property
    def _port(self) -> int:
        assert self._server is not None  # noqa: S101 (for the type checker)
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where it listens, by number."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each call, in order."""
        return [call.id for call in self.heard]

    def hangs(self, call: BaseHTTPRequestHandler) -> None:
        """Say nothing until it is released; then the connection is closed."""
        self.released.wait(HANG_MAX_S)
        call.close_connection = True

    def dies(self) -> None:
        """Refuse connections."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def comes_back(self) -> None:
        """Listen, on the port that it had."""
        self._server = _Server(getattr(self, "port", 0), self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
