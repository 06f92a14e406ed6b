"""Links to results expire; a worker renews them when they are wanted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.stage import Stage, stage
from dispatcher import AsyncClient, Client, CreateSingle, Job, LinksTimeout, LinksUnavailable

WAIT_S = 60.0


@pytest.fixture
def on(tmp_path: Path) -> Iterator[Stage]:
    """A service and an account; whoever needs a worker starts one."""
    with stage(tmp_path, {"poll_min_s": 0.1}) as opened:
        opened.start("run")
        opened.add_accounts([2])
        yield opened


@pytest.fixture
def client(on: Stage) -> Iterator[Client]:
    with Client(on.settings.redis_url) as opened:
        yield opened


@pytest.fixture
def job(on: Stage, client: Client) -> Job:
    """A completed job whose links have expired; no worker runs."""
    worker = on.start("work")
    prompt = "a calm sea [[sim seconds=0.2 ack=0.1]]"
    done = client.wait(client.enqueue(CreateSingle(prompt=prompt, style="Anime")).id, timeout_s=WAIT_S)
    on.kill(worker)
    [file] = done.attachments
    assert httpx.get(file.url).is_success
    httpx.post(f"{on.simulator_url}/sim/links/expire").raise_for_status()
    assert httpx.get(file.url).status_code == httpx.codes.NOT_FOUND
    return done


def test_a_worker_brings_fresh_links_and_downloads_use_them(
    on: Stage, client: Client, job: Job, tmp_path: Path
) -> None:
    with pytest.raises(LinksTimeout, match="does a `dispatcher work` run"):
        client.links(job.id, timeout_s=0.2)
    worker = on.start("work")

    fresh = client.links(job.id, timeout_s=WAIT_S)
    [saved] = client.download(job, tmp_path / "own")
    command = [sys.executable, "-m", "dispatcher", "job", "download", job.id, "--to", str(tmp_path / "cli"), "--json"]
    told = subprocess.run(command, env=on.environment, capture_output=True, check=True, timeout=WAIT_S).stdout

    on.kill(worker)
    video = httpx.get(fresh.attachments[0].url).raise_for_status().content
    assert saved.read_bytes() == Path(json.loads(told)[0]).read_bytes() == video
    assert client.get(job.id) == job
    assert on.oracle(with_jobs=False)["requests"]["refresh_urls"] == 1


def test_an_async_client_renews_them_too_and_a_deleted_account_is_the_reason(
    on: Stage, client: Client, job: Job, tmp_path: Path
) -> None:
    async def downloaded() -> list[Path]:
        async with AsyncClient(on.settings.redis_url) as opened:
            assert (await opened.links(job.id)).attachments != job.attachments
            return await opened.download(job, tmp_path)

    worker = on.start("work")
    [saved] = asyncio.run(downloaded())
    assert saved.stat().st_size > 0

    command = [sys.executable, "-m", "dispatcher", "account", "remove", str(job.channel)]
    subprocess.run(command, env=on.environment, check=True, timeout=WAIT_S)
    httpx.post(f"{on.simulator_url}/sim/links/expire").raise_for_status()
    with pytest.raises(LinksUnavailable, match="was deleted; register it again"):
        client.download(client.links(job.id), tmp_path)
    on.kill(worker)
