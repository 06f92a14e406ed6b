"""Faults: workers killed, frozen and stopped, ids lost and doubled, no service, clock steps, lost writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fuzz.stage import QUEUE_KEY
from tests.fuzz.timeline import Host, Process

if TYPE_CHECKING:
    from tests.fuzz.history import History
    from tests.fuzz.worker import Worker

KINDS: tuple[tuple[str, int], ...] = (
    ("kill", 30),
    ("freeze", 35),
    ("stop", 10),
    ("lose", 10),
    ("double", 10),
    ("no_service", 5),
    ("clock_step", 8),
    ("roll_back", 16),
)
MOODS = ("", "freeze", "clock_step", "roll_back")
MOOD_WEIGHT = 150
SILENCE_MS = (9000, 19_000, 21_000, 23_000, 26_000, 40_000)
WORKERS_MAX = 4
CALM_MS = 40_000
STEPS_APART_MS = 80_000


class Faults(Host):
    """What goes wrong in a history; in most of them one kind goes wrong more often than all others (its mood)."""

    def __init__(self, history: History, mood: str | None) -> None:
        super().__init__("faults")
        self._mood = history.chance.choice(MOODS) if mood is None else mood
        self.history = history
        self._calm_until_ms = 0
        self._is_losing = False
        self._stepped_ms = -STEPS_APART_MS
        self.struck: dict[str, int] = dict.fromkeys((name for name, _ in KINDS), 0)

    def begin(self) -> None:
        """Let things go wrong."""
        self.history.timeline.start(self, self._striking())

    def end(self) -> None:
        """Let everything be well from now on."""
        self.is_dead = True
        while len(self.history.living()) < 2:
            self.history.hire()

    def _striking(self) -> Process:
        chance = self.history.chance
        names = [name for name, _ in KINDS]
        weights = [MOOD_WEIGHT if name == self._mood else weight for name, weight in KINDS]
        while True:
            yield chance.choice((500, 3000, 10_000))
            name = chance.choices(names, weights)[0]
            if not self._is_calm() and getattr(self, f"_{name}")():
                self.struck[name] += 1

    def _is_calm(self) -> bool:
        return self._is_losing or self.history.timeline.now_ms < self._calm_until_ms

    def _kill(self) -> bool:
        if victim := self._victim():
            victim.is_dead = True
            self._replace()
        return victim is not None

    def _freeze(self) -> bool:
        if victim := self._victim():
            victim.frozen_until_ms = self.history.timeline.now_ms + self.history.chance.choice(SILENCE_MS)
        return victim is not None

    def _stop(self) -> bool:
        if victim := self._victim():
            victim.stop()
            self._replace()
        return victim is not None

    def _victim(self) -> Worker | None:
        """One who is about to submit, if there is one: there is most to go wrong."""
        living = self.history.living()
        delicate = [worker for worker in living if any(held.lease.state in "CS" for held, _ in worker.held.values())]
        return self.history.chance.choice(delicate or living) if living else None

    def _replace(self) -> None:
        def hire() -> Process:
            if len(self.history.living()) < WORKERS_MAX:
                self.history.hire()
            yield 0

        after_ms = self.history.chance.choice((100, 2000, 30_000))
        self.history.timeline.start(self.history.network, hire(), after_ms=after_ms)

    def _lose(self) -> bool:
        self.history.timeline.start(self, self._losing_an_id())
        return True

    def _losing_an_id(self) -> Process:
        """The next id that waits in RQ's queue is lost there."""
        client = self.history.stage.client
        while (lost := client.lpop(QUEUE_KEY)) is None:
            yield 10
        self.history.taken.add(str(lost))

    def _double(self) -> bool:
        """A delivery that is held comes again, as by ``rq requeue``."""
        client = self.history.stage.client
        queued = client.lrange(QUEUE_KEY, 0, -1)
        held = [str(delivery) for worker in self.history.workers for delivery in worker.held]
        if free := [delivery for delivery in held if delivery not in queued]:
            client.rpush(QUEUE_KEY, self.history.chance.choice(free))
        return bool(free)

    def _no_service(self) -> bool:
        self.history.service.frozen_until_ms = self.history.timeline.now_ms + self.history.chance.choice(SILENCE_MS)
        return True

    def _clock_step(self) -> bool:
        now_ms = self.history.timeline.now_ms
        is_far = now_ms - self._stepped_ms >= STEPS_APART_MS
        if is_far:
            self._stepped_ms = now_ms
            self.history.clock_ahead_ms += self.history.chance.choice((20_000, 20_000, -3000))
        return is_far

    def _roll_back(self) -> bool:
        self._is_losing = True
        self.history.timeline.start(self.history.network, self._losing_writes())
        return True

    def _losing_writes(self) -> Process:
        """Only where every owner is awake: writes lost together with their owner are beyond anyone's repair."""
        history, chance = self.history, self.history.chance
        while set(history.workers) - set(history.living()):
            yield 500
        history.stage.keep()
        kept_ms = history.timeline.now_ms
        history.callers.burst()
        yield chance.choice((300, 1000, 1500, 2500))
        history.stage.roll_back()
        history.judge.rolled_back(kept_ms)
        history.operator.restore()
        history.callers.burst()
        self._calm_until_ms = history.timeline.now_ms + CALM_MS
        self._is_losing = False
