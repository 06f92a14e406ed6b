"""The hash that our scripts write for RQ, held against the installed RQ.

RQ reads its key prefix once, when it is imported, so whatever imports it runs in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dispatcher import handoff
from dispatcher.connection import Store
from tests.support.deliveries import ROOT, RQ
from tests.support.fleet import Fleet

_FIELDS = """
import json, sys, redis
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer
from rq.utils import now

delivery, function, queue, result_ttl, failure_ttl = sys.argv[2:]
with redis.Redis.from_url(sys.argv[1]) as connection:
    expected = Job.create(
        function, args=(delivery,), id=delivery, connection=connection, serializer=JSONSerializer, origin=queue,
        description=delivery, timeout=-1, result_ttl=int(result_ttl), failure_ttl=int(failure_ttl),
        status=JobStatus.QUEUED,
    )
    expected.enqueued_at = now()
    ours = Job.fetch(delivery, connection=connection, serializer=JSONSerializer)
    fields = lambda job: {name: str(value) for name, value in job.to_dict().items() if name != "data"}
    print(json.dumps({
        "names_of_rq": sorted(expected.to_dict()),
        "names_written": sorted(name.decode() for name in connection.hgetall(ours.key)),
        "expected": fields(expected),
        "parsed": fields(ours),
        "types": {
            name: [type(getattr(job, name)).__name__ for job in (expected, ours)]
            for name in ("created_at", "enqueued_at", "timeout", "result_ttl", "failure_ttl", "origin", "description")
        },
        "calls": [json.loads(job.data) for job in (expected, ours)],
        "status": ours.get_status().value,
    }))
"""


@pytest.fixture
def delivery(rq: RQ, store: Store) -> Iterator[str]:
    """A job that was submitted, leased and handed to RQ by the real scripts; its delivery's id."""
    fleet = Fleet(store)
    fleet.put("100")
    fleet.bring("20260101000000000ABCDEF", "R")
    [delivery_id] = rq.client.lrange(rq.queue_key, 0, -1)
    yield delivery_id
    rq.forget()


def test_the_hash_has_the_fields_and_values_that_rq_itself_would_write(rq: RQ, delivery: str) -> None:
    words = [delivery, handoff.RUN_JOB, handoff.QUEUE, str(handoff.RESULT_TTL_S), str(handoff.FAILURE_TTL_S)]

    told = rq.python(_FIELDS, rq.redis_url, *words)

    assert told.returncode == 0, told.stderr
    seen = json.loads(told.stdout)
    assert seen["names_written"] == seen["names_of_rq"]
    times = {"created_at", "enqueued_at"}
    without_times = {name: value for name, value in seen["expected"].items() if name not in times}
    assert {name: value for name, value in seen["parsed"].items() if name not in times} == without_times
    assert {expected == ours for expected, ours in seen["types"].values()} == {True}, seen["types"]
    assert seen["calls"] == [[handoff.RUN_JOB, None, [delivery], {}]] * 2
    assert seen["status"] == "queued"


def test_the_times_are_redis_times_in_rqs_format(rq: RQ, delivery: str) -> None:
    program = """
import sys, redis
from rq.utils import utcformat, utcparse
with redis.Redis.from_url(sys.argv[1]) as connection:
    written = connection.hget(sys.argv[2], "created_at").decode()
    seconds, _ = connection.time()
assert utcformat(utcparse(written)) == written
from datetime import UTC
assert abs(utcparse(written).replace(tzinfo=UTC).timestamp() - seconds) < 3600
"""
    told = rq.python(program, rq.redis_url, f"{rq.prefix}:job:{delivery}")

    assert told.returncode == 0, told.stderr


def test_rqs_tools_find_the_queue(rq: RQ, delivery: str) -> None:
    told = rq.command("info", "--url", rq.redis_url, "--raw")

    assert f"queue {handoff.QUEUE} 1, 0 executing, 0 finished, 0 failed" in told.stdout


def test_a_stock_rq_worker_runs_such_a_delivery(rq: RQ, delivery: str) -> None:
    command = [sys.executable, "-m", "tests.support.stock_job", rq.redis_url, rq.namespace]

    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr
    assert rq.status(delivery) == "finished"
    assert rq.finished == [delivery]
    assert rq.queued == 0
    assert rq.returned(delivery) == {
        "argument": delivery,
        "id": delivery,
        "timeout": -1,
        "result_ttl": handoff.RESULT_TTL_S,
    }


def test_the_client_side_imports_no_rq() -> None:
    program = (
        "import sys, dispatcher, dispatcher.jobs, dispatcher.slots, dispatcher.handoff, dispatcher.rq_prefix\n"
        "assert 'rq' not in sys.modules, 'rq was imported'"
    )

    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert told.returncode == 0, told.stderr


_NEIGHBOUR = """
import sys, redis, rq
from rq.defaults import RQ_KEY_PREFIX
from dispatcher import Client, CreateSingle

redis_url, namespace = sys.argv[1:]
assert RQ_KEY_PREFIX == "rq"
with redis.Redis.from_url(redis_url) as connection, Client(redis_url, namespace=namespace) as client:
    theirs = rq.Queue("neighbour", connection=connection)
    own = theirs.enqueue("os.getpid")
    job = client.enqueue(CreateSingle(prompt="a fox", style="Anime"))
    assert theirs.job_ids == [own.id]
    rq.SimpleWorker([theirs], connection=connection).work(burst=True)
    assert own.is_finished
    print(job.id)
    theirs.delete()
"""


def test_an_application_keeps_its_own_rq_queue_beside_our_client_in_one_process(rq: RQ, store: Store) -> None:
    Fleet(store).put("100")
    environment = {name: value for name, value in rq.environment().items() if name != handoff.PREFIX_VARIABLE}
    command = [sys.executable, "-c", _NEIGHBOUR, rq.redis_url, rq.namespace]

    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    for key in rq.client.scan_iter("rq:*", count=1000):
        rq.client.delete(key)
    assert told.returncode == 0, told.stderr
    job_id = told.stdout.split()[-1]
    [delivery_id] = rq.client.lrange(rq.queue_key, 0, -1)
    assert delivery_id.startswith(f"{job_id}-")
