"""The state directory: private to its user, and held by one ``dispatcher up`` at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from dispatcher.errors import InUse, StoreUnavailable

_OWNER_ONLY = 0o700


@contextmanager
def hold_state_dir(state_dir: Path) -> Iterator[None]:
    """Be the one ``dispatcher up`` of a state directory while the block runs; made (0700) if it is not there.

    Raises:
        InUse: another process holds it; the message names its pid.
    """
    try:
        state_dir.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        lock = lock_file(state_dir / "up.lock")
    except OSError as error:
        raise StoreUnavailable(
            f"The state directory {state_dir} cannot be used ({error.strerror}); choose another by --state-dir."
        ) from error
    if lock is None:
        holder = (state_dir / "up.lock").read_text().strip()
        raise InUse(f"The state directory {state_dir}", f"`dispatcher up`, pid {holder or 'unknown'}")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n".encode())
        lock.flush()
        yield


def lock_file(path: Path) -> IO[bytes] | None:
    """Lock a file, made if it is not there; None if another process holds it. Closing the file frees it."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def private_folder(folder: Path) -> None:
    """Make sure that a folder is there, ours, and nobody else's to enter.

    Raises:
        StoreUnavailable: it is not ours: in the temporary directory somebody else may have made it.
    """
    try:
        folder.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise StoreUnavailable(f"{folder} is not a folder of this user; remove it and start again.")
        folder.chmod(_OWNER_ONLY)
    except OSError as error:
        raise StoreUnavailable(f"{folder} cannot be used for the embedded store: {error.strerror}.") from error
