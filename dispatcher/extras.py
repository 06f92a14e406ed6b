"""What a setting needs that is not installed with the rest: told at the start, in one sentence."""

from __future__ import annotations

from importlib.util import find_spec

from dispatcher.errors import SettingsError
from dispatcher.settings import Settings


def require_extras(settings: Settings) -> None:
    """Return if a worker with these settings finds all that it needs.

    Raises:
        SettingsError: an extra is not installed; the message says which.
    """
    if settings.observe == "gateway" and find_spec("websockets") is None:
        raise SettingsError(
            'observe = "gateway" needs the extra gateway, which is not installed: '
            "pip install 'pixverse-dispatcher[gateway]', or set observe = \"poll\"."
        )
