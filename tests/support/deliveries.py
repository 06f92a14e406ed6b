"""RQ as a test sees it: deliveries handed over by the real script, and RQ's keys read without importing rq."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import redis

from dispatcher import handoff, scripts
from dispatcher.settings import Settings

ROOT = Path(__file__).parents[2]
PATIENCE_S = float(os.environ.get("TEST_PATIENCE_S", "60"))
"""How long a test waits for what must come; a program that judges mutants shortens it."""
_HAND_OFF = """
for index = 1, #ARGV do hand_off(ARGV[index], '1', false) end
return #ARGV
"""


def eventually(claim: Callable[[], Any], *, timeout_s: float = PATIENCE_S) -> Any:
    """Wait until ``claim`` is true; return its value."""
    end_s = time.monotonic() + timeout_s
    while not (value := claim()):
        if time.monotonic() > end_s:
            raise AssertionError(f"not within {timeout_s:g} s")
        time.sleep(0.02)
    return value


class RQ:
    """One namespace's RQ."""

    def __init__(self, redis_url: str, namespace: str) -> None:
        self.redis_url = redis_url
        self.namespace = namespace
        self.prefix = handoff.rq_prefix(namespace)
        self.client: Any = redis.Redis.from_url(
            redis_url, decode_responses=True
        )  # redis-py types every reply as a union
        self.queue_key = f"{self.prefix}:queue:{handoff.QUEUE}"

    @cached_property
    def _hand_off(self) -> str:
        parts = ["base", None, "record", "handoff"]
        text = [scripts._read(f"_{part}") if part else handoff.lua_constants() for part in parts]
        return "\n".join([*text, _HAND_OFF])

    def hand_off(self, *job_ids: str) -> list[str]:
        """Deliver jobs as `dispatch` does: by the same Lua, without leases."""
        for start in range(0, len(job_ids), 500):
            self.client.eval(self._hand_off, 1, self.namespace, *job_ids[start : start + 500])
        return [f"{job_id}-1" for job_id in job_ids]

    def forge(self, delivery_id: str, **fields: str | bytes) -> str:
        """Put a hash of one's own making into the queue."""
        if fields:
            self.client.hset(f"{self.prefix}:job:{delivery_id}", mapping=fields)
        self.client.rpush(self.queue_key, delivery_id)
        return delivery_id

    def status(self, delivery_id: str) -> str | None:
        status: str | None = self.client.hget(f"{self.prefix}:job:{delivery_id}", "status")
        return status

    @property
    def running(self) -> list[str]:
        """Ids in StartedJobRegistry."""
        return [entry.partition(":")[0] for entry in self.client.zrange(f"{self.prefix}:wip:{handoff.QUEUE}", 0, -1)]

    @property
    def finished(self) -> list[str]:
        return list(self.client.zrange(f"{self.prefix}:finished:{handoff.QUEUE}", 0, -1))

    @property
    def failed(self) -> list[str]:
        return list(self.client.zrange(f"{self.prefix}:failed:{handoff.QUEUE}", 0, -1))

    @property
    def queued(self) -> int:
        return int(self.client.llen(self.queue_key))

    @property
    def intermediate(self) -> int:
        return int(self.client.llen(f"{self.queue_key}:intermediate"))

    @property
    def workers(self) -> list[str]:
        """Names of the registered workers."""
        return sorted(
            key.removeprefix(f"{self.prefix}:worker:") for key in self.client.smembers(f"{self.prefix}:workers")
        )

    @property
    def states(self) -> list[str]:
        """What the registered workers say they do."""
        return [str(self.client.hget(f"{self.prefix}:worker:{name}", "state")) for name in self.workers]

    def failure(self, delivery_id: str) -> str:
        """What RQ shows of a failed delivery."""
        [(_, newest)] = self.client.xrevrange(f"{self.prefix}:results:{delivery_id}", count=1)
        return zlib.decompress(base64.b64decode(newest["exc_string"])).decode()

    def returned(self, delivery_id: str) -> Any:
        """What a finished delivery returned, as RQ has it on record."""
        [(_, newest)] = self.client.xrevrange(f"{self.prefix}:results:{delivery_id}", count=1)
        return json.loads(base64.b64decode(newest["return_value"]))

    def results(self, delivery_id: str) -> int:
        """How many endings RQ has on record for a delivery."""
        return int(self.client.xlen(f"{self.prefix}:results:{delivery_id}"))

    def started(self) -> list[tuple[str, str, str]]:
        """Every start: delivery id, execution id, worker's name."""
        return [tuple(json.loads(entry)) for entry in self.client.lrange(f"test:{self.namespace}:started", 0, -1)]

    def told(self, what: str) -> list[str]:
        """What the worker's hooks recorded."""
        return list(self.client.lrange(f"test:{self.namespace}:{what}", 0, -1))

    def release(self) -> None:
        """Let every ``hold`` return."""
        self.client.set(f"test:{self.namespace}:release", 1)

    def environment(self) -> dict[str, str]:
        return os.environ | {handoff.PREFIX_VARIABLE: self.prefix, "COLUMNS": "200"}

    def command(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run RQ's own command line."""
        program = Path(sys.executable).parent / "rq"
        return subprocess.run(
            [program, *words], cwd=ROOT, env=self.environment() | variables, capture_output=True, text=True, check=False
        )

    def python(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program that imports rq, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def worker(self, *words: str, log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """A worker process, registered; killed at the end if it still runs. What it logs goes to the end of ``log``."""
        before = set(self.workers)
        command = [sys.executable, "-m", "tests.support.session_program", self.redis_url, self.namespace, *words]
        with log.open("ab") if log else nullcontext() as stderr:
            process = subprocess.Popen(command, cwd=ROOT, stderr=stderr)
        try:
            eventually(lambda: set(self.workers) - before or process.poll() is not None)
            assert process.poll() is None
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

    def forget(self) -> None:
        """Delete every key of the namespace."""
        for pattern in (f"{self.namespace}:*", f"test:{self.namespace}:*"):
            for key in self.client.scan_iter(pattern, count=1000):
                self.client.delete(key)
        self.client.close()


@pytest.fixture
def rq(settings: Settings) -> Iterator[RQ]:
    """RQ in the test's namespace."""
    side = RQ(str(settings.redis_url), settings.namespace)
    yield side
    side.forget()


def clean(text: str) -> str:
    """Terminal output without its colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)
