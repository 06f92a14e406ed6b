"""The TCP address that the API listens on."""

from __future__ import annotations

import errno
import socket

from dispatcher.errors import InUse, SettingsError

BACKLOG = 2048
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def bound(host: str, port: int) -> socket.socket:
    """Listen there; port 0 takes a free one.

    Raises:
        InUse: another program listens there.
        SettingsError: there is no such address, it is not this machine's, or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise InUse(f"{host} port {port}", "another program") from error
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise SettingsError(
            f"{host} port {port} cannot be bound ({reason}); choose another by --host and --port."
        ) from error


def url_of(listener: socket.socket) -> str:
    """URL under which this machine reaches it, such as ``http://127.0.0.1:8000``."""
    host, port = listener.getsockname()[:2]
    reachable = _ANY.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
