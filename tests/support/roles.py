"""One role of the dispatcher as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.settings import Settings


@contextmanager
def a_role(role: str, settings: Settings, log: Path, **environs: str) -> Iterator[None]:
    """Run ``dispatcher <role>`` on that store while the block runs; it must end well when it is told to.

    Args:
        role: ``work``, ``run``, ``api``.
        settings: the store and the namespace.
        log: where its stderr goes.
        environs: further settings, as environment variables.
    """
    store = {"DISPATCHER_REDIS_URL": str(settings.redis_url), "DISPATCHER_NAMESPACE": settings.namespace}
    environment = os.environ | store | environs
    with log.open("wb") as lines:
        process = subprocess.Popen([sys.executable, "-m", "dispatcher", role], env=environment, stderr=lines)
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(30) == 0, log.read_text()
