"""RQ's own commands to a running worker, sent by RQ's own functions and command line."""

from __future__ import annotations

import json

from tests.support.deliveries import RQ, eventually

_SEND = """
import sys, redis
from rq import command
connection = redis.Redis.from_url(sys.argv[1])
getattr(command, sys.argv[2])(connection, *sys.argv[3:])
"""


def send(rq: RQ, function: str, *words: str) -> None:
    """Call one of rq.command's functions."""
    told = rq.python(_SEND, rq.redis_url, function, *words)
    assert told.returncode == 0, told.stderr


def test_stop_job_goes_to_our_cancel_and_the_coroutine_decides_how_it_ends(rq: RQ) -> None:
    with rq.worker():
        rq.hand_off("hold1", "hold2")
        eventually(lambda: len(rq.started()) == 2)

        send(rq, "send_stop_job_command", "hold2-1")

        eventually(lambda: rq.told("cancelled") == ["hold2-1"])
        assert len(rq.running) == 2


def test_stop_execution_goes_to_our_cancel(rq: RQ) -> None:
    with rq.worker():
        rq.hand_off("hold1")
        [(delivery, execution, _)] = eventually(rq.started)

        send(rq, "send_stop_execution_command", delivery, execution)

        eventually(lambda: rq.told("cancelled") == ["hold1-1"])


def test_shutdown_stops_the_worker_gracefully_however_often_it_is_sent(rq: RQ) -> None:
    with rq.worker() as worker:
        [name] = rq.workers
        rq.hand_off("stubborn1")
        eventually(rq.started)

        send(rq, "send_shutdown_command", name)
        eventually(lambda: rq.told("stopped"))
        send(rq, "send_shutdown_command", name)
        rounds = len(rq.told("stopped"))
        eventually(lambda: len(rq.told("stopped")) > rounds + 2)
        rq.release()

        assert worker.wait(20) == 0
    assert rq.finished == ["stubborn1-1"]


def test_what_is_no_command_for_us_is_ignored(rq: RQ) -> None:
    with rq.worker() as worker:
        [name] = rq.workers
        channel = f"{rq.prefix}:pubsub:{name}"
        rq.hand_off("hold1")
        eventually(rq.started)
        eventually(lambda: rq.client.pubsub_numsub(channel)[0][1])

        send(rq, "send_kill_horse_command", name)
        for payload in ("{", "[]", "null", '{"command": "stop-job"}', '{"command": "stop-job", "job_id": 1}', "\x00"):
            rq.client.publish(channel, payload)
        rq.client.publish(channel, json.dumps({"command": "stop-job", "job_id": "not-here-1"}))
        rq.client.publish(channel, json.dumps({"command": "stop-job", "job_id": "hold1-1"}))

        eventually(lambda: rq.told("cancelled"))
        assert rq.told("cancelled") == ["hold1-1"]
        assert worker.poll() is None


def test_rq_suspend_and_rq_resume_are_obeyed(rq: RQ) -> None:
    with rq.worker():
        rq.hand_off("hold1")
        eventually(rq.started)
        rq.command("suspend", "--url", rq.redis_url)
        eventually(lambda: rq.states == ["suspended"])

        rq.hand_off("quick1")
        assert rq.queued == 1
        rq.command("resume", "--url", rq.redis_url)

        eventually(lambda: rq.finished == ["quick1-1"])
        assert rq.running == ["hold1-1"]
