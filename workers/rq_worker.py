"""RQ's worker class as a keeper of books: its handlers and registries, without its loop, its forks and its CLI."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.serializers import JSONSerializer
from rq.worker import BaseWorker

from dispatcher import handoff, rq_prefix
from dispatcher.errors import SettingsError
from dispatcher.registries import InertJob
from dispatcher.settings import load_settings

WORKER_TTL_S = 60
"""RQ forgets a worker this long (and a minute) after its last heartbeat."""
TIMEOUT_S = 5.0


class BookKeeper(BaseWorker):
    """What our worker is to RQ: one queue, JSON, a name of its own at each start.

    Args:
        redis_url: where RQ's queue is.
        connections: how many threads may speak to RQ at once.
    """

    def __new__(cls, *rq_arguments: object, **options: object) -> Self:
        """Refuse to be made by `rq worker`, in one sentence.

        It builds workers from queues, by position, and has neither our settings nor our callables to give.
        """
        if rq_arguments:
            raise SystemExit(_refusal(options))
        return super().__new__(cls)

    def __init__(self, *, redis_url: str, connections: int) -> None:
        super().__init__(
            [handoff.QUEUE],
            # A name is used once: RQ refuses one whose owner was killed and still counts as alive.
            name=f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}",
            connection=_connection(redis_url, connections),
            job_class=InertJob,
            serializer=JSONSerializer,
            default_result_ttl=handoff.RESULT_TTL_S,
            worker_ttl=WORKER_TTL_S,
            prepare_for_work=False,
        )
        self.hostname, self.pid = socket.gethostname(), os.getpid()

    def _set_connection(self, connection: redis.Redis) -> redis.Redis:
        """Leave the socket timeout alone: RQ would raise it to its dequeue's, minutes, and nothing blocks here."""
        return connection

    @classmethod
    def find_by_key(cls, worker_key: str, connection: redis.Redis, *args: Any, **options: Any) -> BaseWorker | None:
        """Show any worker to RQ's tools: what they read needs no session."""
        return BaseWorker.find_by_key(worker_key, connection, *args, **options)


def _connection(redis_url: str, connections: int) -> redis.Redis:
    """RQ's connection: undecoded, repeating nothing by itself, because who calls it reads the effect back first."""
    return redis.Redis.from_url(
        redis_url,
        max_connections=connections,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )


def _refusal(options: dict[str, object]) -> str:
    """Say why `rq worker -w workers.session.SessionWorker` must not run."""
    try:
        wanted = handoff.rq_prefix(load_settings().namespace)
    except SettingsError as error:
        return str(error)
    if rq_prefix.loaded() != wanted:
        wrong = f"RQ's key prefix is {rq_prefix.loaded()!r}, and this fleet's is {wanted!r}"
    elif options.get("serializer") not in ("json", JSONSerializer, "rq.serializers.JSONSerializer"):
        wrong = "RQ's serializer is not JSON, and a pickled job can run anything"
    else:
        wrong = "`rq worker` has no accounts to give to the worker"
    return f"{wrong}; start workers with `dispatcher work`."
