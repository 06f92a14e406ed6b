"""What a worker must not run, and must not stumble over."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from dispatcher import handoff
from tests.support.deliveries import RQ, eventually

CREATED = "2026-01-01T00:00:00.000000Z"


def call(function: str, *args: object) -> str:
    """The data of a job that calls ``function``."""
    return f'["{function}",null,{list(args)!s},{{}}]'.replace("'", '"')


def between_two_good_ones(rq: RQ) -> None:
    """Run the queue with a good delivery before and after; both must run, and nothing may be left half taken."""
    rq.client.lpush(rq.queue_key, rq.hand_off("quick1")[0])
    rq.client.rpop(rq.queue_key)
    rq.hand_off("quick2")
    with rq.worker() as worker:
        eventually(lambda: {"quick1-1", "quick2-1"} <= set(rq.finished))
        eventually(lambda: rq.intermediate == 0 and rq.queued == 0)

        assert worker.poll() is None
        assert not rq.running
        eventually(lambda: sorted(delivery for delivery, _, _ in rq.started()) == ["quick1-1", "quick2-1"])


def test_a_forged_job_that_names_another_function_is_failed_and_never_called(rq: RQ, tmp_path: Path) -> None:
    forged = rq.forge("forged", data=call("os.mkdir", str(tmp_path / "made")), created_at=CREATED)

    between_two_good_ones(rq)

    assert not (tmp_path / "made").exists()
    assert rq.failed == [forged]
    assert rq.status(forged) == "failed"
    assert rq.failure(forged) == "Refused: 'os.mkdir' is not among the functions that this worker may call."
    assert rq.client.ttl(f"{rq.prefix}:job:{forged}") > 0


class _MakesADirectory:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.mkdir, (self.path,)


def test_a_pickled_job_is_failed_and_never_unpickled(rq: RQ, tmp_path: Path) -> None:
    data = pickle.dumps((handoff.RUN_JOB, None, (_MakesADirectory(tmp_path / "made"),), {}))
    pickled = rq.forge("pickled", data=data, created_at=CREATED)

    between_two_good_ones(rq)

    assert not (tmp_path / "made").exists()
    assert rq.failed == [pickled]
    assert "pickle is never read" in rq.failure(pickled)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"data": call(handoff.RUN_JOB, "x"), "created_at": "yesterday"}, id="a time nobody can read"),
        pytest.param({"data": call(handoff.RUN_JOB, "x"), "result_ttl": "soon"}, id="a number nobody can read"),
        pytest.param({"data": call(handoff.RUN_JOB, "x"), "status": "lost"}, id="a status RQ does not have"),
        pytest.param({"status": "queued"}, id="no data"),
        pytest.param({"data": "["}, id="half of a JSON"),
        pytest.param({"data": call(handoff.RUN_JOB)}, id="no argument"),
        pytest.param({"data": call(handoff.RUN_JOB, 1)}, id="a number as argument"),
        pytest.param({"data": f'["{handoff.RUN_JOB}","me",["x"],{{}}]'}, id="a method"),
        pytest.param({"data": f'["{handoff.RUN_JOB}",null,["x"],{{"a":1}}]'}, id="a keyword"),
        pytest.param({"data": '[["os.mkdir"],null,["x"],{}]'}, id="a name that is no text"),
    ],
)
def test_a_broken_hash_is_failed_alone(rq: RQ, fields: dict[str, str]) -> None:
    broken = rq.forge("broken", **fields)

    between_two_good_ones(rq)

    assert rq.failed == [broken]
    assert rq.failure(broken).startswith("Refused: ")
    assert "Job.fetch" not in rq.command("info", "--url", rq.redis_url).stderr


def test_what_has_no_hash_to_fail_is_dropped_alone(rq: RQ) -> None:
    rq.forge("missing")
    rq.client.set(f"{rq.prefix}:job:text", "not a hash")
    rq.forge("text")
    rq.client.hset(f"{rq.prefix}:job:spoilt", mapping={"data": call(handoff.RUN_JOB, "quick"), "created_at": CREATED})
    rq.client.set(f"{rq.prefix}:executions:spoilt", "not a registry")
    rq.forge("spoilt")
    rq.forge("an id: of no kind")
    rq.client.rpush(rq.queue_key, b"\xff\xfe")

    between_two_good_ones(rq)


def test_a_forged_hash_makes_rq_call_nothing_and_repeat_nothing(rq: RQ, tmp_path: Path) -> None:
    [delivery] = rq.hand_off("outcome1")
    rq.client.hset(
        f"{rq.prefix}:job:{delivery}",
        mapping={
            "success_callback_name": "tests.support.never.imported",
            "failure_callback_name": "tests.support.never.imported",
            "webhooks": '[{"url": "http://127.0.0.1:1/", "job_status": "failed"}]',
            "retries_left": "3",
            "repeats_left": "3",
            "repeat_intervals": "[0]",
            "result_ttl": "0",
            "failure_ttl": "-1",
            "origin": "elsewhere",
        },
    )

    with rq.worker():
        eventually(lambda: rq.failed == [delivery])

        assert rq.queued == 0
        eventually(lambda: len(rq.started()) == 1)
        assert not rq.running
        assert rq.failure(delivery) == "Outcome: the bot said no"
        assert rq.client.ttl(f"{rq.prefix}:job:{delivery}") > 0
        assert not list(rq.client.scan_iter(f"{rq.prefix}:*elsewhere*"))


@pytest.mark.parametrize(
    ("prefix", "serializer", "reason"),
    [
        (None, "pickle", "RQ's key prefix is 'rq', and this fleet's is "),
        ("{other}:rq", "json", "RQ's key prefix is '{other}:rq', and this fleet's is "),
        ("ours", "pickle", "RQ's serializer is not JSON, and a pickled job can run anything"),
        ("ours", "json", "`rq worker` has no accounts to give to the worker"),
    ],
)
def test_rq_worker_may_not_start_ours_and_says_why_in_one_sentence(
    rq: RQ, prefix: str | None, serializer: str, reason: str
) -> None:
    variables = {"DISPATCHER_NAMESPACE": rq.namespace}
    variables[handoff.PREFIX_VARIABLE] = {None: "rq", "ours": rq.prefix}.get(prefix, prefix or "")
    words = ["worker", "-w", "workers.session.SessionWorker", "-S", serializer, "--url", rq.redis_url, handoff.QUEUE]

    told = rq.command(*words, **variables)

    assert told.returncode == 1
    assert told.stderr.startswith(reason)
    assert told.stderr.endswith("; start workers with `dispatcher work`.\n")
    assert len(told.stderr.splitlines()) == 1
    assert not rq.workers


def test_a_process_that_imported_rq_with_another_prefix_is_told_in_one_sentence(rq: RQ) -> None:
    program = "import os, rq; from dispatcher import rq_prefix; rq_prefix.take('{another}')"

    told = rq.python(program)

    assert told.returncode == 1
    assert "RQ was imported with the key prefix" in told.stderr
    assert told.stderr.splitlines()[-1].startswith("dispatcher.errors.SettingsError: ")


def test_rq_info_may_be_given_our_worker_class(rq: RQ) -> None:
    with rq.worker():
        told = rq.command("info", "-w", "workers.session.SessionWorker", "--url", rq.redis_url)

    assert told.returncode == 0
    assert "1 workers" in told.stdout
