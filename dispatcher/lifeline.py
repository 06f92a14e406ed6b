"""A child's line to its parent: when the parent is gone, however it went, the child stops.

The parent keeps the write end of a pipe and never writes; a child that inherits the read end sees it close. This
works on every POSIX system, for SIGKILL too, and cannot be fooled by reused pids.

``python -m dispatcher.lifeline simulator --port 0`` runs another module on such a line.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

VARIABLE = "DISPATCHER_LIFELINE"
"""Number of the inherited read end, in the child's environment."""
SECOND_SIGNAL_S = 30.0
"""A worker hands its jobs over within 22 s; a second SIGTERM asks it to end at once."""
LAST_RESORT_S = 5.0


class Lifeline:
    """The parent's end."""

    def __init__(self) -> None:
        self.child_end, self._own_end = os.pipe()

    def environment(self) -> dict[str, str]:
        """What a child needs in its environment, beside ``pass_fds=(child_end,)``."""
        return {VARIABLE: str(self.child_end)}

    def close(self) -> None:
        """Let go; children that still run stop."""
        os.close(self.child_end)
        os.close(self._own_end)


def hold_on() -> None:
    """Stop this process, as by SIGTERM, when its parent is gone; does nothing in one that no Lifeline started."""
    number = os.environ.pop(VARIABLE, None)
    if number is None:
        return
    os.set_inheritable(int(number), False)  # noqa: FBT003 (its only parameter)
    threading.Thread(target=_watch, args=(int(number),), name="lifeline", daemon=True).start()


def _watch(read_end: int) -> None:
    os.read(read_end, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECOND_SIGNAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_RESORT_S)
    os._exit(1)


if __name__ == "__main__":
    hold_on()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
