"""What this process ended lately, to be told again to a store that lost it.

A job may be submitted and ended within what a store loses; nobody holds its lease any more, and the store would have it
run once more. So its last owner remembers how it ended, and asks with each renewal whether the store still knows.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from dispatcher.connection import Call, Store
from dispatcher.errors import LeaseLost
from dispatcher.leases import LEASES_A_CALL, Holding
from dispatcher.log import get_logger
from dispatcher.plan import pieces
from dispatcher.slots import Slots

REMEMBERED_S = 30.0
"""Longer than any tail that a store loses; an absence of the store does not count, for nothing is forgotten unasked."""
REMEMBERED_MAX = 10_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """One delivery's end: what was held, and the call that gave it back."""

    holding: Holding
    call: Call[Any]
    ended_s: float


class Recent:
    """The latest endings of this process, oldest first."""

    def __init__(self) -> None:
        self._endings: deque[Ending] = deque(maxlen=REMEMBERED_MAX)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._endings)

    def remember(self, holding: Holding, call: Call[Any]) -> None:
        """Keep an ending that the store has confirmed; from any thread."""
        with self._lock:
            self._endings.append(Ending(holding, call, time.monotonic()))

    def tell(self, store: Store, slots: Slots) -> None:
        """Ask of each ending whether the store knows it, and tell it again where it does not.

        ``lost`` is as it should be: the lease was given back, or has a newer owner.

        Raises:
            StoreUnavailable: some were not asked of; nothing is forgotten.
        """
        with self._lock:
            endings = list(self._endings)
        asked_s = time.monotonic()
        for chunk in pieces(endings, LEASES_A_CALL):
            verdicts = store.do(slots.renew([ending.holding.lease for ending in chunk]))
            for ending, verdict in zip(chunk, verdicts, strict=True):
                if verdict != "lost":
                    _tell_again(store, slots, ending, is_forgotten=verdict == "rolled_back")
        with self._lock:
            while self._endings and self._endings[0].ended_s < asked_s - REMEMBERED_S:
                self._endings.popleft()


def _tell_again(store: Store, slots: Slots, ending: Ending, *, is_forgotten: bool) -> None:
    delivery = ending.holding.lease.delivery
    try:
        if is_forgotten:
            store.do(slots.reassert(ending.holding))
        store.do(ending.call)
    except LeaseLost:
        return  # another took it over meanwhile
    log.warning("ending told again", job_id=delivery.job_id, fencing_token=delivery.token)
