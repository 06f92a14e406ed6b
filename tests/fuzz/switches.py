"""The rules, each with the way to take it away, and the breaches that it keeps from happening.

``old`` is the shipped text of one file of ``dispatcher/lua``, where it occurs exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Switch:
    """One rule taken away.

    ``breaks``: the kinds of breach of which at least one must follow. ``mood``: which faults show it soonest; the short
    form plays histories of that mood only.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: tuple[str, ...]
    mood: str | None = None

    def applied(self, script: str, text: str) -> str:
        """The composed text of a transition without the rule; as it is where the rule is in another file."""
        part = _text(self.file)
        if part.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.old!r} occurs {part.count(self.old)} times in {self.file}.lua")
        is_within = part in text and (self.file.startswith("_") or self.file == script)
        return text.replace(part, part.replace(self.old, self.new)) if is_within else text


@cache
def _text(file: str) -> str:
    return (resources.files("dispatcher") / "lua" / f"{file}.lua").read_text(encoding="utf-8")


SWITCHES: tuple[Switch, ...] = (
    Switch(
        "cancel frees at once",
        "cancel",
        "if state == 'S' or state == 'U' or state == 'A' then",
        "if false then",
        ("over-use",),
    ),
    Switch(
        "the deadline frees at once",
        "reap",
        "drain(job, math.max(tonumber(deadline) or now, now))",
        "release(pool, channel, job) refill(pool, channel)",
        ("over-use",),
    ),
    Switch(
        "no progress frees at once",
        "settle",
        "if ARGV[7] == '1' and state ~= 'C' then",
        "if false then",
        ("over-use",),
    ),
    Switch(
        "found in S is submitted again",
        "reap",
        "state == 'C' and 'R' or state == 'S' and 'U' or state",
        "(state == 'C' or state == 'S') and 'R' or state",
        ("double submission",),
        mood="freeze",
    ),
    Switch(
        "one strike is enough",
        "reap",
        "elseif suspect == '' then",
        "elseif false then",
        ("a live owner lost its lease",),
        mood="clock_step",
    ),
    Switch(
        "settle by any token",
        "settle",
        "if verdict ~= 'ours' then return",
        "if verdict ~= 'ours' and state == '' then return",
        ("an old owner obeyed",),
        mood="freeze",
    ),
    Switch(
        "handback by any token",
        "handback",
        "if told ~= 'ours' then return { told } end",
        "if told ~= 'ours' and redis.call('EXISTS', lease_key(job)) == 0 then return { told } end",
        ("an old owner obeyed",),
        mood="freeze",
    ),
    Switch(
        "handback from U",
        "handback",
        "if state == 'U' and ARGV[10] ~= '1' then return { 'stale' } end",
        "",
        ("double submission", "over-use"),
        mood="freeze",
    ),
    Switch(
        "submit while another is unanswered",
        "mark_submitting",
        "if unanswered then",
        "if false then",
        ("another's answer taken",),
    ),
    Switch(
        "the gate forgets the limit",
        "mark_submitting",
        "if redis.call('ZCARD', slots_key(pool, channel)) > most then",
        "if false then",
        ("over-use",),
    ),
    Switch(
        "the gate forgets the account's state",
        "mark_submitting",
        "if not may_submit then",
        "if standing == '' then",
        ("submitted on a stopped account",),
    ),
    Switch(
        "no learning",
        "_epoch",
        "if window_ms > 0 then",
        "if false then",
        ("over-use", "double submission", "delivery bound twice"),
        mood="roll_back",
    ),
    Switch(
        "re-assertion over a newer owner",
        "_owner",
        "(tonumber(last) or 0) >= tonumber(token)",
        "false",
        ("an old owner obeyed", "over-use", "double submission"),
        mood="freeze",
    ),
    Switch(
        "renew re-creates a lease",
        "renew",
        "if verdict == 'ours' then extend",
        "if verdict == 'stale' then redis.call('HSET', lease_key(job), 'token', ARGV[index + 1], 'state', "
        "ARGV[index + 2], 'pool', '', 'channel', '') end\n  if verdict == 'ours' then extend",
        ("store unsound", "slot leaked"),
    ),
    Switch(
        "a delivery binds any execution",
        "claim",
        "or (bound ~= '' and bound ~= execution) then",
        "then",
        ("delivery bound twice", "double submission"),
        mood="roll_back",
    ),
    Switch(
        "refill beyond the limit",
        "_slots",
        "and used < (tonumber(max_jobs) or 0)",
        "and used <= (tonumber(max_jobs) or 0)",
        ("granted without room",),
    ),
    Switch(
        "refill while cooling",
        "_slots",
        "and (tonumber(cooling) or 0) <= now and",
        "and",
        ("granted while cooling",),
    ),
    Switch(
        "pinned jobs without end",
        "_refill",
        "streak >= PINNED_STREAK and not forced and",
        "false and",
        ("starved",),
    ),
    Switch(
        "last come, first served",
        "_refill",
        "redis.call('ZRANGE', pending_key(pool), passed, passed)[1]",
        "redis.call('ZREVRANGE', pending_key(pool), passed, passed)[1]",
        ("overtaken",),
    ),
    Switch(
        "a token may be issued again",
        "_handoff",
        "local token = math.max(last + 1, now)",
        "local token = math.max(last, now)",
        ("token issued twice",),
    ),
    Switch(
        "keys are forgotten",
        "submit",
        "local known = idempotency and redis.call('GET', idempotency)",
        "local known = nil",
        ("a key made two jobs",),
    ),
    Switch(
        "settle keeps the slot",
        "settle",
        "release(pool, channel, job)\n  redis.call('ZREM', ns .. ':deadlines', job)",
        "redis.call('ZREM', ns .. ':expiry', job)\n  redis.call('ZREM', ns .. ':deadlines', job)",
        ("slot leaked", "store unsound"),
    ),
)
