"""Learning: after the store's server changed nothing is granted until the owners of leases have told what they hold.

The window itself is opened and held by the scripts (``lua/_epoch.lua``), in the step that first meets another server.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dispatcher.connection import Call, command
from dispatcher.keys import Keys
from dispatcher.plan import Plan
from dispatcher.settings import Settings

CHANNELS_MAX = 4096
"""Channels that a stop in order looks at, in one step of some milliseconds; with more the next start opens a window."""


@dataclass(frozen=True, slots=True)
class Window:
    """The open window: why it opened, and how much longer it lasts."""

    reason: str
    left_ms: int


class Learning:
    """The learning window of one store."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.namespace)
        self.window_ms = int(settings.learning_s * 1000)

    def declare(self) -> Call[None]:
        """Tell the store how long its windows last; one number for all who use it, the last one told."""
        return command("SET", self.keys.of("learning_ms"), self.window_ms, read=_nothing)

    def left_ms(self) -> Call[int]:
        """Milliseconds until the window closes; 0 where none is open."""
        return command("PTTL", self.keys.of("learning"), read=lambda reply: max(0, int(reply)))

    def noticed_ms(self) -> Plan[int]:
        """Milliseconds until the window closes, opened now if nobody has noticed yet that the server changed."""
        _, left_ms = yield [Call("renew", (0,), read=_nothing), self.left_ms()]
        return int(left_ms)

    def window(self) -> Plan[Window | None]:
        """The window, None where none is open."""
        left_ms, reason = yield [self.left_ms(), command("GET", self.keys.of("learning"), read=_text)]
        return Window(reason, left_ms) if reason and left_ms else None

    def leave_clean(self) -> Call[bool]:
        """Note that no lease is out, so that the next start needs no learning; False, and no note, if one is."""
        return Call("leave_clean", (CHANNELS_MAX,), bool)


def _nothing(reply: Any) -> None:
    del reply


def _text(reply: Any) -> str:
    return str(reply or "")
