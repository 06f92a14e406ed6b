"""Two worker processes watch the same channels; one of them freezes, or is killed, while their jobs run."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from bench.stage import stage
from bench.verdict import is_clean, verdict
from dispatcher import Client, CreateSingle

JOBS, CHANNELS = 20, 2
SETTINGS = {"poll_min_s": 0.3, "poll_max_s": 1.0, "lease_ttl_s": 6, "heartbeat_s": 1}
FROZEN_S = 4.0
TIMEOUT_S = 90.0


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_the_jobs_of_both_end_well_and_none_is_called_absent(tmp_path: Path, blow: signal.Signals) -> None:
    with stage(tmp_path, SETTINGS) as on:
        on.start("run")
        struck, _living = on.start("work"), on.start("work")
        on.add_accounts([JOBS // CHANNELS] * CHANNELS)
        with Client(on.settings.redis_url) as client:
            jobs = client.enqueue_many(
                [
                    CreateSingle(prompt=f"take {n} [[sim seconds={3 + n % 5} ack=0.2]]", style="Anime")
                    for n in range(JOBS)
                ]
            )
            end_s = time.monotonic() + TIMEOUT_S
            while on.oracle(with_jobs=False)["totals"]["running"] < JOBS / 2:
                assert time.monotonic() < end_s
                time.sleep(0.05)
            struck.send_signal(blow)
            if blow is signal.SIGSTOP:
                time.sleep(FROZEN_S)  # how long it stays frozen, not how long something may take
                struck.send_signal(signal.SIGCONT)
            ended = client.wait_many([job.id for job in jobs], timeout_s=TIMEOUT_S)
        figures = verdict(ended, on.oracle(), slots_held=on.slots_held())

    assert is_clean(figures), figures
    assert figures["jobs"] == {"completed": JOBS}, figures
