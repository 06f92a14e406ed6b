"""``python -m simulator``: serves the fake Discord until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING

import uvicorn

from simulator.app import LINK_LIFE_S, build_app

if TYPE_CHECKING:
    from collections.abc import Sequence

_BACKLOG = 4096


class _Server(uvicorn.Server):
    """Says that it serves once it does, and hangs up when told to stop."""

    def __init__(self, config: uvicorn.Config, ready_line: str) -> None:
        super().__init__(config)
        self._ready_line = ready_line

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(self._ready_line + "\n")
        sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()  # a submission that hangs on purpose would hold up the end
        await super().shutdown(sockets)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Returns:
        0 after SIGTERM or SIGINT; 1 when the address cannot be listened on.
    """
    options = _parse(arguments)
    try:
        listener = _listen(options.host, options.port)
    except (OSError, OverflowError, UnicodeError) as refusal:
        reason = (refusal.strerror if isinstance(refusal, OSError) else None) or str(refusal)
        sys.stderr.write(f"simulator: cannot listen there: {reason}\n")
        return 1
    host = "127.0.0.1" if options.host == "0.0.0.0" else options.host
    url = options.public_url or f"http://{host}:{listener.getsockname()[1]}"
    ready = json.dumps({"ready": True, "url": url}) if options.json else f"The simulator listens on {url}"
    app = build_app(url, strict=options.strict, link_life_s=options.link_life_s)
    config = uvicorn.Config(
        app,
        log_level="error",
        access_log=False,
        lifespan="off",
        backlog=_BACKLOG,
        timeout_keep_alive=75,  # longer than a client pauses between polls: a closed connection is no part of the play
        timeout_graceful_shutdown=1,
    )
    # uvicorn raises the signal again after a clean end; a handler of ours keeps that from becoming the exit status.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    gc.freeze()
    _Server(config, ready).run([listener])
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A fake Discord with a PixVerse bot.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=9080, help="port to listen on; 0: any free one (default: %(default)s)"
    )
    parser.add_argument("--strict", action="store_true", help="refuse tokens and channels that nobody declared")
    parser.add_argument("--json", action="store_true", help="announce the address as a line of JSON")
    parser.add_argument("--public-url", help="base of the links to files, where it is not the address listened on")
    parser.add_argument("--link-life-s", type=float, default=LINK_LIFE_S, help="life of a signed link in seconds")
    return parser.parse_args(arguments)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listener.set_inheritable(True)
    return listener


if __name__ == "__main__":
    sys.exit(main())
