"""A store that loses its last writes: what a namespace held at one instant is put back over what it holds."""

from __future__ import annotations

from collections.abc import Mapping

import redis

from dispatcher.connection import Store
from dispatcher.handoff import DeliveryId
from dispatcher.leases import CLAIM_TTL_MS, Holding, Lease
from tests.support.fleet import KEEP_S, Fleet

ANOTHER_SERVER = "0" * 40
"""An identity that no server has: whoever finds it in ``epoch`` is on another server than the one that wrote it."""

Kept = Mapping[bytes, tuple[bytes, int]]
"""Each key with its value as Redis dumps it and its time to live in ms, 0 for none."""


def keep(store: Store) -> Kept:
    """Read all that the namespace holds."""
    with _undecoded(store) as client:
        keys = list(client.scan_iter(f"{store.keys.namespace}:*", count=1000))
        return {key: (client.dump(key), max(0, client.pttl(key))) for key in keys}


def put_back(store: Store, kept: Kept, *, by_another_server: bool = True) -> None:
    """Lose all writes since ``keep``; a restart or failover shows as another server, a file copied back does not."""
    with _undecoded(store) as client:
        for key in client.scan_iter(f"{store.keys.namespace}:*", count=1000):
            client.delete(key)
        for key, (value, ttl_ms) in kept.items():
            client.restore(key, ttl_ms, value)
    if by_another_server:
        store.client.set(store.keys.of("epoch"), ANOTHER_SERVER)


def end_learning(store: Store) -> None:
    """The window's time passes."""
    store.client.delete(store.keys.of("learning"))


def holding(fleet: Fleet, job: str) -> Holding:
    """What the owner of the job's lease knows."""
    lease = fleet.lease(job)
    return Holding(Lease.from_fields(DeliveryId(job, int(lease["token"])), lease), fleet.record(job))


def reassert(fleet: Fleet, held: Holding) -> list[str]:
    """Tell the store what an owner holds; the raw reply."""
    lease = [part for pair in held.lease.fields().items() for part in pair]
    record = [part for pair in held.record.items() for part in pair]
    delivery, times = held.lease.delivery, fleet.times
    told: list[str] = fleet.run(
        "reassert",
        *(fleet.seed(), times.ttl_ms, KEEP_S, delivery.job_id, delivery.token, times.hold_ms, CLAIM_TTL_MS),
        *(len(lease) // 2, *lease, *record),
    )
    return told


def known(held: Holding) -> tuple[str, str, str, str, str]:
    """Job, token, state, the upstream's id and the execution, as ``renew`` and ``yield`` are told them."""
    lease = held.lease
    return lease.delivery.job_id, str(lease.delivery.token), lease.state, lease.remote_id or "", lease.execution


def _undecoded(store: Store) -> redis.Redis:
    options = store.client.connection_pool.connection_kwargs | {"decode_responses": False}
    pool = redis.ConnectionPool(store.client.connection_pool.connection_class, **options)
    return redis.Redis.from_pool(pool)
