"""Is every account with free capacity as likely as any other? 20,000 draws through submit, claim and settle.

    python -m bench.uniformity [--draws 20000] [--redis-url URL]

Runs on a throw-away Valkey (or a scratch namespace of the server given), with 20 channels of unequal use and with 200.
Prints one JSON object; exits 1 if a chi-square statistic lies 3 standard deviations or more from its mean.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import Store, command, open_store
from dispatcher.embedded import EmbeddedStore
from dispatcher.handoff import QUEUE, DeliveryId
from dispatcher.jobs import Jobs
from dispatcher.leases import Assignment
from dispatcher.options import Options
from dispatcher.requests import Create
from dispatcher.secrets import SecretKeys, load_or_create_key
from dispatcher.settings import Settings
from dispatcher.slots import Slots

MAX_JOBS = 10
HELD_AT_MOST = 7
Z_BOUND = 3.0
REQUEST = Create(prompt="a harbour at dawn", style="Realistic")


class Fleet:
    """Accounts of unequal use, and one job at a time through them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.jobs = Jobs(settings)
        self.slots = Slots(settings)
        self.accounts = Accounts(settings, SecretKeys.parse(load_or_create_key(settings.state_dir)))

    def register(self, count: int) -> list[str]:
        """Register accounts; the i-th holds i mod 8 of its 10 slots from now on."""
        channels = [str(1_197_013_797_467_000_000 + index) for index in range(count)]
        for index, channel in enumerate(channels):
            secret = SecretStr(f"uniformity-secret-of-{channel}")
            self.store.do(self.accounts.put(user=1, channel=channel, server="1", secret=secret, max_jobs=MAX_JOBS))
            for _ in range(index % (HELD_AT_MOST + 1)):
                self.store.do(self.jobs.submit(REQUEST, Options(channel=channel)))
        self.store.do(command("DEL", self.store.keys.of("rq", "queue", QUEUE), read=int))
        return channels

    def draw(self) -> str:
        """Take one job from submission to its end; returns the channel that it was given."""
        job = self.store.do(self.jobs.submit(REQUEST, Options()))
        delivery = self.store.do(command("LPOP", self.store.keys.of("rq", "queue", QUEUE), read=str))
        assignment = self.store.do(self.slots.claim(DeliveryId.parse(delivery), execution="draw", owner="uniformity"))
        if not isinstance(assignment, Assignment) or assignment.job.id != job.id:
            raise RuntimeError(f"The delivery of {job.id} did not come; is somebody else on this server?")
        self.store.do(self.slots.settle(assignment.lease, "completed"))
        return assignment.lease.channel


@contextmanager
def scratch_store(redis_url: str | None) -> Iterator[tuple[Store, Settings]]:
    """A store of our own: a throw-away server, or a namespace that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = None if redis_url else EmbeddedStore(Path(folder))
        try:
            if server is not None:
                redis_url = server.start()
            settings = Settings(
                redis_url=redis_url, namespace=f"{{u{uuid.uuid4().hex[:12]}}}", state_dir=Path(folder) / "state"
            )
            store = open_store(str(redis_url), settings.namespace)
            yield store, settings
            for key in store.client.scan_iter(f"{settings.namespace}:*", count=1000):
                store.client.delete(key)
            store.close()
        finally:
            if server is not None:
                server.stop()


def chi_square(counts: Counter[str], channels: list[str]) -> dict[str, float]:
    """Compare the counts with equal ones; ``z`` is in standard deviations of the statistic under uniform chance."""
    expected = counts.total() / len(channels)
    freedom = len(channels) - 1
    statistic = sum((counts[channel] - expected) ** 2 / expected for channel in channels)
    return {
        "chi_square": round(statistic, 2),
        "degrees_of_freedom": freedom,
        "z": round((statistic - freedom) / math.sqrt(2 * freedom), 3),
        "least_of_expected": round(min(counts[channel] for channel in channels) / expected, 3),
        "most_of_expected": round(max(counts.values()) / expected, 3),
    }


def measure(channels_count: int, draws: int, redis_url: str | None) -> dict[str, Any]:
    """Draw from that many channels."""
    with scratch_store(redis_url) as (store, settings):
        fleet = Fleet(store, settings)
        channels = fleet.register(channels_count)
        began_s = time.perf_counter()
        counts = Counter(fleet.draw() for _ in range(draws))
        took_s = time.perf_counter() - began_s
    figures: dict[str, Any] = {"channels": channels_count, "draws": draws, **chi_square(counts, channels)}
    figures["ms_per_job"] = round(took_s / draws * 1000, 3)
    return figures


def main() -> int:
    """Measure both fleets and judge them."""
    parser = argparse.ArgumentParser(description="Is every account with free capacity as likely as any other?")
    parser.add_argument("--draws", type=int, default=20_000, help="jobs per fleet (default 20000)")
    parser.add_argument("--redis-url", default=None, help="a server to use instead of a throw-away one")
    options = parser.parse_args()
    runs = [measure(count, options.draws, options.redis_url) for count in (20, 200)]
    is_uniform = all(abs(run["z"]) < Z_BOUND for run in runs)
    print(json.dumps({"uniform": is_uniform, "z_bound": Z_BOUND, "runs": runs}))
    return 0 if is_uniform else 1


if __name__ == "__main__":
    sys.exit(main())
