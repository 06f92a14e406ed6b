"""TCP ports of this machine that nothing listens on."""

from __future__ import annotations

import socket
from contextlib import ExitStack


def free_ports(count: int) -> list[int]:
    """So many different free ports of 127.0.0.1, chosen by the kernel.

    A server that searches for a port by itself starts at the same number in each process of a parallel run, and two of
    them sometimes find the same one free.
    """
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
