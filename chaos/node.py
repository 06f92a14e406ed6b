"""One Valkey of the chaos store: a process on a loopback port that can be killed, frozen, truncated and promoted."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from chaos.clock import Clock
from dispatcher.valkey import find_binary

HOST = "127.0.0.1"
PATIENCE_S = 60.0
"""How long anything that must come true may take on a busy machine."""
LOOK_S = 0.01
ANSWER_S = 5.0
NOWHERE_PORT = 1
"""Nothing listens there: a replica of it has no link, and keeps its data."""
_PORTS = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections: one of those, tried again and again while the server
is away, sooner or later connects to itself, and then holds the port that the server wants."""
_CONFIGURATION = {
    "bind": HOST,
    "appendonly": "yes",
    "appendfsync": "always",
    "aof-use-rdb-preamble": "yes",
    "aof-load-truncated": "yes",  # a checkpoint may end within an entry: it is dropped, as after a power failure
    "auto-aof-rewrite-percentage": "0",  # a rewrite would take a checkpoint's file away
    "save": "",
    "maxmemory-policy": "noeviction",
    "repl-diskless-sync-delay": "0",
    "repl-backlog-ttl": "0",  # else a server that lost its replica becomes, after a time, another one by itself
}


class NodeFailed(Exception):
    """A server did not do what the fault needs; its log says why."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How much of a node's append-only file there was at ``at_s`` (monotonic): all writes answered by then."""

    node: str
    at_s: float
    file: Path
    size_bytes: int


class Node:
    """One server and its files.

    Args:
        name: of its folder, too.
        folder: where its folder is made.
        clock: the clock that it lives by; None: the machine's.
    """

    def __init__(self, name: str, folder: Path, clock: Clock | None) -> None:
        self.name = name
        self.folder = folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._client = redis.Redis(
            host=HOST,
            port=self.port,
            decode_responses=True,
            socket_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        )

    @property
    def pid(self) -> int | None:
        """Of its process; None while it is down."""
        return self._process.pid if self._process is not None else None

    # --- the process ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it on the files that it has; returns once it serves."""
        options = [part for name, value in _CONFIGURATION.items() for part in (f"--{name}", value)]
        options += ["--port", str(self.port), "--dir", str(self.folder), "--logfile", str(self.folder / "valkey.log")]
        variables = self._clock.environment() if self._clock is not None else {}
        self._process = subprocess.Popen(
            [str(find_binary()), *options], env=os.environ | variables, start_new_session=True
        )
        self.await_that(self._serves, "serve")

    def kill(self) -> None:
        """SIGKILL it, with the children that save for it; returns when it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM it; returns when it is gone."""
        self._end(signal.SIGTERM)
        self._client.close()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP it, for so long."""
        process = self._running()
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)
        self.await_that(self._serves, "serve again")

    # --- what it is asked ----------------------------------------------------------------------------

    def ask(self, *command: str | int) -> Any:
        """Send a command to it directly, not through the proxy."""
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    def info(self, section: str) -> dict[str, Any]:
        """One section of INFO."""
        told: dict[str, Any] = self._client.info(section)
        return told

    def replication_id(self) -> str:
        """Its identity, which a restart and a promotion change."""
        return str(self.info("replication")["master_replid"])

    def offset(self) -> int:
        """How far it is in the replication stream, in bytes."""
        told = self.info("replication")
        return int(told.get("slave_repl_offset", told["master_repl_offset"]))

    def wall_clock_s(self) -> float:
        """Its TIME."""
        seconds, micros = self.ask("TIME")
        return float(seconds) + float(micros) / 1e6

    # --- the append-only file ------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """Note how much of its file there is."""
        at_s = time.monotonic()
        manifest = (self.folder / "appendonlydir" / "appendonly.aof.manifest").read_text()
        written = [line.split()[1] for line in manifest.splitlines() if line.endswith(" type i")]
        file = self.folder / "appendonlydir" / written[-1]
        return Checkpoint(self.name, at_s, file, file.stat().st_size)

    def truncate(self, to: Checkpoint) -> int:
        """Cut its file back, while it is down; returns the bytes that went.

        Raises:
            NodeFailed: the checkpoint is another node's, or its file has been replaced since.
        """
        now = self.checkpoint()
        if (to.node, to.file) != (now.node, now.file) or to.size_bytes > now.size_bytes:
            raise NodeFailed(f"{self.name} now writes {now.file.name}, not the checkpoint's {to.file}")
        os.truncate(to.file, to.size_bytes)
        return now.size_bytes - to.size_bytes

    # --- replication ---------------------------------------------------------------------------------

    def follow(self, master: Node) -> None:
        """Become its replica, or again after it was restarted, at once: by itself a replica looks once a second."""
        self.ask("CONFIG", "SET", "appendfsync", "no")  # two that wait for one disk would slow the master
        self.cut_link()
        self.ask("REPLICAOF", HOST, master.port)

    def await_sync(self, master: Node) -> None:
        """Wait until it has all that the master had when this was asked, and its own file holds it.

        A master that was restarted has a new identity, and once more when its replica is back: until the two have the
        same one, the replica's link is the old master's, and its offset says nothing.
        """

        def is_linked() -> bool:
            link = self.info("replication")
            return link.get("master_link_status") == "up" and link["master_replid"] == master.replication_id()

        def is_in_sync() -> bool:
            files = self.info("persistence")
            is_saving = files["aof_rewrite_in_progress"] or files["aof_rewrite_scheduled"]
            return not is_saving and self.offset() >= wanted

        self.await_that(is_linked, f"find {master.name}")
        wanted = master.offset()

        self.await_that(is_in_sync, f"follow {master.name}")

    def cut_link(self) -> None:
        """Lose the link to its master, and find none; what it has it keeps."""
        self.ask("REPLICAOF", HOST, NOWHERE_PORT)

    def promote(self) -> None:
        """Become a master with what it has."""
        self.ask("REPLICAOF", "NO", "ONE")
        self.ask("CONFIG", "SET", "appendfsync", "always")

    # --- waiting -------------------------------------------------------------------------------------

    def await_that(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait until it is so.

        Raises:
            NodeFailed: its process ended, or it took a minute.
        """
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            if self._process is not None and self._process.poll() is not None:
                break
            with suppress(RedisError, OSError):
                if is_so():
                    return
            time.sleep(LOOK_S)
        log = self.folder / "valkey.log"
        last = log.read_text(errors="replace")[-1000:] if log.exists() else "it has no log"
        raise NodeFailed(f"{self.name} did not {what}: {last}")

    def _serves(self) -> bool:
        return bool(self._client.ping())

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise NodeFailed(f"{self.name} is down")
        return self._process

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


def _free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on, and that no outgoing connection is given."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise NodeFailed("no free port")
