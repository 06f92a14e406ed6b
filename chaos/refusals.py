"""Faults of the upstream, each with a job of its own that meets it; and cancellations."""

from __future__ import annotations

import random
import time

from chaos.arena import Arena, NotNow
from chaos.load import Entry
from chaos.strike import Strike, runs_again

MEET_S = 45.0
"""How long a fault may wait for its job to be submitted."""
LOOK_S = 0.2
CANCELLED = 5
REFUSED = {"429": "submit=429 retry_after=1", "401": "submit=401", "5xx before accept": "submit=500-before-accept"}
ACCEPTED = {"5xx after accept": "submit=500-after-accept", "hang": "submit=hang-after-accept"}
COUNTED = {"5xx before accept": "500"}
"""Under which name the oracle counts a refusal, where it is not the fault's."""


def refuse(arena: Arena, dice: random.Random, kind: str) -> Strike:
    """Refuse a submission; the job that meets it is the fault's own, and must end well all the same."""
    with arena.apart(_open_channels(arena), dice) as channel:
        return _refuse_on(arena, dice, kind, channel)


def _refuse_on(arena: Arena, dice: random.Random, kind: str, channel: str) -> Strike:
    strike = arena.strike(kind)
    upstream = arena.upstream()
    try:
        counted = COUNTED.get(kind, kind)
        before = upstream.counts()["accounts"].get(channel, {}).get("refused", {}).get(counted, 0)
        upstream.direct(REFUSED[kind], channel=channel)
        entry = arena.victim(kind, dice, channel=channel)
        end_s = time.monotonic() + MEET_S
        while True:
            counts = upstream.counts()
            tally = counts["accounts"].get(channel, {})
            if tally.get("refused", {}).get(counted, 0) > before:
                break
            if time.monotonic() > end_s or arena.stopped.is_set():
                raise NotNow("its job was not submitted")
            time.sleep(LOOK_S)
    finally:
        upstream.close()
    strike.target, strike.in_flight = f"{channel} {entry.key}", counts["totals"]["running"]
    strike.states["S"] += 1
    strike.jobs_in_s = (str(entry.job_id),)
    strike.strikes()
    arena.watch.follow(strike, runs_again(entry))
    return strike


def lose_answer(arena: Arena, dice: random.Random, kind: str) -> Strike:
    """Accept a submission and do not say so: a server error, or no answer at all."""
    strike = arena.strike(kind)
    channel = dice.choice(_open_channels(arena))
    entry = arena.victim(kind, dice, channel=channel, directive=f"seconds=5 {ACCEPTED[kind]}")
    seen = _await_state(arena, entry, {"S", "U", "A"})
    upstream = arena.upstream()
    try:
        counts = upstream.counts()
    finally:
        upstream.close()
    strike.target, strike.in_flight = f"{channel} {entry.key}", counts["totals"]["running"]
    strike.states[seen] += 1
    strike.jobs_in_s = (str(entry.job_id),)
    strike.strikes()
    arena.watch.follow(strike, runs_again(entry))
    return strike


def cancel(arena: Arena, dice: random.Random) -> Strike:
    """Cancel a few jobs, in whatever states they are."""
    strike = arena.strike("cancel")
    glance = arena.eye.look()
    if glance is None:
        raise NotNow("the store is away")
    running = {job: lease for job, lease in glance.leases.items() if lease.state != "D"}
    entries = arena.load.open_jobs()
    chosen = dice.sample(sorted(entries.keys() & running.keys()), k=min(CANCELLED, len(running)))
    upstream = arena.upstream()
    try:
        strike.in_flight = upstream.running()
    finally:
        upstream.close()
    strike.strikes()
    cancelled = [job for job in chosen if arena.load.cancel(entries[job])]
    if not cancelled:
        raise NotNow("nothing to cancel")
    strike.hits(running[job] for job in cancelled)
    strike.jobs_in_s = ()  # a cancelled job's outcome is its caller's wish
    strike.target = f"{len(cancelled)} jobs"
    arena.watch.follow(strike, lambda now: not now.leases.keys() & set(cancelled))
    return strike


def _open_channels(arena: Arena) -> list[str]:
    """The channels that take jobs now.

    Raises:
        NotNow: the store is away or learning.
    """
    glance = arena.eye.look()
    if glance is None or glance.is_learning:
        raise NotNow("the store takes no submissions now")
    return sorted(set(arena.channels) - glance.disabled)


def _await_state(arena: Arena, entry: Entry, states: set[str]) -> str:
    """Wait until the store shows the entry's job in one of the states."""
    end_s = time.monotonic() + MEET_S
    while time.monotonic() < end_s and not arena.stopped.is_set():
        glance = arena.eye.look()
        lease = glance.leases.get(entry.job_id or "") if glance else None
        if lease is not None and lease.state in states:
            return lease.state
        time.sleep(LOOK_S / 2)
    raise NotNow("its job was not submitted")
