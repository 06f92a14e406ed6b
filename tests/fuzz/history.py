"""One history: callers, an operator, workers, a service, an upstream and faults, over some minutes of virtual time."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any, TypeVar
from unittest.mock import patch

from redis.exceptions import ResponseError

from dispatcher import replies
from dispatcher.connection import Call
from dispatcher.jobs import Jobs
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.fuzz.callers import Callers
from tests.fuzz.faults import Faults
from tests.fuzz.judge import Judge
from tests.fuzz.oracle import Upstream
from tests.fuzz.stage import NAMESPACE, Stage
from tests.fuzz.timeline import Host, Process, Timeline
from tests.fuzz.upkeep import Operator
from tests.fuzz.worker import Worker

T = TypeVar("T")

EPOCH_MS = 1_700_000_000_000
LOOK_MS = 45_000
DRAIN_LOOKS = 80


class Broken(Exception):
    """A script failed: the history cannot go on."""


class History:
    """The world of one seed."""

    def __init__(self, stage: Stage, seed: str, *, jobs: int, mood: str | None = None) -> None:
        self.stage = stage
        self.seed = seed
        self.chance = chance = Random(seed)  # noqa: S311 (seeded, so that a failure can be repeated)
        self.timeline = Timeline()
        self.clock_ahead_ms = 0
        self.first_run_ms = self.last_run_ms = 0
        self.numbers = count()
        self.network, self.service = Host("network"), Host("service")
        self.settings = Settings(
            namespace=NAMESPACE,
            min_interval_ms=chance.choice((0, 0, 1000)),
            hard_deadline_s=chance.choice((60, 120, 300)),
            hold_s=chance.choice((60, 120)),
            max_wait_s=chance.choice((0, 0, 240)),
            max_attempts=chance.choice((1, 1, 3)),
            capacity_requeues_max=chance.choice((3, 20)),
        )
        self.no_progress_ms = chance.choice((50_000, 600_000))
        self.slots, self.jobs = Slots(self.settings), Jobs(self.settings)
        outlives_ms = int((self.settings.hard_deadline_s + self.settings.hold_s) * 1000)
        self.upstream = Upstream(chance, outlives_ms=outlives_ms, job_ms=chance.choice(((500, 8000), (3000, 40_000))))
        self.judge = Judge(self)
        self.pools = ["1:discord", "2:discord"][: chance.choice((1, 1, 2))]
        self.taken: set[str] = set()
        self.permitted_ms: dict[str, int] = {}
        self._submitted: dict[str, str] = {}
        self.accepted: dict[str, int] = {}
        self.workers: list[Worker] = []
        self.callers, self.operator, self.faults = Callers(self, jobs), Operator(self), Faults(self, mood)

    @property
    def store_ms(self) -> int:
        """The store's clock."""
        return EPOCH_MS + self.timeline.now_ms + self.clock_ahead_ms

    def play(self) -> Judge:
        """Play it to its end, when nothing runs any more."""
        self.stage.clear()
        with patch.object(replies, "secrets", _Dice(self.chance)):
            try:
                self._play()
            except Exception as error:
                # Without a rule anything may follow; with all of them only what was told already.
                if self.stage.is_whole and not isinstance(error, Broken):
                    raise
                self.judge.breach("broke off", repr(error))
            finally:
                self.timeline.close()
        self.judge.hear_upstream()
        return self.judge

    def _play(self) -> None:
        self.operator.begin()
        for _ in range(self.chance.randint(2, 4)):
            self.hire()
        self.timeline.start(self.service, self._reaping())
        self.timeline.start(self.service, self._refilling())
        self.callers.begin()
        self.faults.begin()
        while not self.callers.are_done:
            self._go_on()
        self.faults.end()
        self.operator.end()
        for _ in range(DRAIN_LOOKS):
            self._go_on()
            if not self._is_work_left():
                break
        self.judge.look_at_end()

    def _go_on(self) -> None:
        self.timeline.run_until(self.timeline.now_ms + LOOK_MS)
        for pool in self.pools:
            while self.run(self.slots.dispatch(pool))[1]:
                pass
        self.judge.look()

    def _is_work_left(self) -> bool:
        store = self.stage.store
        keys = [store.keys.of("deadlines"), store.keys.of("expiry")]
        keys += list(store.client.scan_iter(store.keys.of("pending", "*"), count=1000))
        return bool(store.client.exists(*keys)) or any(worker.held for worker in self.workers)

    def hire(self) -> None:
        """Start a worker."""
        self.workers.append(Worker(f"w{next(self.numbers)}", self))

    def living(self) -> list[Worker]:
        """Workers that take deliveries now."""
        self.workers = [worker for worker in self.workers if not worker.is_dead]
        now_ms = self.timeline.now_ms
        return [worker for worker in self.workers if worker.frozen_until_ms <= now_ms and not worker.is_stopping]

    def run(self, call: Call[T]) -> T:
        """Make a call at this very instant."""
        self.last_run_ms = self.timeline.now_ms
        return call.read(self._reply(call))

    def ask(self, call: Call[T]) -> Generator[int, None, T]:
        """Make a call over a network that loses requests and replies; then the same call is made again."""
        chance = self.chance
        yield chance.choice((1, 1, 2, 5, 30))
        while chance.random() < 0.01:
            yield chance.randint(50, 1000)
        reply = self._reply(call)
        run_ms = first_ms = self.timeline.now_ms
        while chance.random() < 0.03:
            yield chance.randint(50, 1000)
            reply = self._reply(call)
            run_ms = self.timeline.now_ms
        yield chance.choice((1, 1, 2, 5, 30, 400))
        self.first_run_ms, self.last_run_ms = first_ms, run_ms
        return call.read(reply)

    def _reply(self, call: Call[Any]) -> Any:
        try:
            told = self.stage.run(call.name, call.args, now_ms=self.store_ms)
        except ResponseError as error:
            self.judge.breach("script failed", f"{call.name}: {error}")
            raise Broken from error
        if call.name == "mark_submitting" and told.reply[0] == "ok":
            self._permitted(str(call.args[3]), submitted_ms=str(told.reply[1]), account=replies.table(told.reply[2]))
        for note in told.noted:
            kind, _, detail = note.partition(" | ")
            self.judge.breach(kind, detail)
        if told.queued and (living := self.living()):
            self.chance.choice(living).take()
        return told.reply

    def _permitted(self, job: str, *, submitted_ms: str, account: dict[str, str]) -> None:
        """Keep the instant on the upstream's clock, as a lease does for those who look for the answer.

        A repeated call is told of the first permission again, whatever became of the account since.
        """
        if self._submitted.get(job) != submitted_ms:
            self.judge.permitted(job, account)
            self._submitted[job] = submitted_ms
            self.permitted_ms[job] = self.timeline.now_ms

    def _reaping(self) -> Process:
        while True:
            yield 1000
            while (yield from self.ask(self.slots.reap()))[3]:
                pass

    def _refilling(self) -> Process:
        while True:
            yield 2000
            for pool in self.pools:
                yield from self.ask(self.slots.dispatch(pool))


class _Dice:
    """Chance for the scripts' seeds, in the place of ``secrets``."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance

    def randbelow(self, most: int) -> int:
        """As ``secrets.randbelow``."""
        return self._chance.randrange(most)


def submitted_as(call: Call[T], job: str) -> Call[T]:
    """The same submission under an id of ours, so that a seed gives the same history."""
    return replace(call, args=(*call.args[:4], job, *call.args[5:]))
