"""Faults of Discord's gateway: connections closed, sessions ended or refused, events lost, repeated and reordered."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from chaos.arena import Arena, NotNow
from chaos.eye import Glance, Upstream
from chaos.strike import Recovered, Strike
from simulator.accounts import user_id_of

Act = Callable[[Upstream, str | None], None]
"""Does it to the sessions of a token; None: to all."""
RESUMABLE = (1012, 4000, 4001, 4008)
OVER = (1000, 4003, 4007, 4009)
UNWANTED = (4010, 4012, 4014, 4015)
EVENTS = 60
"""So many are lost, repeated or reordered: the ends of a good part of what runs."""
ALL_SHARE = 0.5
"""How often all sessions are struck at once, rather than one."""


def cut_sessions(arena: Arena, dice: random.Random) -> Strike:
    """Close connections; the sessions may be resumed."""
    code = dice.choice(RESUMABLE)
    return _strike(arena, dice, "cut sessions", _closing(code), f"{code}")


def reconnect(arena: Arena, dice: random.Random) -> Strike:
    """Op 7: ask for another connection."""
    return _strike(arena, dice, "op 7", lambda on, token: on.gateway("reconnect", token=token))


def invalidate(arena: Arena, dice: random.Random) -> Strike:
    """Op 9: the session is invalid, and may be resumed all the same or not."""
    may = dice.choice([True, False])

    def act(on: Upstream, token: str | None) -> None:
        on.gateway("invalidate", resumable=may, token=token)

    return _strike(arena, dice, "op 9", act, "resumable" if may else "not resumable")


def end_sessions(arena: Arena, dice: random.Random) -> Strike:
    """Close with a code after which only another session helps."""
    code = dice.choice(OVER)
    return _strike(arena, dice, "end sessions", _closing(code), f"{code}")


def refuse_session(arena: Arena, dice: random.Random) -> Strike:
    """Close one account's with a code after which no session is wanted."""
    code = dice.choice(UNWANTED)
    return _strike(arena, dice, "refuse session", _closing(code), f"{code}", all_share=0)


def refuse_token(arena: Arena, dice: random.Random) -> Strike:
    """Close one account's with 4004: it is disabled, and its operator gives it another token."""
    return _strike(arena, dice, "refuse token", _closing(4004), all_share=0)


def gateway_away(arena: Arena, dice: random.Random) -> Strike:
    """Refuse every connection for a while."""
    pause_s = dice.uniform(3, 8)

    def act(on: Upstream, _token: str | None) -> None:
        on.gateway("terms", up=False)
        try:
            arena.stopped.wait(pause_s)
        finally:
            on.gateway("terms", up=True)

    return _strike(arena, dice, "gateway away", act, f"{pause_s:.1f} s", all_share=1)


def disturb_events(arena: Arena, dice: random.Random, how: str) -> Strike:
    """Lose, repeat or reorder events: what ran then must end all the same."""
    del dice
    strike = arena.strike(f"events {how}")
    glance = arena.eye.look()
    if glance is None:
        raise NotNow("the store is away")
    upstream = arena.upstream()
    try:
        strike.in_flight = upstream.running()
        strike.strikes()
        upstream.gateway("events", how=how, count=EVENTS)
    finally:
        upstream.close()
    running = {job for job, lease in glance.leases.items() if lease.state == "A"}
    arena.watch.follow(strike, lambda now: not now.leases.keys() & running)
    return strike


def _closing(code: int) -> Act:
    return lambda on, token: on.gateway("close", code=code, token=token)


def _strike(
    arena: Arena,
    dice: random.Random,
    kind: str,
    act: Act,
    note: str = "",
    *,
    all_share: float = ALL_SHARE,
) -> Strike:
    """Strike the session of one account, or all.

    Raises:
        NotNow: there is none.
    """
    strike = arena.strike(kind, note=note)
    upstream = arena.upstream()
    try:
        counts = upstream.counts()
        tokens = {login.channel: login.token for login in arena.operator.logins.values()}
        opened = sorted(channel for channel, token in tokens.items() if _of(counts, token).get("open"))
        if not opened:
            raise NotNow("no session is open")
        is_all = dice.random() < all_share
        hit = opened if is_all else [dice.choice(opened)]
        strike.target = "all" if is_all else hit[0]
        strike.in_flight = counts["totals"]["running"]
        strike.strikes()
        recovered = _heard_again(arena, {channel: _heard(counts, tokens[channel]) for channel in hit})
        act(upstream, None if is_all else tokens[hit[0]])
    finally:
        upstream.close()
    arena.watch.follow(strike, recovered)
    return strike


def _heard_again(arena: Arena, before: dict[str, int]) -> Recovered:
    """Each of these accounts has a session that was opened or resumed since, perhaps under another token, or no job."""
    waiting = dict(before)
    known = {channel: arena.operator.logins[channel].token for channel in before}

    def is_recovered(glance: Glance) -> bool:
        upstream = arena.upstream()
        try:
            counts = upstream.counts()
        finally:
            upstream.close()
        busy = {lease.channel for lease in glance.leases.values()}
        for channel, heard in list(waiting.items()):
            token = arena.operator.logins[channel].token
            is_new = _heard(counts, token) > (heard if token == known[channel] else 0)
            if channel not in busy or (is_new and _of(counts, token).get("open")):
                del waiting[channel]
        return not waiting

    return is_recovered


def _of(counts: dict[str, Any], token: str) -> dict[str, int]:
    sessions: dict[str, dict[str, int]] = counts["sessions"]
    return sessions.get(user_id_of(token), {})


def _heard(counts: dict[str, Any], token: str) -> int:
    """How often a session of it was opened or resumed."""
    of = _of(counts, token)
    return of.get("identified", 0) + of.get("resumed", 0)
