"""What the runner sees: the leases as the store has them now, and the counts of the simulator's oracle.

It reads the server itself, not through the proxy that the fleet uses, and changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from dispatcher.handoff import QUEUE

ANSWER_S = 1.0
_LOOK = """
local ns, pool, leases = KEYS[1], ARGV[1], {}
for _, channel in ipairs(redis.call('SMEMBERS', ns .. ':accounts:' .. pool)) do
  for _, job in ipairs(redis.call('ZRANGE', ns .. ':slots:' .. pool .. ':' .. channel, 0, -1)) do
    local lease = redis.call('HMGET', ns .. ':lease:' .. job, 'state', 'token', 'owner', 'suspect')
    leases[#leases + 1] = { job, channel, lease[1] or '', lease[2] or '', lease[3] or '', lease[4] or '',
      redis.call('ZSCORE', ns .. ':expiry', job) or '0' }
  end
end
local disabled = {}
for _, channel in ipairs(redis.call('SMEMBERS', ns .. ':accounts:' .. pool)) do
  if redis.call('HGET', ns .. ':account:' .. pool .. ':' .. channel, 'state') == 'disabled' then
    disabled[#disabled + 1] = channel
  end
end
return { leases, redis.call('GET', ns .. ':fence') or '0', redis.call('EXISTS', ns .. ':learning'),
  redis.call('LRANGE', ns .. ':rq:queue:' .. ARGV[2] .. ':intermediate', 0, -1), disabled,
  redis.call('ZCARD', ns .. ':pending:' .. pool), redis.call('ZCARD', ns .. ':free:' .. pool) }
"""


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """One held slot; ``owner`` is ``<host>.<pid>.<chance>``, or empty while nobody has claimed it."""

    job: str
    channel: str
    state: str
    token: str
    owner: str
    suspect: str
    expiry_ms: float

    @property
    def delivery(self) -> str:
        """RQ's id."""
        return f"{self.job}-{self.token}"

    def is_of(self, pid: int) -> bool:
        """Whether the process with this id owns it."""
        parts = self.owner.rsplit(".", 2)
        return len(parts) == 3 and parts[1] == str(pid)  # noqa: PLR2004 (host, pid, chance)


def _lease(job: str, channel: str, state: str, token: str, owner: str, suspect: str, expiry_ms: str) -> LeaseSeen:
    return LeaseSeen(job, channel, state, token, owner, suspect, float(expiry_ms))


@dataclass(frozen=True, slots=True)
class Glance:
    """The store at one instant."""

    leases: dict[str, LeaseSeen]
    fence: int
    is_learning: bool
    taken: frozenset[str]
    """Deliveries between RQ's queue and its books: popped by a worker that has not entered them yet."""
    disabled: frozenset[str]
    waiting: int
    """Jobs that wait for any account."""
    free: int
    """Accounts that could be granted from now."""

    def of(self, pid: int) -> list[LeaseSeen]:
        """What a process owns."""
        return [lease for lease in self.leases.values() if lease.is_of(pid)]


class Eye:
    """Looks at the store, wherever it is served now.

    Args:
        url: tells where; asked again after each failure, since a failover moves it.
        namespace: the fleet's.
    """

    def __init__(self, url: Callable[[], str], *, namespace: str, pool: str = "1:discord") -> None:
        self._url = url
        self._namespace = namespace
        self._pool = pool

    def look(self) -> Glance | None:
        """Read everything at once; None while the store is away."""
        with contextlib.suppress(redis.RedisError, OSError), self._client() as client:
            found: Any = client.eval(_LOOK, 1, self._namespace, self._pool, QUEUE)
            leases, fence, learning, taken, disabled, waiting, free = found
            seen = [_lease(*row) for row in leases]
            return Glance(
                leases={lease.job: lease for lease in seen},
                fence=int(fence),
                is_learning=bool(learning),
                taken=frozenset(taken),
                disabled=frozenset(disabled),
                waiting=int(waiting),
                free=int(free),
            )
        return None

    def histories(self, jobs: Collection[str]) -> dict[str, str] | None:
        """What their records tell of these jobs, a line an event; None while the store is away."""
        with contextlib.suppress(redis.RedisError, OSError), self._client() as client:
            return {job: str(client.hget(f"{self._namespace}:job:{job}", "history") or "") for job in jobs}
        return None

    @contextlib.contextmanager
    def _client(self) -> Iterator[redis.Redis]:
        # A connection a look: a few hundred microseconds, and no state to mend after a failover.
        with redis.Redis.from_url(
            self._url(),
            decode_responses=True,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            yield client


class Upstream:
    """The simulator's control side: the oracle's counts, and what to do to the next submissions."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def counts(self) -> dict[str, Any]:
        """The oracle without its jobs."""
        counts: dict[str, Any] = self._http.get("/sim/oracle", params={"jobs": 0}).raise_for_status().json()
        return counts

    def running(self) -> int:
        """Jobs that run upstream now."""
        return int(self.counts()["totals"]["running"])

    def verdict(self) -> dict[str, Any]:
        """The oracle with every job."""
        verdict: dict[str, Any] = self._http.get("/sim/oracle").raise_for_status().json()
        return verdict

    def direct(self, directive: str, *, channel: str) -> None:
        """Do this to the channel's next submission that says nothing itself."""
        body = {"directive": directive, "count": 1, "channel": channel}
        self._http.post("/sim/next", json=body).raise_for_status()

    def declare(self, *, token: str, server: str, channel: str, max_jobs: int) -> None:
        """Tell the oracle of an account's token and limit."""
        body = {"token": token, "server": server, "channel": channel, "max_jobs": max_jobs}
        self._http.post("/sim/accounts", json=body).raise_for_status()

    def gateway(self, control: str, **body: Any) -> None:
        """Disturb the gateway; see ``/sim/gateway`` in ``simulator/README.md``."""
        self._http.post(f"/sim/gateway/{control}", json=body).raise_for_status()
