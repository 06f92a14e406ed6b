"""The command line: one noun or role a file, one table of exit codes, one sentence an error.

This file is all that is loaded before Ctrl-C has a meaning: the commands take half a second to load.
"""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Be the program `dispatcher`."""
    ends_quietly = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # nohup and the like mean it
    if ends_quietly:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # an exception in the middle of an import shows a traceback
    from dispatcher import lifeline  # noqa: PLC0415 (see above)
    from dispatcher.cli.program import run  # noqa: PLC0415 (see above)

    if ends_quietly:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    lifeline.hold_on()
    sys.exit(run())
