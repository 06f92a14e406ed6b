"""The oldest server that we promise to run on, Debian's Redis 7.0: every script's tests, on it instead of Valkey."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.support.ports import free_port
from tests.support.store import SERVER_VARIABLE

ROOT = Path(__file__).parents[2]
PROGRAM = shutil.which("redis-server")


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """URL of a redis-server of this machine."""
    if PROGRAM is None:
        pytest.skip("no redis-server on this machine")
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", "", "--logfile", "log"]
    with subprocess.Popen([PROGRAM, *options], cwd=tmp_path) as server:
        try:
            with redis.Redis(port=port, retry=Retry(ConstantBackoff(0.1), 100)) as client:
                client.ping()
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_scripts_keep_their_promises_on_redis(redis_url: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/lua"]

    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | {SERVER_VARIABLE: redis_url}, capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stdout[-5000:]
    with redis.Redis.from_url(redis_url) as client:
        assert int(client.info("stats")["total_commands_processed"]) > 1000, "the tests ran elsewhere"
