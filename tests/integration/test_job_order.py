"""Order and oneness of jobs on a real store: through a restart of it, and from many processes at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import Client, CreateSingle
from dispatcher.connection import Store, open_store
from dispatcher.embedded import EmbeddedStore
from dispatcher.settings import Settings
from tests.support.fleet import Fleet

PROCESSES, THREADS = 4, 25
RACE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from dispatcher import Client, CreateSingle

url, namespace, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
clients = [Client(url, namespace=namespace) for _ in range(threads)]
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    request = CreateSingle(prompt="once", style="Anime")
    jobs = pool.map(lambda client: client.enqueue(request, idempotency_key="once"), clients)
    print(*{job.id for job in jobs})
"""


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedStore]:
    server = EmbeddedStore(tmp_path)
    yield server
    server.stop()


def restarted(embedded: EmbeddedStore) -> Store:
    embedded.stop()
    return open_store(embedded.start(), Settings().namespace)


def run_all(fleet: Fleet) -> list[str]:
    """Give the fleet one slot, and run what waits to its end; the jobs in the order of their grants."""
    fleet.put("c1")
    order: list[str] = []
    while held := fleet.used("c1"):
        order += held
        fleet.claim(held[0])
        fleet.settle(held[0])
    return order


def test_larger_priorities_go_first_and_equal_ones_in_order_across_a_restart_of_the_store(
    embedded: EmbeddedStore,
) -> None:
    store = open_store(embedded.start(), Settings().namespace)
    before = Fleet(store)
    for priority in (-100, 0, 100):
        before.submit(f"early {priority}", priority=priority)
    store.close()

    store = restarted(embedded)
    after = Fleet(store)
    for priority in (100, 0, -100):
        after.submit(f"late {priority}", priority=priority)

    store.client.delete(store.keys.of("learning"))  # its window ends
    assert run_all(after) == [f"{when} {priority}" for priority in (100, 0, -100) for when in ("early", "late")]
    store.close()


def test_a_job_that_comes_back_after_a_restart_still_stands_before_those_who_came_later(
    embedded: EmbeddedStore,
) -> None:
    store = open_store(embedded.start(), Settings().namespace)
    before = Fleet(store)
    before.put("c1")
    before.bring("first", "C")
    before.submit("second")
    before.stand("c1", "paused")
    store.close()

    store = restarted(embedded)
    after = Fleet(store)
    after.handback("first")
    after.submit("third")

    assert after.pending() == ["first", "second", "third"]
    store.close()


def test_one_key_used_by_many_threads_of_several_processes_at_once_makes_one_job(
    settings: Settings, store: Store
) -> None:
    Fleet(store).put("1197013797467074001", 10)
    command = [sys.executable, "-c", RACE, str(settings.redis_url), settings.namespace, str(THREADS)]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"

    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=60)[0].split() for racer in racers]

    assert [racer.returncode for racer in racers] == [0] * PROCESSES
    assert len({job for jobs in told for job in jobs}) == 1
    with Client(settings.redis_url, namespace=settings.namespace) as client:
        assert [job.id for job in client.jobs()] == told[0]
        assert client.enqueue(CreateSingle(prompt="once", style="Anime"), idempotency_key="once").id == told[0][0]
