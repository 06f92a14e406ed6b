"""One run: the fleets, the load, the faults in their order, and at the end the verdict."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench.stage import Stage
from chaos import judge as judging
from chaos.aftermath import figures_of
from chaos.arena import Arena, NotNow
from chaos.clock import Clock
from chaos.eye import Eye, Upstream
from chaos.fleets import Brief, an_operator, main_crew, start_brief
from chaos.kinds import BY_NAME, Kind, plan
from chaos.load import Load
from chaos.operator import Login
from chaos.scale import Scale
from chaos.store import ChaosStore
from chaos.strike import Strike, Watch

AT_ONCE = 6
"""Faults that overlap at most."""
TRIES = 20
"""Times a fault is begun that finds nothing to strike."""
BUSY_S = 60.0
PROGRESS_S = 10.0


@dataclass(slots=True, kw_only=True)
class Run:
    """A run under way.

    Args:
        stage: the main fleet's; its store is empty.
        eye_url: tells where the server itself is.
        scale: how large.
        times: the fleet's settings.
        kinds: of faults that may strike.
        seed: of everything that is left to chance.
        tell: takes the progress lines.
        store: None where its outages are no part of the run.
        clock: of the one worker that lives by its own.
        is_full: whether it must strike as often as a full run promises.
    """

    stage: Stage
    eye_url: Callable[[], str]
    scale: Scale
    times: dict[str, Any]
    kinds: Collection[Kind]
    seed: int
    tell: Callable[[str], None]
    store: ChaosStore | None = None
    clock: Clock | None = None
    is_full: bool = False
    strikes: list[Strike] = field(default_factory=list)
    given_up: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    _judged: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def play(self) -> dict[str, Any]:
        """Play it to its end; the figures."""
        started_s = time.monotonic()
        stage, scale = self.stage, self.scale
        channels = stage.add_accounts(scale.limits)
        crew = main_crew(stage, scale, self.clock)
        eye = Eye(self.eye_url, namespace=stage.settings.namespace)
        logins = [Login(channel, limit) for channel, limit in zip(channels, scale.limits, strict=True)]
        operator = an_operator(stage, crew, eye, logins, seed=self.seed)
        load = Load(stage.environment, scale, seed=self.seed)
        watch = Watch(eye)
        arena = Arena(
            scale=scale,
            times=self.times,
            crew=crew,
            eye=eye,
            upstream_url=stage.simulator_url,
            load=load,
            operator=operator,
            watch=watch,
            channels=channels,
            store=self.store,
            clock=self.clock,
        )
        with ExitStack() as open_things:
            open_things.callback(crew.end)
            brief = self._brief(open_things) if scale.brief_jobs else None
            struck_s = self._carry_out(arena, brief, started_s)
            figures = self._verdict(arena, brief)
        figures["faults_s"] = round(struck_s, 1)
        figures["makespan_s"] = round(time.monotonic() - started_s, 1)
        return figures

    def _carry_out(self, arena: Arena, brief: Brief | None, started_s: float) -> float:
        """Strike until all is struck, then let all end; how long it was struck, in seconds."""
        parts = (arena.load, arena.watch, arena.operator)
        for part in parts:
            part.start()
        progress = threading.Thread(target=self._show, args=[arena, started_s], daemon=True)
        progress.start()
        try:
            self._strike_all(arena, started_s)
            struck_s = time.monotonic() - started_s
            for load in (arena.load, *([brief.load] if brief else [])):
                load.finish()
            self._drain(arena.load, brief)
        finally:
            arena.stopped.set()
            self._judged.set()
            for part in parts:
                part.stop()
        return struck_s

    def _brief(self, open_things: ExitStack) -> Brief:
        return start_brief(self.stage, self.scale, self.times, seed=self.seed, open_things=open_things)

    # --- the faults --------------------------------------------------------------------------------------

    def _strike_all(self, arena: Arena, started_s: float) -> None:
        dice = random.Random(self.seed)
        order = plan(self.kinds, faults=self.scale.faults, dice=dice)
        last_s = started_s + self.scale.minutes * 60
        upstream = arena.upstream()
        with ThreadPoolExecutor(AT_ONCE, "fault") as pool:
            try:
                under_way: set[Future[None]] = set()
                queue = [(name, TRIES) for name in order]
                while (queue or under_way) and time.monotonic() < last_s:
                    under_way = {future for future in under_way if not _over(future)}
                    if not queue or len(under_way) >= AT_ONCE or not self._is_busy(upstream):
                        time.sleep(0.1)
                        continue
                    name, tries = queue.pop(0)
                    chance = random.Random(dice.getrandbits(64))
                    under_way.add(pool.submit(self._strike, arena, name, tries, chance, queue))
                    time.sleep(dice.uniform(0.5, 1.5) * self.scale.pause_s)
            finally:
                arena.stopped.set()  # those under way cut their waits short
        upstream.close()
        self.given_up += [name for name, _ in queue]

    def _is_busy(self, upstream: Upstream) -> bool:
        return upstream.running() >= self.scale.in_flight_min

    def _strike(self, arena: Arena, name: str, tries: int, dice: random.Random, queue: list[tuple[str, int]]) -> None:
        try:
            strike = BY_NAME[name].strike(arena, dice)
        except NotNow as reason:
            with self._lock:
                if tries > 1:
                    queue.append((name, tries - 1))
                else:
                    self.given_up.append(f"{name}: {reason}")
            return
        with self._lock:
            strike.n = len(self.strikes) + 1
            self.strikes.append(strike)
            if strike.in_flight < self.scale.in_flight_min:
                queue.append((name, tries))  # it struck, and counts for nothing: too little was in flight

    # --- the end -----------------------------------------------------------------------------------------

    def _drain(self, load: Load, brief: Brief | None) -> None:
        """Wait until every job is over, here and upstream, and every slot is back; for so long as the scale allows."""
        upstream = Upstream(self.stage.simulator_url)
        loads = [load, *([brief.load] if brief else [])]
        end_s = time.monotonic() + self.scale.drain_s
        while time.monotonic() < end_s:
            while not all(one.is_drained for one in loads) and time.monotonic() < end_s:
                time.sleep(0.2)
            for one in loads:
                one.reread()
            stages = [self.stage, *([brief.stage] if brief else [])]
            is_over = all(one.is_drained for one in loads) and not upstream.running()
            if is_over and not any(stage.slots_held() for stage in stages):
                break
            time.sleep(0.5)
        upstream.close()

    def _verdict(self, arena: Arena, brief: Brief | None) -> dict[str, Any]:
        figures = figures_of(self.stage, arena, brief, self.strikes)
        figures |= {"seed": self.seed, "given_up": self.given_up, "ended_by_themselves": self.ended}
        if self.is_full:
            figures["shortfalls"] = judging.shortfalls(figures, self.kinds)
        figures["broken"] = judging.broken(figures)
        return figures

    def _show(self, arena: Arena, started_s: float) -> None:
        """Say every ten seconds how it goes, and fill posts that emptied by themselves."""
        upstream = arena.upstream()
        while not self._judged.wait(PROGRESS_S):
            self.ended += arena.crew.revive()
            counts = upstream.counts()["totals"]
            over = len(arena.load.entries) - arena.load.open_count
            healing = sum(1 for strike in self.strikes if strike.recovered_s is None)
            self.tell(
                f"{time.monotonic() - started_s:6.0f} s  "
                f"faults {len(self.strikes)}/{self.scale.faults} ({healing} healing)  "
                f"jobs {over}/{len(arena.load.entries)}  running {counts['running']}  "
                f"breaches {counts['breaches']}  duplicates {counts['duplicates']}"
            )
        upstream.close()


def _over(future: Future[None]) -> bool:
    """Whether it has ended; a fault that broke breaks the run."""
    if not future.done():
        return False
    future.result()
    return True
