"""Every kind of fault, how often a full run has it at least, and what it needs; and in which order they strike."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial

from chaos import gateway, outages, processes, refusals
from chaos.arena import Arena
from chaos.strike import Strike

LEAST = 15
LEAST_OF_GATEWAY = 5
STATES = ("R", "C", "S", "A", "U")
IN_EACH_STATE = 11
"""Worker kills in each state: one more than promised, since the state is read a moment before."""
PROMISED_IN_EACH_STATE = 10
PROMISED_FAULTS = 300
PROMISED_JOBS = 5000


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault.

    Args:
        name: as in the table.
        strike: does it once; raises :class:`chaos.arena.NotNow` where it cannot.
        least: how often a full run has it.
        bound_s: within how many seconds what it hit goes on, given the TTL and the learning window in seconds.
        needs_clock: whether it needs a clock that can be stepped.
        is_outage: whether the fleet is without its store until it has recovered; nothing else can recover meanwhile.
        is_cut: whether connections end, on which replies may be on their way.
    """

    name: str
    strike: Callable[[Arena, random.Random], Strike]
    least: int
    bound_s: Callable[[float, float], float]
    needs_clock: bool = False
    is_outage: bool = False
    is_cut: bool = False


def _redelivery_s(ttl_s: float, _learning_s: float) -> float:
    """TTL, strikes, sweep, and a look; twice that where new deliveries may be lost, see ``loses_deliveries``."""
    return ttl_s + 5 + 2


def _restart_s(_ttl_s: float, learning_s: float) -> float:
    return learning_s + 15


def _soon_s(_ttl_s: float, _learning_s: float) -> float:
    return 10


def _granted_s(_ttl_s: float, _learning_s: float) -> float:
    """Grants need no dispatcher; who cools is let in by a worker's heartbeat."""
    return 7


def _retried_s(_ttl_s: float, _learning_s: float) -> float:
    """The account rests for a second or two, and the job is pinned to it."""
    return 20


def _finished_s(_ttl_s: float, _learning_s: float) -> float:
    """The slot of a cancelled job is held until the upstream has ended: its longest job, and a look."""
    return 60


def _look_up_s(_ttl_s: float, _learning_s: float) -> float:
    return 60


def _heard_s(_ttl_s: float, _learning_s: float) -> float:
    """The longest pause between two connections, after several failures in a row, and a moment."""
    return 75


KINDS: tuple[Kind, ...] = (
    *(
        Kind(f"kill worker in {s}", partial(processes.kill_worker, state=s), IN_EACH_STATE, _redelivery_s)
        for s in STATES
    ),
    Kind("freeze worker", processes.freeze_worker, LEAST, _redelivery_s),
    Kind("kill dispatcher", processes.kill_dispatcher, LEAST, _granted_s),
    Kind("freeze dispatcher", processes.freeze_dispatcher, LEAST, _granted_s),
    Kind("kill api", processes.kill_api, LEAST, _soon_s),
    Kind("freeze api", processes.freeze_api, LEAST, _soon_s),
    Kind("429", partial(refusals.refuse, kind="429"), LEAST, _retried_s),
    Kind("401", partial(refusals.refuse, kind="401"), LEAST, _retried_s),
    Kind("5xx before accept", partial(refusals.refuse, kind="5xx before accept"), LEAST, _look_up_s),
    Kind("5xx after accept", partial(refusals.lose_answer, kind="5xx after accept"), LEAST, _look_up_s),
    Kind("hang", partial(refusals.lose_answer, kind="hang"), LEAST, _look_up_s),
    Kind("cancel", refusals.cancel, LEAST, _finished_s),
    Kind("kill store", outages.kill_store, LEAST, _restart_s, is_outage=True, is_cut=True),
    Kind("roll back", outages.roll_back, LEAST, _restart_s, is_outage=True, is_cut=True),
    Kind("fail over", outages.fail_over, 1, _restart_s, is_outage=True, is_cut=True),
    Kind("fail back", outages.fail_back, 1, _restart_s, is_outage=True, is_cut=True),
    Kind("freeze store", outages.freeze_store, LEAST, _soon_s, is_outage=True),
    Kind("script flush", outages.flush_scripts, LEAST, _soon_s),
    Kind("cut link", outages.cut, LEAST, _soon_s, is_outage=True, is_cut=True),
    Kind("freeze link", outages.freeze_link, LEAST, _soon_s, is_outage=True),
    Kind("half-close", outages.half_close, LEAST, _soon_s, is_outage=True, is_cut=True),
    Kind("step store clock", outages.step_store_clock, LEAST, _redelivery_s, needs_clock=True),
    Kind("step worker clock", outages.step_worker_clock, LEAST, _soon_s, needs_clock=True),
)
GATEWAY_KINDS: tuple[Kind, ...] = (
    Kind("cut sessions", gateway.cut_sessions, LEAST_OF_GATEWAY, _heard_s),
    Kind("op 7", gateway.reconnect, LEAST_OF_GATEWAY, _heard_s),
    Kind("op 9", gateway.invalidate, LEAST_OF_GATEWAY, _heard_s),
    Kind("end sessions", gateway.end_sessions, LEAST_OF_GATEWAY, _heard_s),
    Kind("refuse session", gateway.refuse_session, LEAST_OF_GATEWAY, _heard_s),
    Kind("refuse token", gateway.refuse_token, LEAST_OF_GATEWAY, _heard_s),
    Kind("gateway away", gateway.gateway_away, LEAST_OF_GATEWAY, _heard_s),
    *(
        Kind(f"events {how}", partial(gateway.disturb_events, how=how), LEAST_OF_GATEWAY, _finished_s)
        for how in ("drop", "duplicate", "reorder")
    ),
)
"""Those that strike a fleet with ``observe = "gateway"`` as well."""
BY_NAME = {kind.name: kind for kind in (*KINDS, *GATEWAY_KINDS)}


def is_worker_fault(name: str) -> bool:
    """Whether such a fault takes a worker away, and its jobs wait for another."""
    return name.startswith(("kill worker", "freeze worker"))


def loses_deliveries(name: str) -> bool:
    """Whether deliveries may be lost by such a fault that a worker has taken, or that are on their way to one."""
    return is_worker_fault(name) or BY_NAME[name].is_cut


def chosen(names: Collection[str]) -> list[Kind]:
    """The kinds of these names."""
    return [kind for kind in BY_NAME.values() if kind.name in names]


def plan(kinds: Collection[Kind], *, faults: int, dice: random.Random) -> list[str]:
    """Names in the order in which they strike: each kind its least in a long run, evenly in a short one."""
    wanted = Counter({kind.name: kind.least for kind in kinds})
    repeatable = [kind.name for kind in kinds if kind.least > 1]
    single = [kind.name for kind in kinds if kind.least == 1]
    if faults < wanted.total():
        wanted = Counter(single)
        dice.shuffle(repeatable)
        wanted.update(repeatable[n % len(repeatable)] for n in range(max(0, faults - len(single))))
    else:
        wanted.update(dice.choices(repeatable, k=faults - wanted.total()))
    order = [name for name in sorted(wanted.elements()) if name not in single]
    dice.shuffle(order)
    for place, name in zip((len(order) // 2, len(order) * 3 // 5), sorted(single, reverse=True), strict=False):
        order.insert(place, name)  # "fail over" sorts behind "fail back", and comes first
    return order
