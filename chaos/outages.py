"""Faults of the store, of the way to it, and of clocks."""

from __future__ import annotations

import random
from collections.abc import Callable

from chaos.arena import Arena, NotNow
from chaos.eye import Glance
from chaos.outage import Outage
from chaos.strike import Strike, grants_again

RENEWED_S = 2.0
"""After the learning window: until every owner has certainly spoken again."""


def kill_store(arena: Arena, dice: random.Random) -> Strike:
    """SIGKILL the server and start it on its append-only file: nothing answered is lost, and yet it is another one."""
    del dice
    return _outage(arena, "kill store", arena.outages.kill_and_restart, after_s=arena.learning_s)


def freeze_store(arena: Arena, dice: random.Random) -> Strike:
    """SIGSTOP the server for a moment."""
    pause_s = dice.uniform(1, 6)
    return _outage(arena, "freeze store", lambda: arena.outages.freeze(pause_s), note=f"{pause_s:.1f} s")


def flush_scripts(arena: Arena, dice: random.Random) -> Strike:
    """SCRIPT FLUSH: every transition must be sent whole once more."""
    del dice
    return _outage(arena, "script flush", arena.outages.script_flush)


def roll_back(arena: Arena, dice: random.Random) -> Strike:
    """The server comes back without the last second of its writes."""
    del dice
    return _losing(arena, "roll back", arena.outages.roll_back)


def fail_over(arena: Arena, dice: random.Random) -> Strike:
    """A replica that lacks the last writes is promoted, and everybody is led to it."""
    del dice
    # One that counted for nothing is done again, from the server that serves now.
    store = arena.outages
    return _losing(arena, "fail over", store.fail_back if store.has_failed_over else store.fail_over)


def fail_back(arena: Arena, dice: random.Random) -> Strike:
    """Back to the first server, which lacks the last writes of the other."""
    del dice
    if not arena.outages.has_failed_over:
        raise NotNow("the first server serves")
    return _losing(arena, "fail back", arena.outages.fail_back)


def cut(arena: Arena, dice: random.Random) -> Strike:
    """Cut every connection to the store at once."""
    del dice
    return _outage(arena, "cut link", arena.outages.proxy.cut)


def freeze_link(arena: Arena, dice: random.Random) -> Strike:
    """Let nothing through for a while, with every connection open."""
    pause_s = dice.uniform(1, 6)
    return _outage(arena, "freeze link", lambda: arena.outages.proxy.freeze(pause_s), note=f"{pause_s:.1f} s")


def half_close(arena: Arena, dice: random.Random) -> Strike:
    """End connections in the middle of a reply: carried out, and half answered."""
    return _outage(
        arena, "half-close", lambda: arena.outages.proxy.half_close(bytes_max=dice.randrange(4), within_s=2.0)
    )


def step_store_clock(arena: Arena, dice: random.Random) -> Strike:
    """Step the clock of the store's host; not while it learns, since that window is told by the same clock."""
    ahead_s = arena.outages.clock.offset_s if arena.outages.clock else 0.0
    step_s = dice.choice([2, 3, 9, 20]) * dice.uniform(0.8, 1) * (-1 if ahead_s > 0 else 1)
    glance = _sound(arena)
    owners = {lease.job: lease for lease in glance.leases.values() if lease.owner}
    alive = {member.pid for member in arena.crew.free("work")}
    held = [lease for lease in owners.values() if any(lease.is_of(pid) for pid in alive)]
    strike = _outage(arena, "step store clock", lambda: arena.outages.clock_step(step_s), note=f"{step_s:+.1f} s")
    strike.hits(held)
    strike.jobs_in_s = ()
    strike.delays_s = max(0.0, -step_s)
    return strike


def step_worker_clock(arena: Arena, dice: random.Random) -> Strike:
    """Step the clock of the one worker that lives by its own."""
    clock = arena.clock
    if clock is None:
        raise NotNow("no worker lives by a clock of its own")
    step_s = dice.choice([10, 60, 3600]) * dice.uniform(0.8, 1) * (-1 if clock.offset_s > 0 else 1)
    return _outage(arena, "step worker clock", lambda: clock.step(step_s), note=f"{step_s:+.0f} s")


def _sound(arena: Arena) -> Glance:
    glance = arena.eye.look()
    if glance is None or glance.is_learning:
        raise NotNow("the store is away or learns")
    return glance


def _outage(arena: Arena, kind: str, act: Callable[[], object], *, note: str = "", after_s: float = 0.0) -> Strike:
    strike = arena.strike(kind, note=note)
    with arena.disturbing(after_s=after_s):
        _strike(arena, strike, act)
    return strike


def _losing(arena: Arena, kind: str, act: Callable[[], object]) -> Strike:
    """Lose writes while every owner lives, and let them assert their leases before one may be struck again."""
    strike = arena.strike(kind)
    with arena.owners.losing(arena.ttl_s * 3), arena.disturbing(after_s=arena.learning_s):
        _strike(arena, strike, act)
        arena.stopped.wait(arena.learning_s + RENEWED_S)
    return strike


def _strike(arena: Arena, strike: Strike, act: Callable[[], object]) -> None:
    glance = _sound(arena)
    upstream = arena.upstream()
    try:
        strike.in_flight = upstream.running()
    finally:
        upstream.close()
    strike.hits(glance.leases.values())
    strike.strikes()
    done = act()
    if isinstance(done, Outage):
        strike.struck_at(done.began_s)
    arena.watch.follow(strike, grants_again())
