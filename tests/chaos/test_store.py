from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoScriptError, RedisError

from chaos import clock
from chaos.node import NodeFailed
from chaos.outage import Outage
from chaos.store import ChaosStore
from dispatcher.connection import Call, Store, command, open_async_store, open_store
from dispatcher.errors import StoreUnavailable

HOUR_S = 3600.0
FROZEN_S = 0.5

needs_libfaketime = pytest.mark.skipif(not clock.available(), reason=clock.MISSING)


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosStore]:
    with ChaosStore(tmp_path_factory.mktemp("chaos")) as started:
        yield started


@pytest.fixture(autouse=True)
def _as_it_was(chaos: ChaosStore) -> Iterator[None]:
    """Each test finds the first server serving, empty, at the machine's time."""
    yield
    if chaos.has_failed_over:
        chaos.fail_back(lost_s=0)
    if chaos.clock is not None and chaos.clock.offset_s:
        chaos.clock_step(-chaos.clock.offset_s)
    chaos.serving.ask("FLUSHALL")


@pytest.fixture
def direct(chaos: ChaosStore) -> Callable[..., Any]:
    """Ask whoever serves now, past the proxy."""
    return lambda *words: chaos.serving.ask(*words)  # noqa: PLW0108 (another one may serve by then)


@pytest.fixture
def plain(chaos: ChaosStore) -> Iterator[redis.Redis]:
    """redis-py as it comes, save that it waits a second for an answer."""
    with redis.Redis(port=chaos.proxy.port, decode_responses=True, socket_timeout=1) as client:
        yield client


@pytest.fixture
def ours(chaos: ChaosStore) -> Iterator[Store]:
    """The client of every program of ours."""
    opened = open_store(chaos.url, "{t}")
    yield opened
    opened.close()


@dataclass
class Writer:
    """Writes 1, 2, 3, … without end; each number is sent again until it is answered."""

    write: Callable[[int], object]
    failures: tuple[type[Exception], ...]
    answered: int = 0
    refused: int = 0
    _stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.write(self.answered + 1)
            except self.failures:
                self.refused += 1
            else:
                self.answered += 1

    def stop(self) -> None:
        self._stopped.set()

    def await_more(self) -> None:
        """Wait until a write begun from now on is answered."""
        wanted = self.answered + 2
        end_s = time.monotonic() + 60
        while self.answered < wanted:
            assert time.monotonic() < end_s, f"no more than {self.answered} were answered"
            time.sleep(0.005)


@pytest.fixture
def ours_in_asyncio(chaos: ChaosStore) -> Iterator[Callable[[Call[int]], int]]:
    """The workers' client, on a loop of its own."""
    opened = open_async_store(chaos.url, "{t}")
    with asyncio.Runner() as runner:
        yield lambda call: runner.run(opened.do(call))
        runner.run(opened.close())


@pytest.fixture(params=["redis-py", "ours", "ours in asyncio"])
def writer(
    request: pytest.FixtureRequest,
    plain: redis.Redis,
    ours: Store,
    ours_in_asyncio: Callable[[Call[int]], int],
) -> Iterator[Writer]:
    """A client at work."""
    writers = {
        "redis-py": Writer(lambda n: plain.sadd("written", n), (RedisError,)),
        "ours": Writer(lambda n: ours.do(_adding(n)), (StoreUnavailable,)),
        "ours in asyncio": Writer(lambda n: ours_in_asyncio(_adding(n)), (StoreUnavailable,)),
    }
    made = writers[request.param]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(made.run)
        try:
            made.await_more()
            yield made
        finally:
            made.stop()
            running.result()


KEEPING: dict[str, Callable[[ChaosStore], Outage]] = {
    "kill_and_restart": lambda chaos: chaos.kill_and_restart(),
    "freeze": lambda chaos: chaos.freeze(FROZEN_S),
    "script_flush": lambda chaos: chaos.script_flush(),
    "proxy.cut": lambda chaos: chaos.proxy.cut(),
    "proxy.freeze": lambda chaos: chaos.proxy.freeze(FROZEN_S),
    "proxy.half_close": lambda chaos: chaos.proxy.half_close(bytes_max=1, within_s=10),
}
STEPPING: dict[str, Callable[[ChaosStore], Outage]] = {
    "clock_step": lambda chaos: chaos.clock_step(HOUR_S),
}
LOSING: dict[str, Callable[[ChaosStore, Writer], Outage]] = {
    "roll_back": lambda chaos, writer: chaos.roll_back(lost_s=0, meanwhile=writer.await_more),
    "fail_over": lambda chaos, writer: chaos.fail_over(lost_s=0, meanwhile=writer.await_more),
    "fail_back": lambda chaos, writer: chaos.fail_back(lost_s=0, meanwhile=writer.await_more),
}


@pytest.mark.parametrize(
    "fault",
    [*KEEPING, *(pytest.param(name, marks=needs_libfaketime) for name in STEPPING)],
)
def test_a_client_survives_and_keeps_every_answered_write(
    chaos: ChaosStore, writer: Writer, direct: Callable[..., Any], fault: str
) -> None:
    outage = (KEEPING | STEPPING)[fault](chaos)

    writer.await_more()
    answered = writer.answered
    kept = direct("SCARD", "written")
    assert kept >= answered
    assert outage.kind == fault.removeprefix("proxy.")
    assert outage.began_s <= outage.ended_s <= time.monotonic()
    assert outage.lost_from_s is None


@pytest.mark.parametrize("fault", LOSING)
def test_a_client_survives_a_fault_that_loses_answered_writes(
    chaos: ChaosStore, writer: Writer, direct: Callable[..., Any], fault: str
) -> None:
    if fault == "fail_back":
        chaos.fail_over(lost_s=0)
        writer.await_more()
    first = writer.answered

    outage = LOSING[fault](chaos, writer)

    writer.await_more()
    writer.stop()
    last = writer.answered  # what is answered from now on may not be read any more
    written = {int(n) for n in direct("SMEMBERS", "written")}
    lost = set(range(first, last + 1)) - written
    assert lost, "nothing that was answered is gone"
    assert lost == set(range(min(lost), max(lost) + 1)), "it is one tail"
    assert outage.kind == fault
    assert outage.lost_bytes > 0
    assert outage.lost_from_s is not None
    assert outage.lost_from_s <= outage.began_s <= outage.ended_s <= time.monotonic()


def test_a_killed_server_comes_back_as_another_process_with_its_data(
    chaos: ChaosStore, direct: Callable[..., Any]
) -> None:
    direct("SET", "kept", "1")
    process, identity = chaos.serving.pid, chaos.serving.replication_id()

    chaos.kill_and_restart()

    assert direct("GET", "kept") == "1"
    assert chaos.serving.pid != process
    assert chaos.serving.replication_id() != identity


def test_after_a_restart_its_identity_stays_what_it_is(chaos: ChaosStore) -> None:
    chaos.kill_and_restart()
    identity = chaos.serving.replication_id()

    chaos.standby.await_sync(chaos.serving)

    assert chaos.serving.replication_id() == identity
    assert chaos.serving.info("replication")["connected_slaves"] == 1


def test_a_frozen_server_answers_when_it_is_thawed(chaos: ChaosStore, plain: redis.Redis) -> None:
    with ThreadPoolExecutor(1) as pool:
        freezing = pool.submit(chaos.freeze, FROZEN_S)
        while not _is_stopped(chaos.serving.pid):
            assert not freezing.done()

        plain.ping()

        answered_s = time.monotonic()
        outage = freezing.result()
    assert answered_s >= outage.began_s + FROZEN_S


def test_flushed_scripts_are_unknown_and_ours_load_themselves(
    chaos: ChaosStore, plain: redis.Redis, ours: Store
) -> None:
    def dispatch() -> Any:
        return ours.do(Call("dispatch", (1, 1000, "1:discord"), lambda reply: reply))

    dispatch()
    digest = plain.script_load("return 1")
    assert plain.evalsha(digest, 0) == 1

    chaos.script_flush()

    with pytest.raises(NoScriptError):
        plain.evalsha(digest, 0)
    dispatch()


def test_a_rollback_leaves_what_was_there_at_the_checkpoint(chaos: ChaosStore, direct: Callable[..., Any]) -> None:
    direct("SET", "kept", "1")
    checkpoint = chaos.checkpoint()
    direct("SET", "kept", "2")
    direct("SET", "lost", "1")
    identity = chaos.serving.replication_id()

    outage = chaos.roll_back(checkpoint)

    assert (direct("GET", "kept"), direct("EXISTS", "lost")) == ("1", 0)
    assert outage.lost_from_s == checkpoint.at_s
    assert chaos.serving.replication_id() != identity


def test_a_rollback_loses_what_was_written_meanwhile(chaos: ChaosStore, direct: Callable[..., Any]) -> None:
    direct("SET", "kept", "1")

    chaos.roll_back(lost_s=0, meanwhile=lambda: direct("SET", "lost", "1"))

    assert direct("EXISTS", "kept") == 1
    assert direct("EXISTS", "lost") == 0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_rollback_into_the_middle_of_a_script_leaves_nothing_of_it(
    chaos: ChaosStore, direct: Callable[..., Any], share: float
) -> None:
    direct("SET", "kept", "1")
    before = chaos.checkpoint()
    direct("EVAL", "redis.call('SET', 'a', 1); redis.call('SET', 'b', 1)", "0")
    of_the_script = chaos.checkpoint().size_bytes - before.size_bytes

    chaos.roll_back(replace(before, size_bytes=before.size_bytes + int(of_the_script * share)))

    assert (direct("EXISTS", "kept"), direct("EXISTS", "a", "b")) == (1, 0)


def test_a_checkpoint_of_the_other_server_is_void(chaos: ChaosStore) -> None:
    checkpoint = chaos.checkpoint()
    chaos.fail_over(lost_s=0)

    with pytest.raises(NodeFailed, match="now writes"):
        chaos.roll_back(checkpoint)

    assert chaos.serving.ask("PING")


def test_a_failover_loses_what_the_replica_missed(
    chaos: ChaosStore, direct: Callable[..., Any], plain: redis.Redis
) -> None:
    first, identity = chaos.serving, chaos.serving.replication_id()
    direct("SET", "kept", "1")

    chaos.fail_over(lost_s=0, meanwhile=lambda: first.ask("SET", "lost", "1"))

    assert chaos.standby is first
    assert chaos.serving is not first
    assert chaos.serving.replication_id() != identity
    assert plain.info("replication")["role"] == "master"
    assert plain.exists("kept")
    assert not plain.exists("lost")


def test_a_failback_is_another_failover(chaos: ChaosStore, plain: redis.Redis) -> None:
    first = chaos.serving
    chaos.fail_over(lost_s=0)
    plain.set("kept", "1")
    second, identity = chaos.serving, chaos.serving.replication_id()

    chaos.fail_back(lost_s=0, meanwhile=lambda: second.ask("SET", "lost", "1"))

    assert chaos.serving is first
    assert chaos.serving.replication_id() != identity
    assert plain.exists("kept")
    assert not plain.exists("lost")


def test_there_is_no_failover_twice_and_no_failback_before_one(chaos: ChaosStore) -> None:
    with pytest.raises(NodeFailed, match="fail_over is the next"):
        chaos.fail_back()
    chaos.fail_over(lost_s=0)
    with pytest.raises(NodeFailed, match="fail_back is the next"):
        chaos.fail_over()


def test_a_promoted_server_has_every_answered_write_on_the_disk(chaos: ChaosStore, plain: redis.Redis) -> None:
    chaos.fail_over(lost_s=0)
    plain.set("kept", "1")

    chaos.kill_and_restart()

    assert plain.get("kept") == "1"
    assert chaos.serving.ask("CONFIG", "GET", "appendfsync") in ({"appendfsync": "always"}, ["appendfsync", "always"])


@needs_libfaketime
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_the_servers_time_steps(chaos: ChaosStore, plain: redis.Redis, step_s: float) -> None:
    chaos.clock_step(step_s)

    seconds, _ = plain.time()
    in_a_script = plain.eval("return redis.call('TIME')[1]", 0)
    assert abs(seconds - time.time() - step_s) < HOUR_S / 2
    assert abs(int(str(in_a_script)) - seconds) < HOUR_S / 2


@needs_libfaketime
def test_the_time_stays_stepped_through_a_restart_and_a_failover(chaos: ChaosStore, plain: redis.Redis) -> None:
    chaos.clock_step(HOUR_S)
    seen = []

    for fault in (chaos.kill_and_restart, lambda: chaos.fail_over(lost_s=0)):
        fault()
        seen.append(plain.time()[0] - time.time())

    assert all(abs(ahead - HOUR_S) < HOUR_S / 2 for ahead in seen)


@needs_libfaketime
def test_a_step_ends_what_the_wall_clock_ends_and_no_wait(chaos: ChaosStore, plain: redis.Redis) -> None:
    plain.set("short", "1", ex=int(HOUR_S / 2))
    with ThreadPoolExecutor(1) as pool, redis.Redis(port=chaos.proxy.port, decode_responses=True) as waiting:
        popped = pool.submit(waiting.blpop, ["list"], timeout=0)
        while not plain.info("clients")["blocked_clients"]:
            assert not popped.done()

        chaos.clock_step(HOUR_S)

        assert not plain.exists("short")
        assert plain.info("clients")["blocked_clients"] == 1
        plain.rpush("list", "x")
        assert list(popped.result() or ()) == ["list", "x"]


def test_without_libfaketime_a_step_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_FOLDERS", ())

    with ChaosStore(tmp_path) as without:
        assert without.clock is None
        with pytest.raises(FileNotFoundError, match="apt-get install faketime"):
            without.clock_step(1)


def test_a_stopped_store_leaves_no_process(tmp_path: Path) -> None:
    with ChaosStore(tmp_path) as started:
        pids = [started.serving.pid, started.standby.pid, started.proxy.pid]
        assert all(pid and Path(f"/proc/{pid}").exists() for pid in pids)

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def _adding(n: int) -> Call[int]:
    return command("SADD", "written", n, read=int)


def _is_stopped(pid: int | None) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
