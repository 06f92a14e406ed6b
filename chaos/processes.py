"""Faults of processes: killed, or frozen and thawed."""

from __future__ import annotations

import random
import re
import time

from chaos.arena import Arena, NotNow
from chaos.crew import Member
from chaos.eye import Glance, LeaseSeen
from chaos.scale import STRIKE_S
from chaos.strike import Strike, grants_again, taken_up_again

SEARCH_S = 8.0
SETTLE_S = 0.05
"""What a frozen process had sent is carried out by then."""
HOLD_S = 0.3
"""An id that stays between queue and books for so long was popped by a process that stands still."""


def kill_worker(arena: Arena, dice: random.Random, state: str) -> Strike:
    """SIGKILL a worker that holds a lease in this state, as the store shows while the worker stands still."""
    strike = arena.strike(f"kill worker in {state}")
    with arena.owners.striking():
        with arena.struck("work", dice) as member:
            held = _held_in(arena, dice, member, state)
            strike.target, strike.in_flight = f"work {member.pid}", _running(arena)
            strike.hits(held)
            strike.strikes()
            arena.crew.kill(member)
        arena.crew.refill(member)
        arena.watch.follow(strike, taken_up_again(held))
        _await_recovery(arena, strike)
    return strike


def _held_in(arena: Arena, dice: random.Random, member: Member, state: str) -> list[LeaseSeen]:
    """Freeze the worker when it holds a lease in the state; all that it holds.

    Raises:
        NotNow: it never did, although it was tempted.
    """
    end_s = time.monotonic() + SEARCH_S
    is_tempted = False
    while time.monotonic() < end_s:
        glance = arena.eye.look()
        if glance is None:
            raise NotNow("the store is away")
        if state == "R":
            return _popped_by(arena, member)
        if any(lease.state == state for lease in glance.of(member.pid)):
            member.freeze()
            time.sleep(SETTLE_S)
            sure = arena.eye.look()
            held = sure.of(member.pid) if sure else []
            if any(lease.state == state for lease in held):
                return held
            member.thaw()
        if not is_tempted and time.monotonic() > end_s - SEARCH_S * 0.75:
            is_tempted = True
            _tempt(arena, dice, glance, state)
        time.sleep(0.01)
    raise NotNow(f"no lease in {state}")


def _tempt(arena: Arena, dice: random.Random, glance: Glance, state: str) -> None:
    """Make the state likelier: a lost answer is U for its worker, and holds up others of its channel in C."""
    directive = "seconds=6 submit=500-after-accept ack=3" if state == "U" else "seconds=6 submit=hang-after-accept"
    for channel in dice.sample(sorted(set(arena.channels) - glance.disabled), 3):
        arena.victim(f"waiting in {state}", dice, channel=channel, directive=directive)


def _popped_by(arena: Arena, member: Member) -> list[LeaseSeen]:
    """Freeze the worker in its wait for deliveries until one has been handed to it: popped, and in no books.

    Raises:
        NotNow: none was, within most of a lease's life; the worker goes on.
    """
    if any(other.is_frozen for other in arena.crew.of("work")):
        raise NotNow("another stands still: whose would it be?")
    member.freeze()
    end_s = time.monotonic() + arena.ttl_s * 0.6
    since: dict[str, float] = {}
    while time.monotonic() < end_s:
        glance = arena.eye.look()
        if glance is None:
            break
        reserved = {lease.delivery: lease for lease in glance.leases.values() if lease.state == "R"}
        since = {name: since.get(name, time.monotonic()) for name in glance.taken if name in reserved}
        held = [reserved[name] for name, seen_s in since.items() if time.monotonic() - seen_s > HOLD_S]
        if held:
            return held + glance.of(member.pid)
        time.sleep(0.05)
    member.thaw()
    raise NotNow("nothing was handed to it")


def freeze_worker(arena: Arena, dice: random.Random) -> Strike:
    """SIGSTOP a worker, for longer than its leases live: half the time renewed before the second strike, half after."""
    is_short = dice.random() < 0.5  # noqa: PLR2004 (a coin)
    pause_s = arena.ttl_s + (dice.uniform(0.7, 1.8) if is_short else STRIKE_S + dice.uniform(2, 5))
    strike = arena.strike("freeze worker", note=f"{pause_s:.1f} s")
    with arena.owners.striking(), arena.struck("work", dice) as member:
        glance = arena.eye.look()
        if glance is None or not glance.of(member.pid):
            raise NotNow("the store is away, or the worker holds nothing")
        member.freeze()
        strike.target, strike.in_flight = f"work {member.pid}", _running(arena)
        glance = arena.eye.look() or glance
        held = glance.of(member.pid)
        strike.hits(held)
        strike.strikes()
        begun_s = time.monotonic()
        arena.watch.follow(strike, taken_up_again(held))
        arena.stopped.wait(pause_s)
        member.thaw()
        thawed_s = time.monotonic()
        if thawed_s - begun_s < arena.ttl_s - arena.heartbeat_s + STRIKE_S:
            arena.stopped.wait(arena.heartbeat_s / 2)
            strike.robbed = _robbed(arena, held, since_s=begun_s - arena.learning_s)
        _await_recovery(arena, strike)
    return strike


def _robbed(arena: Arena, held: list[LeaseSeen], *, since_s: float) -> tuple[str, ...] | None:
    """Leases that a living owner lost although it spoke in time; None where the store was struck meanwhile.

    The record tells it, also of a job that has ended since: a redelivery after the one that the owner holds.
    """
    histories = arena.eye.histories([lease.job for lease in held])
    if histories is None or arena.was_disturbed(since_s=since_s):
        return None
    return tuple(lease.job for lease in held if _last_redelivered(histories[lease.job]) > int(lease.token))


def _last_redelivered(history: str) -> int:
    """The token of the newest redelivery that a record tells of; 0 for none."""
    return max((int(token) for token in re.findall(r" redelivered (\d+)$", history, re.MULTILINE)), default=0)


def kill_dispatcher(arena: Arena, dice: random.Random) -> Strike:
    """SIGKILL a dispatcher; at times the other one is away as well."""
    return _kill(arena, dice, "run", "kill dispatcher")


def freeze_dispatcher(arena: Arena, dice: random.Random) -> Strike:
    """SIGSTOP a dispatcher and let it go on later, as if nothing had been."""
    return _freeze(arena, dice, "run", "freeze dispatcher", pause_s=dice.uniform(3, 12))


def kill_api(arena: Arena, dice: random.Random) -> Strike:
    """SIGKILL the API in the middle of the operator's calls."""
    return _kill(arena, dice, "api", "kill api")


def freeze_api(arena: Arena, dice: random.Random) -> Strike:
    """SIGSTOP the API in the middle of the operator's calls."""
    return _freeze(arena, dice, "api", "freeze api", pause_s=dice.uniform(2, 6))


def _kill(arena: Arena, dice: random.Random, role: str, kind: str) -> Strike:
    strike = arena.strike(kind)
    with arena.struck(role, dice) as member:
        strike.target, strike.in_flight = f"{role} {member.pid}", _running(arena)
        strike.strikes()
        arena.crew.kill(member)
    arena.crew.refill(member)
    _follow_role(arena, strike, role)
    return strike


def _freeze(arena: Arena, dice: random.Random, role: str, kind: str, *, pause_s: float) -> Strike:
    strike = arena.strike(kind, note=f"{pause_s:.1f} s")
    with arena.struck(role, dice) as member:
        strike.target, strike.in_flight = f"{role} {member.pid}", _running(arena)
        member.freeze()
        strike.strikes()
        if role == "run":
            _follow_role(arena, strike, role)
        arena.stopped.wait(pause_s)
        member.thaw()
        if role != "run":
            _follow_role(arena, strike, role)
    return strike


def _follow_role(arena: Arena, strike: Strike, role: str) -> None:
    """Grants need no dispatcher; the API is back when it says so."""
    if role == "run":
        arena.watch.follow(strike, grants_again())
        return
    while not arena.operator.is_ready() and not arena.stopped.is_set():
        time.sleep(0.2)
    strike.heals()


def _await_recovery(arena: Arena, strike: Strike) -> None:
    """Hold the place among the owners struck until every lease has an owner again."""
    end_s = time.monotonic() + 2 * (arena.ttl_s + STRIKE_S) + arena.learning_s
    while strike.recovered_s is None and time.monotonic() < end_s and not arena.stopped.is_set():
        time.sleep(0.2)


def _running(arena: Arena) -> int:
    upstream = arena.upstream()
    try:
        return upstream.running()
    finally:
        upstream.close()
