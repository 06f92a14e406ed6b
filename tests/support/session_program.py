"""A worker process for tests: the real SessionWorker, with functions that do what a delivery's name says.

Started as ``python -m tests.support.session_program <redis url> <namespace>``. RQ's key prefix is one per process, so
tests with namespaces of their own need processes of their own.

What a delivery does is the first word of its id: ``quick`` returns, ``hold`` waits until the test releases it (a value
at ``test:<namespace>:release``, or SIGUSR1) or is cancelled at a stop, ``stubborn`` waits through a stop too,
``outcome`` raises a job's own failure, ``broken`` a fault, ``lost`` a lost lease, ``cancelled`` is cancelled from
within. Each start is recorded at ``test:<namespace>:started``; the log goes to stderr, a JSON object a line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal

import redis.asyncio
import redis.exceptions

from dispatcher import handoff, rq_prefix
from dispatcher.errors import LeaseLost
from dispatcher.log import configure_log
from dispatcher.loop import cancel_until_done
from dispatcher.settings import Settings
from workers.execution import current_execution


class Outcome(Exception):
    is_outcome = True


class Functions:
    """The functions of one worker, and what the test sees of them."""

    def __init__(self, redis_url: str, namespace: str, faults: argparse.Namespace) -> None:
        self._faults = faults
        self._client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True, max_connections=20)
        self._key = f"test:{namespace}"
        self._released = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._started: list[str] = []

    async def run_job(self, delivery_id: str) -> None:
        execution = current_execution.get()
        self._started.append(json.dumps([delivery_id, execution.id, execution.owner]))
        match delivery_id.partition("-")[0].rstrip("0123456789"):
            case "hold":
                await self._hold()
            case "stubborn":
                await self._released.wait()
            case "outcome":
                raise Outcome("the bot said no")
            case "broken":
                raise ZeroDivisionError("a fault of ours")
            case "lost":
                raise LeaseLost(delivery_id, "stale")
            case "cancelled":
                raise asyncio.CancelledError

    async def _hold(self) -> None:
        task = asyncio.current_task()
        assert task
        self._running.add(task)
        try:
            await self._released.wait()
        finally:
            self._running.discard(task)

    async def on_stop(self) -> None:
        await self._tell("stopped", len(self._running))
        if self._faults.hand_over_fails:
            raise ConnectionError("nobody to hand over to")
        if self._faults.hand_over_hangs:
            await asyncio.Event().wait()
        for task in self._running:
            task.cancel()

    async def on_cancel(self, delivery_id: str) -> None:
        await self._tell("cancelled", delivery_id)
        if self._faults.cancel_fails:
            raise ConnectionError("nobody to cancel it")

    async def watch(self) -> None:
        """Report starts in batches, and see the release."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._released.set)
        while True:
            batch, self._started = self._started, []
            try:
                if batch:
                    await self._tell("started", *batch)
                if await self._client.exists(f"{self._key}:release"):
                    self._released.set()
            except redis.exceptions.RedisError:
                self._started = batch + self._started
            await asyncio.sleep(0.02)

    async def _tell(self, what: str, *values: str | int) -> None:
        await self._client.rpush(f"{self._key}:{what}", *values)

    async def close(self) -> None:
        await self._client.aclose()


def breaks() -> None:
    raise ZeroDivisionError("a heart that breaks")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("namespace")
    parser.add_argument("--capacity", type=int, default=10_000)
    parser.add_argument("--worker-beat-s", type=float, default=30)
    parser.add_argument("--execution-beat-s", type=float, default=300)
    for fault in ("hand-over-fails", "hand-over-hangs", "cancel-fails", "beat-breaks"):
        parser.add_argument(f"--{fault}", action="store_true")
    return parser.parse_args()


async def main() -> None:
    arguments = read_arguments()
    configure_log(json=True)
    rq_prefix.take(arguments.namespace)
    from workers.session import SessionWorker  # noqa: PLC0415 (after RQ's prefix is taken)

    functions = Functions(arguments.redis_url, arguments.namespace, arguments)
    worker = SessionWorker(
        redis_url=arguments.redis_url,
        settings=Settings(redis_url=arguments.redis_url, namespace=arguments.namespace),
        callables={handoff.RUN_JOB: functions.run_job},
        on_stop=functions.on_stop,
        on_cancel=functions.on_cancel,
        capacity=arguments.capacity,
        worker_beat_s=arguments.worker_beat_s,
        execution_beat_s=arguments.execution_beat_s,
    )
    if arguments.beat_breaks:
        worker._presence.beat = breaks  # type: ignore[method-assign]
    watching = asyncio.create_task(functions.watch())
    try:
        await worker.serve()
    finally:
        await cancel_until_done(watching)
        await functions.close()


if __name__ == "__main__":
    asyncio.run(main())
