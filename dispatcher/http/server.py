"""The HTTP API as a process: uvicorn, started from the program, which learns the real address once it serves."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from dispatcher.http.app import create_app
from dispatcher.http.backend import Storing, store_plainly
from dispatcher.http.listener import bound, url_of
from dispatcher.http.protocol import ContractProtocol
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings

GRACE_S = 10
"""How long calls in flight may go on after SIGTERM."""


class _Server(uvicorn.Server):
    """Reports when it serves, and returns on SIGTERM and SIGINT instead of dying of them once more."""

    def __init__(self, config: uvicorn.Config, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.when_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    settings: Settings,
    *,
    host: str,
    port: int,
    ready: Callable[[str], None] | None = None,
    secret_keys: SecretKeys | None = None,
    storing: Storing = store_plainly,
) -> None:
    """Serve the HTTP API until SIGTERM or SIGINT; to be called on the main thread.

    Args:
        settings: ``redis_url`` must be set.
        host: the address to bind; ``0.0.0.0`` binds all.
        port: the TCP port; 0 takes a free one.
        ready: called once with the URL, such as ``http://127.0.0.1:8000``, when calls are served.
        secret_keys: what seals the accounts' secrets; None takes them from the settings.
        storing: what happens around the storing of an account.

    Raises:
        InUse: another program listens there.
        SettingsError: the address cannot be bound, or the settings do not allow to serve.
    """
    app = create_app(settings, secret_keys=secret_keys, storing=storing)
    with bound(host, port) as listener:
        url = url_of(listener)
        config = uvicorn.Config(
            app,
            http=ContractProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=GRACE_S,
        )
        _Server(config, lambda: ready(url) if ready else None).run(sockets=[listener])
