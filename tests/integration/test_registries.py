"""The clean-up of RQ's registries, in a process of its own: it imports rq."""

from __future__ import annotations

from dispatcher import handoff
from tests.support.deliveries import RQ

_CLEAN = """
import sys, redis
from dispatcher import rq_prefix
rq_prefix.take(sys.argv[2])
from dispatcher.registries import clean_registries
with redis.Redis.from_url(sys.argv[1]) as connection:
    print(clean_registries(connection))
"""
LONG_AGO_S = 1_000_000_000


def clean_up(rq: RQ) -> str:
    """Run the clean-up; what it says it removed."""
    told = rq.python(_CLEAN, rq.redis_url, rq.namespace)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def later_s(rq: RQ) -> int:
    """An instant an hour ahead on Redis's clock."""
    seconds, _ = rq.client.time()
    return int(seconds) + 3600


def test_finished_and_failed_deliveries_leave_when_their_time_is_over(rq: RQ) -> None:
    for registry in ("finished", "failed"):
        scores = {"old-1": LONG_AGO_S, "new-1": later_s(rq)}
        rq.client.zadd(f"{rq.prefix}:{registry}:{handoff.QUEUE}", scores)

    told = clean_up(rq)

    assert told == "Cleaned(finished=1, failed=1, abandoned=0, orphaned=0)"
    assert rq.finished == ["new-1"]
    assert rq.failed == ["new-1"]


def test_an_execution_without_heartbeats_for_an_hour_becomes_a_failed_delivery_and_calls_nothing(rq: RQ) -> None:
    [delivery] = rq.hand_off("left")
    rq.client.delete(rq.queue_key)
    job = f"{rq.prefix}:job:{delivery}"
    hostile = {"failure_callback_name": "tests.support.never.imported", "retries_left": "3"}
    rq.client.hset(job, mapping={"status": "started", **hostile})
    rq.client.zadd(f"{rq.prefix}:wip:{handoff.QUEUE}", {f"{delivery}:e1": LONG_AGO_S, "alive-1:e2": later_s(rq)})

    told = clean_up(rq)

    assert told == "Cleaned(finished=0, failed=0, abandoned=1, orphaned=0)"
    assert rq.running == ["alive-1"]
    assert rq.failed == [delivery]
    assert rq.queued == 0
    assert 0 < rq.client.ttl(job) <= handoff.FAILURE_TTL_S


def test_an_id_that_a_dead_worker_took_and_never_admitted_is_forgotten_after_a_minute(rq: RQ) -> None:
    old, new = rq.hand_off("old", "new")
    intermediate = f"{rq.queue_key}:intermediate"
    rq.client.rename(rq.queue_key, intermediate)
    rq.client.set(f"{intermediate}:first_seen:{old}", LONG_AGO_S, ex=3600)

    first = clean_up(rq)

    assert first == "Cleaned(finished=0, failed=0, abandoned=0, orphaned=1)"
    assert rq.client.lrange(intermediate, 0, -1) == [new]
    assert 0 < rq.client.ttl(f"{rq.prefix}:job:{old}") <= handoff.FAILURE_TTL_S
    assert rq.client.ttl(f"{rq.prefix}:job:{new}") == -1
    assert rq.client.ttl(f"{intermediate}:first_seen:{new}") > 0


def test_a_dead_workers_name_leaves_rqs_lists(rq: RQ) -> None:
    dead = f"{rq.prefix}:worker:dead"
    for key in (f"{rq.prefix}:workers", f"{rq.prefix}:workers:{handoff.QUEUE}"):
        rq.client.sadd(key, dead)

    clean_up(rq)

    assert not rq.workers


def test_it_may_run_on_an_empty_store(rq: RQ) -> None:
    assert clean_up(rq) == "Cleaned(finished=0, failed=0, abandoned=0, orphaned=0)"
