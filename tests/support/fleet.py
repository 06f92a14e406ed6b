"""A small fleet for tests: accounts, jobs and their deliveries, driven through the scripts with raw replies.

Scripts read Redis's own clock. A test that needs time to pass rewrites what was stored (an expiry, a deadline, a
cooling) into the past and then lets the script look; nothing here sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dispatcher.connection import Call, Store
from dispatcher.handoff import QUEUE
from dispatcher.replies import entropy
from tests.support.snapshot import snapshot

PAST_MS = 1000
"""An instant long gone; small, so that it is told from a real one at a glance."""
FAR_MS = 600_000
KEEP_S = 86_400


@dataclass(frozen=True, slots=True)
class Times:
    """The durations that scripts are given, in ms, and the numbers beside them."""

    ttl_ms: int = FAR_MS
    hard_deadline_ms: int = FAR_MS
    hold_ms: int = FAR_MS
    min_interval_ms: int = 0
    window_ms: int = FAR_MS
    patience_ms: int = 15_000
    strike_ms: int = 5000
    grace_ms: int = 30_000
    survived_ms: int = 5000
    daily_cap: int = 0
    cooling_first_ms: int = 10_000
    cooling_max_ms: int = 900_000
    suspicion_share: float = 0.3


class Fleet:
    """Accounts and jobs of one pool; each method is one script call or one read."""

    def __init__(self, store: Store, *, user: int = 1, upstream: str = "discord", times: Times | None = None) -> None:
        self.store = store
        self.user = user
        self.pool = f"{user}:{upstream}"
        self.times = times or Times()
        self.lost: set[str] = set()
        self.last: tuple[str, tuple[Any, ...]] | None = None
        self.seed: Callable[[], int] = entropy

    # --- the scripts ---------------------------------------------------------------------------------

    def run(self, script: str, *args: Any) -> Any:
        """Call a script with its ARGV and return its raw reply."""
        self.last = (script, args)
        return self.store.do(Call(script, args, _as_it_is))

    def again(self) -> Any:
        """Send the last script call once more, word for word, as a client does whose reply was lost."""
        assert self.last is not None
        script, args = self.last
        return self.run(script, *args)

    def again_changes_nothing(self) -> Any:
        """Send the last call once more and hold the whole store against what it was; returns the second reply."""
        before = snapshot(self.store).settled()
        reply = self.again()
        assert snapshot(self.store).settled() == before
        return reply

    def put(
        self,
        channel: str,
        max_jobs: int = 1,
        *,
        secret: str | None = None,
        server: str = "10",
        daily_cap: int | str = "",
    ) -> list[str]:
        """Register an account or change it."""
        name = secret or f"secret-{channel}"
        told: list[str] = self.run(
            "account_put",
            *(self.seed(), self.times.ttl_ms, self.user, self.pool, channel, server),
            *(f"k1:{name}", f"{name[:3]}…", f"digest-{name}", max_jobs, f"v-{name}", daily_cap),
        )
        return told

    def stand(self, channel: str, state: str, reason: str = "") -> list[str]:
        """Set an account's standing: active, paused, draining or disabled."""
        told: list[str] = self.run("account_state", self.seed(), self.times.ttl_ms, self.pool, channel, state, reason)
        return told

    def remove(self, channel: str) -> list[str]:
        """Remove an account."""
        told: list[str] = self.run("account_remove", KEEP_S, self.pool, channel)
        return told

    def submit(
        self,
        job: str,
        *,
        pin: str = "",
        limit: int | str = "",
        priority: int = 0,
        mode: str = "wait",
        deadline_ms: int = 0,
        max_wait_ms: int = 0,
        key: str = "",
        digest: str = "digest",
        held_ms: int = 0,
        seed: int | None = None,
        own: str = "",
    ) -> Any:
        """Accept a job; with ``own``, a guest's token."""
        names = {"sealed": f"k1:{own}", "masked": f"{own[:3]}…", "digest": f"digest-{own}", "version": f"v-{own}"}
        told = [part for name, value in {**names, "server": "20"}.items() for part in (f"own_{name}", value)]
        return self.run(
            "submit",
            *(seed or self.seed(), self.times.ttl_ms, KEEP_S, mode, job, self.pool, self.user, priority, pin, limit),
            *(deadline_ms, max_wait_ms, key, digest, 86_400_000, held_ms, "kind", "create", "request", "{}"),
            *(told if own else ()),
        )

    def dispatch(self, *, pool: str | None = None, seed: int | None = None) -> Any:
        """Grant what waits in the pool, and re-admit the due."""
        return self.run("dispatch", seed or self.seed(), self.times.ttl_ms, self.pool if pool is None else pool)

    def claim(self, job: str, *, token: str | None = None, execution: str = "e1", owner: str = "w1") -> Any:
        """Take the job's current delivery up, or the one of ``token``."""
        return self.run("claim", self.times.ttl_ms, job, token or self.token(job), execution, owner)

    def mark_submitting(
        self, job: str, *, token: str | None = None, upstream_ms: int | str = 1_700_000_000_123, **times: int
    ) -> Any:
        """Ask the gate; ``times`` overrides durations for this call."""
        given = {name: getattr(self.times, name) for name in _GATE} | times
        return self.run(
            "mark_submitting",
            *(self.seed(), self.times.ttl_ms, KEEP_S, job, token or self.token(job)),
            *(given[name] for name in _GATE[:4]),
            *("user-7", given["daily_cap"], upstream_ms),
        )

    def mark_accepted(
        self, job: str, remote: str | None = None, *, token: str | None = None, status: str = "started", **fields: str
    ) -> Any:
        """Record the upstream's id, or progress under it."""
        flat = [part for pair in fields.items() for part in pair]
        told = remote or f"remote-{job}"
        args = (self.times.ttl_ms, job, token or self.token(job), told, 86_400_000, status, *flat)
        return self.run("mark_accepted", *args)

    def mark_unknown(self, job: str, *, token: str | None = None) -> Any:
        """Record that the submission's answer was lost."""
        return self.run("mark_unknown", job, token or self.token(job), self.seed(), *self._cooling)

    def renew(self, *jobs: str) -> Any:
        """Extend the jobs' current leases."""
        return self.run("renew", self.times.ttl_ms, *self.known(*jobs))

    def settle(
        self,
        job: str,
        status: str = "completed",
        *,
        running: bool = False,
        attempts_max: int | str = "",
        token: str | None = None,
        known: str = "C",
        **fields: str,
    ) -> Any:
        """Record an outcome.

        Args:
            job: whose.
            status: completed, failed or moderated.
            running: the upstream may still run the job.
            attempts_max: as the setting; '' is for what may not be tried again.
            token: the delivery's, if not the one in force.
            known: the state its owner knows.
            fields: of the record.
        """
        flat = [part for pair in fields.items() for part in pair]
        return self.run(
            "settle",
            *(self.seed(), self.times.ttl_ms, KEEP_S, job, token or self.token(job)),
            *(status, int(running), self.times.hold_ms, known, attempts_max, fields.get("error", ""), *flat),
        )

    def handback(
        self,
        job: str,
        reason: str = "refused",
        *,
        requeues_max: int | str = 20,
        cool_ms: int = 0,
        cools: str = "",
        disable: bool | str = False,
        never_sent: bool = False,
        token: str | None = None,
        known: str = "C",
        remote: str = "",
    ) -> Any:
        """Return a refused job.

        ``cool_ms`` is what the upstream asked for, ``cools`` why else the account cools; ``known`` and ``remote`` are
        state and upstream's id as the owner knows them.
        """
        return self.run(
            "handback",
            *(self.seed(), self.times.ttl_ms, KEEP_S, job, token or self.token(job), reason),
            *(requeues_max, cool_ms, "check" if disable is True else disable or "", int(never_sent)),
            *(cools, *self._cooling, known, remote),
        )

    @property
    def _cooling(self) -> tuple[int, int, float]:
        return self.times.cooling_first_ms, self.times.cooling_max_ms, self.times.suspicion_share

    def check(self, channel: str = "", *, join_ms: int = 30_000, batch: int = 64) -> Any:
        """Have a worker check an account, or without a name those that are due."""
        return self.run("account_check", self.pool if channel else "", channel, join_ms, 600, batch)

    def checked(
        self, channel: str, verdict: str, reason: str = "", *, check: str = "", secret: str = "", revive: str = "check"
    ) -> Any:
        """Record what a check found."""
        args = (self.seed(), self.times.ttl_ms, self.pool, channel, check)
        return self.run("account_checked", *args, secret or f"v-secret-{channel}", verdict, reason, revive)

    def cancel(self, job: str, *, user: int | str = "", at_once: bool = False) -> Any:
        """Cancel for the caller."""
        args = (self.seed(), self.times.ttl_ms, KEEP_S, job, user, self.times.hold_ms, int(at_once))
        return self.run("cancel", *args)

    def yield_(self, *jobs: str) -> Any:
        """Hand the jobs' current deliveries to other workers."""
        return self.run("yield", self.times.ttl_ms, *self.known(*jobs))

    def known(self, *jobs: str) -> list[str]:
        """What the owners know, as the store has it: job, token, state, the upstream's id and the execution of each."""
        leases = [(job, self.lease(job)) for job in jobs]
        return [
            part
            for job, lease in leases
            for part in (
                *(job, self.token(job), lease.get("state", "C")),
                *(lease.get("remote", ""), lease.get("execution", "")),
            )
        ]

    def reap(self, *, redeliveries_max: int = 5) -> Any:
        """Sweep once."""
        times = self.times
        args = (times.strike_ms, redeliveries_max, times.hold_ms, times.grace_ms, times.survived_ms)
        return self.run("reap", self.seed(), times.ttl_ms, KEEP_S, *args)

    # --- a job in a state ----------------------------------------------------------------------------

    def bring(
        self, job: str, state: str, *, channel: str = "", limit: int | str = "", deadline_ms: int = 0, own: str = ""
    ) -> str:
        """Submit a job and bring it to P, R, C, S, U, A, D or F; for P there must be no room. Returns its token."""
        self.submit(job, pin=channel, limit=limit, deadline_ms=deadline_ms, own=own)
        steps: dict[str, tuple[Callable[[str], Any], ...]] = {
            "P": (),
            "R": (),
            "C": (self.claim,),
            "S": (self.claim, self.mark_submitting),
            "U": (self.claim, self.mark_submitting, self.mark_unknown),
            "A": (self.claim, self.mark_submitting, self.mark_accepted),
            "D": (self.claim, self.mark_submitting, self.mark_accepted, self.cancel),
            "F": (self.claim, self.mark_submitting, self.mark_accepted, self.settle),
        }
        token = self.token(job)
        for step in steps[state]:
            step(job)
        assert self.state(job) == state, f"{job} is in {self.state(job)}, not in {state}"
        return token

    # --- time ----------------------------------------------------------------------------------------

    def expire(self, *jobs: str) -> None:
        """The soft expiry of the jobs' leases passes."""
        for job in jobs:
            self.store.client.zadd(self.key("expiry"), {job: PAST_MS}, xx=True)

    def die_after(self, job: str, lived_ms: int, *, redeliveries_max: int = 5) -> Any:
        """The job's owner was last heard ``lived_ms`` after its claim; the second sweep's reply."""
        claimed_ms = PAST_MS - self.times.ttl_ms - lived_ms  # so that the lease has expired, at PAST_MS
        self.store.client.hset(self.key("lease", job), "claimed_ms", claimed_ms)
        return self.strike_twice(job, redeliveries_max=redeliveries_max)

    def strike_twice(self, *jobs: str, redeliveries_max: int = 5) -> Any:
        """The jobs' owners are silent for both strikes; returns the reply of the second sweep."""
        self.expire(*jobs)
        self.reap(redeliveries_max=redeliveries_max)
        self.expire(*jobs)
        return self.reap(redeliveries_max=redeliveries_max)

    def pass_deadline(self, *jobs: str) -> None:
        """The instant at which the jobs' time is up passes."""
        for job in jobs:
            self.store.client.zadd(self.key("deadlines"), {job: PAST_MS}, xx=True)

    def end_cooling(self, channel: str) -> None:
        """The account's cooling ends; nobody has looked yet."""
        self.store.client.hset(self.key("account", self.pool, channel), "cooling_until_ms", PAST_MS)
        self.store.client.zadd(self.key("due"), {f"{self.pool}:{channel}": PAST_MS}, xx=True)

    def lose(self, job: str) -> None:
        """RQ loses the id of the job's current delivery."""
        delivery = f"{job}-{self.token(job)}"
        self.store.client.lrem(self.queue_key, 0, delivery)
        self.lost.add(delivery)

    # --- reads ---------------------------------------------------------------------------------------

    def key(self, *parts: str) -> str:
        """A key of ours."""
        return self.store.keys.of(*parts)

    @property
    def queue_key(self) -> str:
        """RQ's list of waiting deliveries."""
        return self.key("rq", "queue", QUEUE)

    def now_ms(self) -> int:
        """The server's clock."""
        seconds, micros = self.store.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def hash(self, *parts: str) -> dict[str, str]:
        """A hash of ours."""
        return dict(self.store.client.hgetall(self.key(*parts)))  # type: ignore[arg-type]

    def record(self, job: str) -> dict[str, str]:
        """A job's record."""
        return self.hash("job", job)

    def status(self, job: str) -> str:
        """A job's status; '' if there is no such job."""
        return self.record(job).get("status", "")

    def history(self, job: str) -> list[str]:
        """A job's transitions without their instants."""
        return [line.partition(" ")[2] for line in self.record(job)["history"].splitlines()]

    def lease(self, job: str) -> dict[str, str]:
        """A job's lease; empty if it holds no slot."""
        return self.hash("lease", job)

    def token(self, job: str) -> str:
        """The token in force, '0' if there is none."""
        return self.lease(job).get("token", "0")

    def state(self, job: str) -> str:
        """A job's state: that of its lease, else P or F."""
        held = self.lease(job).get("state")
        return held or ("F" if self.status(job) in {"completed", "failed", "moderated", "cancelled"} else "P")

    def channel(self, job: str) -> str | None:
        """The channel whose slot the job holds."""
        return self.lease(job).get("channel")

    def account(self, channel: str) -> dict[str, str]:
        """An account."""
        return self.hash("account", self.pool, channel)

    def used(self, channel: str) -> list[str]:
        """The jobs that hold a slot of the channel, oldest grant first."""
        return self._members("slots", self.pool, channel)

    def free(self) -> list[str]:
        """The channels with room, least used first."""
        return self._members("free", self.pool)

    def pending(self, pin: str = "") -> list[str]:
        """The jobs that wait for any account, or for that one; best first."""
        return self._members("pending", self.pool, pin) if pin else self._members("pending", self.pool)

    def listed(self, status: str = "") -> list[str]:
        """The jobs of the user's list, oldest first."""
        return self._members("jobs", str(self.user), status) if status else self._members("jobs", str(self.user))

    def submitting(self, channel: str) -> list[str]:
        """The jobs of the channel whose submission is unanswered."""
        return self._members("submitting", self.pool, channel)

    def score(self, member: str, *parts: str) -> int | None:
        """A member's score in one of our sorted sets; None if it is not in it."""
        found = self.store.client.zscore(self.key(*parts), member)
        return None if found is None else int(found)

    def learning(self) -> str:
        """Why nothing is granted now; '' where the window is closed."""
        return str(self.store.client.get(self.key("learning")) or "")

    def queue(self) -> list[str]:
        """RQ's waiting deliveries, next one first."""
        return [str(delivery) for delivery in self.store.client.lrange(self.queue_key, 0, -1)]

    def _members(self, *parts: str) -> list[str]:
        return [str(member) for member in self.store.client.zrange(self.key(*parts), 0, -1)]


def _as_it_is(reply: Any) -> Any:
    return reply


_GATE = ("hard_deadline_ms", "min_interval_ms", "window_ms", "patience_ms", "daily_cap")
