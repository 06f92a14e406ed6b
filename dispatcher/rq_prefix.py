"""RQ's key prefix: read once, at import, for the whole process; so it is taken before rq is first imported.

Nothing here imports rq. A program that uses RQ calls :func:`take` first, and imports what imports rq afterwards.
"""

from __future__ import annotations

import os
import sys

from dispatcher import handoff
from dispatcher.errors import SettingsError


def loaded() -> str | None:
    """Return the prefix with which rq was imported; None if it was not."""
    defaults = sys.modules.get("rq.defaults")
    return str(defaults.RQ_KEY_PREFIX) if defaults else None


def take(namespace: str) -> None:
    """Make ``<namespace>:rq`` the prefix of this process; calling it again with the same namespace changes nothing.

    Raises:
        SettingsError: rq was already imported with another prefix; it cannot be changed any more.
    """
    wanted = handoff.rq_prefix(namespace)
    present = loaded()
    if present not in (None, wanted):
        raise SettingsError(
            f"RQ was imported with the key prefix {present!r} and would miss our queue; "
            f"set {handoff.PREFIX_VARIABLE}={wanted} before it is imported."
        )
    os.environ[handoff.PREFIX_VARIABLE] = wanted
