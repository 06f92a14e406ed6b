"""The program as a child process: for tests, benches and whoever wants a fake Discord of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).parents[1]
_STOP_TIMEOUT_S = 10.0


@contextmanager
def running(*arguments: str) -> Iterator[str]:
    """Run ``python -m simulator`` on a free port of 127.0.0.1 while the block runs.

    Args:
        arguments: further options of the program: ``--strict``.

    Yields:
        Its URL, without a slash at the end; Discord is below ``/api/v9``, the controls below ``/sim``.

    Raises:
        RuntimeError: it ended without serving; it said why on stderr.
    """
    command = [sys.executable, "-m", "simulator", "--port", "0", "--json", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT) as process:  # noqa: S603 - ours
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError(f"the simulator ended with status {process.wait(_STOP_TIMEOUT_S)} before it served")
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(_STOP_TIMEOUT_S)
