"""A function for RQ's own worker to run in tests, in the place of ``workers.run.run_job``.

``python -m tests.support.stock_job <redis url> <namespace>`` runs a stock SimpleWorker in burst mode, with JSON and our
prefix, on whatever the queue holds.
"""

from __future__ import annotations

import sys
from types import ModuleType

import redis

from dispatcher import handoff, rq_prefix


def main(redis_url: str, namespace: str) -> None:
    rq_prefix.take(namespace)
    from rq import Queue, SimpleWorker  # noqa: PLC0415 (after RQ's prefix is taken)
    from rq.job import get_current_job  # noqa: PLC0415 (as above)
    from rq.serializers import JSONSerializer  # noqa: PLC0415 (as above)

    def run_job(delivery_id: str) -> dict[str, object]:
        job = get_current_job()
        assert job is not None
        return {"argument": delivery_id, "id": job.id, "timeout": job.timeout, "result_ttl": job.result_ttl}

    module_name, _, function_name = handoff.RUN_JOB.rpartition(".")
    stand_in = ModuleType(module_name)
    run_job.__module__ = module_name
    setattr(stand_in, function_name, run_job)
    sys.modules[module_name] = stand_in  # the real one needs a context that only `dispatcher work` has
    with redis.Redis.from_url(redis_url) as connection:
        queue = Queue(handoff.QUEUE, connection=connection, serializer=JSONSerializer)
        SimpleWorker([queue], connection=connection, serializer=JSONSerializer).work(burst=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
