"""A wall clock that can be stepped, for single processes: libfaketime reads its offset from a file at each look.

Only the wall clock (``time.time()``, Redis's TIME) is stepped; the monotonic clock goes on, as on a host whose clock
is set. Several processes may share one clock.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import weakref
from pathlib import Path

_CHECKOUT = Path(__file__).parents[1]
_LIBRARY = "faketime/libfaketimeMT.so.1"
"""Of its two builds the one for programs with threads, which Valkey and the workers are."""
_FOLDERS = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 (where the kernel has it)
_SHARED_BYTES = 4096
MISSING = "libfaketime is not installed (Debian: apt-get install faketime)"
"""What a caller says who skips for want of it."""


def find_library() -> Path | None:
    """Where libfaketime is; None: nowhere."""
    for folder in map(Path, _FOLDERS):
        for found in (folder / _LIBRARY, *sorted(folder.glob(f"*/{_LIBRARY}"))):
            if found.is_file():
                return found
    return None


def available() -> bool:
    """Whether clocks can be stepped on this machine; if not, :data:`MISSING` says why."""
    return find_library() is not None


class Clock:
    """One stepped clock.

    Args:
        file: where its offset is kept; written at once, its folder must exist.

    Raises:
        FileNotFoundError: no libfaketime on this machine.
    """

    def __init__(self, file: Path) -> None:
        library = find_library()
        if library is None:
            raise FileNotFoundError(MISSING)
        self._library = library
        self._file = file.absolute()
        self._shared = _Shared()
        self.offset_s = 0.0
        """By how much the clock is ahead of the machine's."""
        self._write()

    def environment(self) -> dict[str, str]:
        """Variables for a process that is to live by this clock, beside those that it has anyway."""
        preloaded = [str(self._library), *filter(None, [os.environ.get("LD_PRELOAD")])]
        packages = [str(_CHECKOUT / "chaos" / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        return {
            "LD_PRELOAD": ":".join(preloaded),
            "PYTHONPATH": os.pathsep.join(packages),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_SHARED": f"/{self._shared.name} /{self._shared.name}",
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # else each step makes Python compile every module anew
        }

    def step(self, seconds: float) -> float:
        """Step forward, or back with a negative number; returns the new offset.

        A process sees it the next time it asks for the time; whoever needs that to have happened asks the process.
        """
        self.offset_s += seconds
        self._write()
        return self.offset_s

    def _write(self) -> None:
        """Put the offset in place in one step: a reader between two writes would find no time at all."""
        written = self._file.with_name(f"{self._file.name}.next")
        written.write_text(f"{self.offset_s:+.3f}\n")
        written.replace(self._file)


class _Shared:
    """The semaphore and the memory that libfaketime's processes share, of no use to us.

    Without them each process makes its own, and leaves them to the machine when it is killed. These go with the clock.
    """

    def __init__(self) -> None:
        self.name = f"chaos-clock-{os.getpid()}-{secrets.token_hex(4)}"
        library = ctypes.CDLL(None, use_errno=True)
        library.sem_open.restype = ctypes.c_void_p
        flags = os.O_CREAT | os.O_EXCL
        if library.sem_open(self.name.encode(), flags, ctypes.c_uint(0o600), ctypes.c_uint(1)) is None:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), self.name)
        (_SHARED_MEMORY / self.name).write_bytes(bytes(_SHARED_BYTES))
        weakref.finalize(self, _remove, self.name)


def _remove(name: str) -> None:
    for file in (name, f"sem.{name}"):
        (_SHARED_MEMORY / file).unlink(missing_ok=True)
