"""The outbox for tests: jobs that owe a callback, and what the scripts make of it."""

from __future__ import annotations

from typing import Any

from tests.support.fleet import KEEP_S, PAST_MS, Fleet

URL = "http://listener.example:8080/hook?ind=3"
HOST = "listener.example:8080"
KEEP_MS = KEEP_S * 1000


def ended(fleet: Fleet, job: str, *, url: str = URL) -> None:
    """Bring a job that waits for an account to its end: its callback is due."""
    fleet.submit(job)
    fleet.store.client.hset(fleet.key("job", job), "reply_url", url)
    fleet.cancel(job)


def under_way(fleet: Fleet, job: str, *, on: str = "progress", url: str = URL) -> None:
    """Bring a job to where its upstream has accepted it; by then ``on`` decides whether it calls back."""
    fleet.put("101")
    fleet.submit(job)
    fleet.store.client.hset(fleet.key("job", job), mapping={"reply_url": url, "reply_on": on})
    fleet.claim(job)
    fleet.mark_submitting(job)
    fleet.mark_accepted(job)


def take(
    fleet: Fleet, count: int = 10, *, again_ms: int = 60_000, per_host: int = 4, aside_ms: int = 20, **busy: int
) -> Any:
    """Take what is due; ``busy`` are calls under way to HOST, which take long."""
    flat = [part for calls in busy.values() for part in (HOST, calls, 2000)]
    return fleet.run("callback_take", count, again_ms, per_host, aside_ms, *flat)


def put_off(fleet: Fleet, job: str, *, attempts: int = 0, delay_ms: int = 5000, error: str = "no answer") -> Any:
    return fleet.run("callback_put_off", job, id_of(fleet, job), attempts, delay_ms, error)


def bury(fleet: Fleet, job: str, *, attempts: int = 0, error: str = "no answer", keep_ms: int = KEEP_MS) -> Any:
    return fleet.run("callback_bury", job, id_of(fleet, job), attempts, error, keep_ms)


def id_of(fleet: Fleet, job: str) -> str:
    return fleet.hash("callback", job).get("id", "")


def waiting(fleet: Fleet) -> dict[str, int]:
    """Jobs whose callback waits, with the ms from now until it is made."""
    now_ms = fleet.now_ms()
    scores: list[Any] = fleet.store.client.zrange(fleet.key("callbacks"), 0, -1, withscores=True)
    return {str(job): int(at_ms) - now_ms for job, at_ms in scores}


def dead(fleet: Fleet) -> list[str]:
    return [str(job) for job in fleet.store.client.zrange(fleet.key("callbacks_dead"), 0, -1)]


def make_due(fleet: Fleet, *jobs: str) -> None:
    """The instant of the next attempt passes."""
    for job in jobs:
        fleet.store.client.zadd(fleet.key("callbacks"), {job: PAST_MS}, xx=True)
