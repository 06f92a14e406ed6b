"""One delivery as the worker takes it from RQ: read with suspicion, each alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import redis
from rq.executions import Execution as RQExecution
from rq.serializers import JSONSerializer

from dispatcher.registries import InertJob


class DeliveryRefused(Exception):
    """The delivery will never run: it is not one of ours, or it cannot be read."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a delivery asks for: one of our callables, by name, with one argument."""

    job: InertJob
    callable_name: str
    argument: str


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """An order that RQ knows as running, under the execution's id."""

    order: Order
    execution: RQExecution

    @property
    def id(self) -> str:
        """RQ's job id, ``<job>-<token>``."""
        return self.order.job.id


def read_order(raw_id: bytes, raw_hash: object, *, allowed: Collection[str], connection: redis.Redis) -> Order:
    """Read one delivery; nothing that it names is imported.

    Args:
        raw_id: the queue's entry.
        raw_hash: HGETALL's answer, or the error that came in its place.
        allowed: the names of the callables that may run.
        connection: RQ's connection.

    Raises:
        DeliveryRefused: its message says why.
    """
    job = _read_job(raw_id, raw_hash, connection)
    try:
        name, instance, args, kwargs = job.func_name, job.instance, job.args, job.kwargs
    except Exception as error:
        raise DeliveryRefused("its data is not the JSON of a call (pickle is never read)") from error
    if not isinstance(name, str) or name not in allowed:
        raise DeliveryRefused(f"{name!r:.80} is not among the functions that this worker may call")
    match instance, args, kwargs:
        case None, [str(argument)], {} if not kwargs:
            return Order(job, name, argument)
        case _:
            raise DeliveryRefused(f"{name} takes one text as its argument")


def _read_job(raw_id: bytes, raw_hash: object, connection: redis.Redis) -> InertJob:
    match raw_hash:
        case dict() if raw_hash:
            fields: dict[Any, Any] = raw_hash
        case dict():
            raise DeliveryRefused("its hash is missing")
        case _:
            raise DeliveryRefused(f"its hash cannot be read ({raw_hash})")
    try:
        job = InertJob(raw_id.decode(), connection=connection, serializer=JSONSerializer)
        job.restore(fields)
    except Exception as error:  # RQ parses field by field, and each parser raises its own
        raise DeliveryRefused(f"its hash is broken ({type(error).__name__}: {error!s:.80})") from error
    return job
