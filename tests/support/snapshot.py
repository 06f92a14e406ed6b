"""All that a namespace holds, read in one step, and what must be true of it at any moment.

The truths are recomputed here from the records and leases alone, in Python, without a line of the scripts' own code.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from dispatcher.connection import Store
from dispatcher.handoff import QUEUE

_DUMP = """
local out = {}
for _, key in ipairs(redis.call('KEYS', KEYS[1] .. ':*')) do
  local kind, value = redis.call('TYPE', key).ok, nil
  if kind == 'hash' then value = redis.call('HGETALL', key)
  elseif kind == 'zset' then value = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'set' then value = redis.call('SMEMBERS', key)
  elseif kind == 'list' then value = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'string' then value = { redis.call('GET', key) }
  else value = {} end
  out[#out + 1] = { string.sub(key, #KEYS[1] + 2), kind, value, redis.call('TTL', key) }
end
local time = redis.call('TIME')
return { out, string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)) }
"""

FINAL = {"completed", "failed", "moderated", "cancelled"}
STATUSES = ("created", "started", "progress", *sorted(FINAL))
WINDOW_OF_LINE = 32
HISTORY_LINES = 32


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One instant of a namespace: each key without its prefix, with its value and time to live in seconds."""

    values: dict[str, Any]
    ttl_s: dict[str, int]
    now_ms: int

    def under(self, *parts: str) -> dict[str, Any]:
        """Values by what follows the prefix."""
        prefix = ":".join(parts) + ":"
        return {key.removeprefix(prefix): value for key, value in self.values.items() if key.startswith(prefix)}

    def settled(self) -> dict[str, Any]:
        """The values without what merely counts or tells time: soft expiries, last changes, events, the sequence."""
        kept: dict[str, Any] = {}
        for key, value in self.values.items():
            if key in {"events", "sequence"}:
                continue
            if key == "expiry":
                kept[key] = set(value)
            elif key.startswith(("job:", "account:")):
                kept[key] = {name: told for name, told in value.items() if name != "updated_ms"}
            else:
                kept[key] = value
        return kept


def snapshot(store: Store) -> Snapshot:
    """Read the namespace."""
    entries, now = store.client.eval(_DUMP, 1, store.keys.namespace)
    values: dict[str, Any] = {}
    ttl_s: dict[str, int] = {}
    for key, kind, value, ttl in entries:
        ttl_s[key] = ttl
        match kind:
            case "hash":
                values[key] = dict(zip(value[::2], value[1::2], strict=True))
            case "zset":
                values[key] = {member: float(score) for member, score in zip(value[::2], value[1::2], strict=True)}
            case "set":
                values[key] = set(value)
            case "string":
                values[key] = value[0]
            case _:
                values[key] = value
    return Snapshot(values, ttl_s, int(now))


@dataclass(slots=True)
class World:
    """A snapshot seen as jobs, leases and accounts."""

    seen: Snapshot
    jobs: dict[str, dict[str, str]] = field(init=False)
    leases: dict[str, dict[str, str]] = field(init=False)
    accounts: dict[tuple[str, str], dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = self.seen.under("job")
        self.leases = self.seen.under("lease")
        self.accounts = {split_member(name): value for name, value in self.seen.under("account").items()}

    def zset(self, *parts: str) -> dict[str, float]:
        """A sorted set, members in order."""
        found: dict[str, float] = self.seen.values.get(":".join(parts), {})
        return found

    def room(self, pool: str, channel: str) -> int | None:
        """Used slots of a channel that could take a job now; None if it could not."""
        account = self.accounts.get((pool, channel), {})
        used = len(self.zset("slots", pool, channel))
        cooling = int(account.get("cooling_until_ms", 0)) > self.seen.now_ms
        is_open = account.get("state") == "active" or self.is_for_guests(pool, channel)
        if not is_open or cooling or used >= int(account["max_jobs"]):
            return None
        return used

    def is_due(self, pool: str, channel: str) -> bool:
        """Whether the channel's cooling has ended and nobody has looked yet."""
        return self.zset("due").get(f"{pool}:{channel}", self.seen.now_ms + 1) <= self.seen.now_ms

    def line(self, pool: str, pin: str = "") -> list[str]:
        """The jobs of one line that a grant looks at."""
        waiting = self.zset("pending", pool, pin) if pin else self.zset("pending", pool)
        return list(waiting)[:WINDOW_OF_LINE]

    def fits(self, job: str, used: int) -> bool:
        """Whether the job's own limit allows it beside ``used`` others."""
        record = self.jobs[job]
        rests = int(record.get("rest_until_ms", 0)) > self.seen.now_ms
        return not rests and (not record["limit"] or used < int(record["limit"]))

    def serves(self, pool: str, channel: str, job: str) -> bool:
        """Whether the channel is for such a job at all: some are for guests that are pinned to them."""
        return not self.is_for_guests(pool, channel) or "own_sealed" in self.jobs[job]

    def is_for_guests(self, pool: str, channel: str) -> bool:
        """Whether the channel takes guests alone: nobody registered it, or its account's token was refused."""
        account = self.accounts.get((pool, channel), {})
        return "visit" in account or (account.get("state") == "disabled" and bool(account.get("revive")))


def breaches(seen: Snapshot, *, lost: Collection[str] = ()) -> list[str]:
    """Say everything that is wrong in a namespace.

    Args:
        seen: the instant to judge.
        lost: deliveries whose ids RQ no longer holds: taken by a worker, or lost.
    """
    world = World(seen)
    checks = (_slots, _places, _lists, _free, _idle, _clocks, _gate, _deliveries(set(lost)), _accounts, _visits, _lives)
    return list(itertools.chain.from_iterable(check(world) for check in checks))


def split_member(member: str) -> tuple[str, str]:
    """Split ``<user>:<upstream>:<channel>`` into pool and channel."""
    pool, _, channel = member.rpartition(":")
    return pool, channel


def _slots(world: World) -> Iterator[str]:
    """Every slot has a lease, and every lease its slot."""
    held = {job: split_member(name) for name, members in world.seen.under("slots").items() for job in members}
    leased = {job: (lease["pool"], lease["channel"]) for job, lease in world.leases.items()}
    if held != leased:
        yield f"slots {held} and leases {leased} differ"
    if len(held) != sum(len(members) for members in world.seen.under("slots").values()):
        yield "a job holds two slots"
    tokens = [int(lease["token"]) for lease in world.leases.values()]
    if len(set(tokens)) != len(tokens):
        yield f"a token is held twice: {tokens}"
    if tokens and max(tokens) > int(world.seen.values["fence"]):
        yield f"token {max(tokens)} is beyond the fence {world.seen.values['fence']}"


def _places(world: World) -> Iterator[str]:
    """A job that is not final waits or is leased, never both; a final one holds a slot only while it drains."""
    waiting = [job for members in world.seen.under("pending").values() for job in members]
    if len(set(waiting)) != len(waiting):
        yield f"a job waits twice: {waiting}"
    for job, record in world.jobs.items():
        state = world.leases.get(job, {}).get("state")
        is_final = record["status"] in FINAL
        if is_final and (job in waiting or state not in {None, "D"}):
            yield f"{job} is {record['status']}, and yet waits or is leased ({state})"
        if not is_final and ((job in waiting) == (state is not None) or state == "D"):
            yield f"{job} is {record['status']}: waiting {job in waiting}, lease {state}"
        line = ":".join(("pending", record["pool"], record["pin"]) if record["pin"] else ("pending", record["pool"]))
        if job in waiting and world.zset(line).get(job) != float(record["score"]):
            yield f"{job} does not wait in {line} at its score"
    for job in (*waiting, *world.leases):
        if job not in world.jobs:
            yield f"{job} has no record"


def _lists(world: World) -> Iterator[str]:
    """A user's lists tell each job's status."""
    for user in {record["user"] for record in world.jobs.values()}:
        mine = {job: record for job, record in world.jobs.items() if record["user"] == user}
        for status in ("", *STATUSES):
            expected = {job: float(r["created_ms"]) for job, r in mine.items() if status in {"", r["status"]}}
            found = world.zset("jobs", user, status) if status else world.zset("jobs", user)
            if found != expected:
                yield f"list {status or 'of all'} of user {user} is {found}, not {expected}"


def _free(world: World) -> Iterator[str]:
    """``free`` is what the accounts, their slots and their pinned jobs make it."""
    found: dict[tuple[str, str], float] = {
        (pool, channel): used for pool, members in world.seen.under("free").items() for channel, used in members.items()
    }
    expected: dict[tuple[str, str], float] = {}
    for pool, channel in world.accounts:
        used = world.room(pool, channel)
        if world.is_due(pool, channel):
            found.pop((pool, channel), None)
            continue
        if used is None or world.is_for_guests(pool, channel):
            continue
        streak = int(world.accounts[pool, channel].get("pinned_streak", 0))
        if streak >= 8 or not any(world.fits(job, used) for job in world.line(pool, channel)):
            expected[pool, channel] = used
    if found != expected:
        yield f"free is {found}, not {expected}"


def _idle(world: World) -> Iterator[str]:
    """No job waits while a slot is free for it, unless the store is learning."""
    if "learning" in world.seen.values:
        return
    for name in world.seen.under("pending"):
        pool, pin = (name, "") if name.count(":") == 1 else split_member(name)
        owned = [channel for own, channel in world.accounts if own == pool]
        channels = [pin] if pin else [channel for channel in owned if not world.is_for_guests(pool, channel)]
        for job, channel in itertools.product(world.line(pool, pin), channels):
            used = world.room(pool, channel)
            is_open = used is not None and not world.is_due(pool, channel) and world.serves(pool, channel, job)
            if is_open and world.fits(job, used or 0):
                yield f"{job} waits while {channel} has room beside {used}"


def _clocks(world: World) -> Iterator[str]:
    """Who is being timed, is timed by what its state asks for."""
    expiry, deadlines = world.zset("expiry"), world.zset("deadlines")
    if set(expiry) - set(world.leases):
        yield f"expiries without a lease: {set(expiry) - set(world.leases)}"
    for job, lease in world.leases.items():
        if job not in expiry and lease["state"] != "D":  # a poisoned one is not looked after any more
            yield f"{job} in {lease['state']} has no expiry"
    for job, record in world.jobs.items():
        state = world.leases.get(job, {}).get("state")
        by_state = state is not None and state in "SUAD"
        before_submission = state in {None, "R", "C"} and record["status"] not in FINAL
        if (job in deadlines) != (by_state or (before_submission and record["pending_deadline_ms"] != "0")):
            yield f"{job} ({record['status']}, {state}) is timed: {job in deadlines}"


def _gate(world: World) -> Iterator[str]:
    """At most one submission of a channel is unanswered, and it is a job of that channel."""
    for name, members in world.seen.under("submitting").items():
        if len(members) > 1:
            yield f"unanswered at once on {name}: {list(members)}"
        for job in members:
            lease = world.leases.get(job, {})
            if lease.get("state") not in {"S", "U", "D"} or f"{lease.get('pool')}:{lease.get('channel')}" != name:
                yield f"{job} is unanswered on {name}, its lease is {lease}"


def _deliveries(lost: set[str]) -> Any:
    """RQ has the current delivery of every lease, and its id while nobody took it up."""

    def check(world: World) -> Iterator[str]:
        queued = world.seen.values.get(f"rq:queue:{QUEUE}", [])
        for job, lease in world.leases.items():
            delivery = f"{job}-{lease['token']}"
            if f"rq:job:{delivery}" not in world.seen.values:
                yield f"RQ has no hash of {delivery}"
            if not lease["execution"] and delivery not in lost and queued.count(delivery) != 1:
                yield f"RQ has {delivery} {queued.count(delivery)} times"
        if len(set(queued)) != len(queued):
            yield f"a delivery is queued twice: {queued}"
        for name in world.seen.under("rq", "job"):
            job, _, token = name.rpartition("-")
            current = world.leases.get(job, {}).get("token") == token
            if current == (world.seen.ttl_s[f"rq:job:{name}"] >= 0):
                yield f"RQ's hash of {name} (current: {current}) lives {world.seen.ttl_s[f'rq:job:{name}']} s"

    return check


def _accounts(world: World) -> Iterator[str]:
    """Accounts, their channels, pools and secrets agree; a deleted one stays only while it drains."""
    owners = world.seen.values.get("channels", {})
    if owners != {channel: pool for pool, channel in world.accounts}:
        yield f"channels {owners} and accounts {list(world.accounts)} differ"
    secrets = {account["digest"]: channel for (_, channel), account in world.accounts.items() if account["digest"]}
    if world.seen.values.get("secrets", {}) != secrets:
        yield f"secrets are {world.seen.values.get('secrets')}, not {secrets}"
    for (pool, channel), account in world.accounts.items():
        is_deleted = account["state"] == "deleted"
        if is_deleted and not world.zset("slots", pool, channel):
            yield f"{channel} is deleted and drained, and still there"
        if (is_deleted or "visit" in account) == (channel in world.seen.values.get(f"accounts:{pool}", set())):
            yield f"{channel} is {account['state']}, and the pool's list says otherwise"
        if account["state"] == "draining" and not world.zset("slots", pool, channel):
            yield f"{channel} has drained, and still drains"
        is_checked = account["state"] == "disabled" and account.get("revive") == "check"
        if is_checked != (f"{pool}:{channel}" in world.zset("checks")):
            yield f"{channel} is {account['state']} ({account.get('revive')}), and its checks say otherwise"
        is_cooling = int(account.get("cooling_until_ms", 0)) > world.seen.now_ms and not is_deleted
        if is_cooling and f"{pool}:{channel}" not in world.zset("due"):
            yield f"{channel} cools, and nobody will re-admit it"


def _visits(world: World) -> Iterator[str]:
    """A channel without an account is claimed only while a guest is there, or a limit of it lasts."""
    for (pool, channel), account in world.accounts.items():
        is_visit = "visit" in account
        if is_visit != (channel in world.seen.values.get(f"guests:{pool}", set())):
            yield f"{channel} is visited: {is_visit}, and the pool's list of guests says otherwise"
        is_idle = not world.zset("slots", pool, channel) and not world.zset("pending", pool, channel)
        if is_visit and is_idle and f"{pool}:{channel}" not in world.zset("due"):
            yield f"{channel} is visited by nobody"
    for job, record in world.jobs.items():
        if record["status"] in FINAL and job not in world.leases and "own_sealed" in record:
            yield f"{job} is over, and its own token is kept"


def _lives(world: World) -> Iterator[str]:
    """A final record dies by itself, any other stays; histories are short and numbers are whole."""
    for job, record in world.jobs.items():
        if (record["status"] in FINAL) != (world.seen.ttl_s[f"job:{job}"] >= 0):
            yield f"{job} is {record['status']} and lives {world.seen.ttl_s[f'job:{job}']} s"
        if record["history"].count("\n") > HISTORY_LINES:
            yield f"{job} has {record['history'].count(chr(10))} lines of history"
    for key, value in world.seen.values.items():
        for part in _texts(value):
            if "e+" in part:
                yield f"{key} holds {part!r}, a number that lost its digits"


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from (str(part) for pair in value.items() for part in pair if not isinstance(part, float))
        case list() | set():
            yield from map(str, value)
        case _:
            yield str(value)
