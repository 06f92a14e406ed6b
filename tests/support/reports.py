"""A listener for what is posted to a ``replyUrl``: it keeps every request and answers 200."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.up import until


@dataclass(frozen=True, slots=True)
class Report:
    """One request as it came; ``path`` with its query."""

    method: str
    path: str
    content_type: str
    body: bytes


class Reports:
    """What came so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kept: list[Report] = []

    def url_of(self, name: str) -> str:
        """An address of the caller's own, to which a path can be added."""
        return f"{self.url}/{name}"

    def wait_for(self, prefix: str) -> Report:
        """Wait for the first request whose path begins so."""
        found: Report = until(
            lambda: next((report for report in self.kept if report.path.startswith(f"{prefix}/")), None),
            f"a report to {prefix}",
        )
        return found


@contextmanager
def listening_for_reports() -> Iterator[Reports]:
    """Listen on a free port while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    reports = Reports(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (_Handler,), {"reports": reports})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield reports
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    reports: Reports

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        report = Report(self.command, self.path, self.headers.get("Content-Type", ""), body)
        self.reports.kept.append(report)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        pass
