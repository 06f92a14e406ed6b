"""One run: the fleets, the load, the faults in their order, and at the end the verdict."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.stage import FIRST_CHANNEL, Stage
from chaos import judge as judging
from chaos.arena import Arena, NotNow
from chaos.clock import Clock
from chaos.crew import Crew
from chaos.eye import Eye, Upstream
from chaos.kinds import BY_NAME, Kind, plan
from chaos.load import Load
from chaos.operator import Login, Operator
from chaos.scale import BRIEF_TIMES, Scale
from chaos.store import ChaosStore
from chaos.strike import Strike, Watch
from dispatcher.access import Access, new_token
from dispatcher.accounts import Accounts
from dispatcher.plan import carry_out
from dispatcher.secrets import keys_for

AT_ONCE = 6
"""Faults that overlap at most."""
TRIES = 20
"""Times a fault is begun that finds nothing to strike."""
BUSY_S = 60.0
PROGRESS_S = 10.0
BRIEF_CHANNEL = FIRST_CHANNEL + 1_000_000
BRIEF_LIMITS = (1, 2, 3)


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
        crew = self._main_crew()
        eye = Eye(self.eye_url, namespace=stage.settings.namespace)
        operator = self._operator(crew, eye, channels)
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

    # --- the fleets --------------------------------------------------------------------------------------

    def _main_crew(self) -> Crew:
        crew = Crew(self.stage)
        for _ in range(self.scale.services):
            crew.post("run")
        for n in range(self.scale.workers):
            crew.post("work", clock=None if n else self.clock)
        return crew

    def _operator(self, crew: Crew, eye: Eye, channels: list[str]) -> Operator:
        with socket.create_server(("127.0.0.1", 0)) as listener:  # one port for all who will fill the post
            port = int(listener.getsockname()[1])
        crew.post("api", "--port", str(port), "--json")
        token = new_token(1)
        carry_out(self.stage.store, Access(self.stage.settings).add(token))
        return Operator(
            api_url=f"http://127.0.0.1:{port}",
            api_token=token.get_secret_value(),
            eye=eye,
            upstream_url=self.stage.simulator_url,
            logins=[Login(channel, limit) for channel, limit in zip(channels, self.scale.limits, strict=True)],
            seed=self.seed,
        )

    def _brief(self, open_things: ExitStack) -> Brief:
        folder = self.stage.folder / "brief"
        folder.mkdir(exist_ok=True)
        known = type(self.stage.settings).model_fields
        stage = self.stage.beside(folder, {name: value for name, value in BRIEF_TIMES.items() if name in known})
        channels = stage.add_accounts(BRIEF_LIMITS, first_channel=BRIEF_CHANNEL)
        crew = Crew(stage)
        open_things.callback(stage.store.close)
        open_things.callback(stage.stop)
        crew.post("run")
        crew.post("work")
        scale = replace(
            self.scale, jobs=self.scale.brief_jobs, limits=BRIEF_LIMITS, shortest_s=35, longest_s=100, brief_jobs=0
        )
        load = Load(stage.environment, scale, seed=self.seed + 1, name="outlive")
        open_things.callback(load.stop)
        load.start()
        return Brief(stage, load, channels)

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
        upstream = arena.upstream()
        oracle = upstream.verdict()
        upstream.close()
        (self.stage.folder / "oracle.json").write_text(json.dumps(oracle))
        parts = [_part("main", self.stage, arena.load, arena.channels)]
        if brief:
            parts.append(_part("brief", brief.stage, brief.load, brief.channels))
        counted = [strike for strike in self.strikes if strike.in_flight >= self.scale.in_flight_min]
        settings = self.stage.settings
        figures = judging.judge(parts, oracle, self.strikes)
        figures |= {
            "seed": self.seed,
            "times": self.times,
            "slots": self.scale.slots,
            "faults": len(counted),
            "faults_by_kind": dict(Counter(strike.kind for strike in counted)),
            "worker_kills_in_state": judging.states_hit(counted),
            "in_flight_min": min((strike.in_flight for strike in counted), default=0),
            "struck_too_early": len(self.strikes) - len(counted),
            "given_up": self.given_up,
            "enqueued_again": arena.load.enqueued_again,
            "api_calls": {"answered": arena.operator.answers, "failed": arena.operator.failures},
            "accounts_wrong": self._accounts_wrong(arena),
            "ended_by_themselves": self.ended,
            "doctor": _doctor(self.stage),
            "errors_logged": _errors_logged(self.stage.folder),
            "recovery": judging.recoveries(
                self.strikes,
                in_flight_min=self.scale.in_flight_min,
                ttl_s=settings.lease_ttl_s,
                learning_s=float(self.times.get("learning_s", 0)),
            ),
        }
        if self.is_full:
            figures["shortfalls"] = judging.shortfalls(figures)
        figures["broken"] = judging.broken(figures)
        strikes = [strike.as_json() for strike in self.strikes]
        (self.stage.folder / "faults.json").write_text(json.dumps(strikes, indent=1))
        return figures

    def _accounts_wrong(self, arena: Arena) -> list[str]:
        """Accounts that are not as the operator has them written down."""
        accounts = Accounts(self.stage.settings, keys_for(self.stage.settings))
        found = {account.channel: account for account in carry_out(self.stage.store, accounts.list(user=1))}
        wrong = []
        for channel, login in arena.operator.logins.items():
            account = found.get(channel)
            if account is None or account.max_jobs != login.max_jobs or account.state != "active":
                wrong.append(f"{channel}: {account and account.state}")
            elif accounts.open_secret(account).get_secret_value() != login.token:
                wrong.append(f"{channel}: another token")
        return wrong

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


@dataclass(slots=True)
class Brief:
    """The fleet whose jobs outlive their deadline."""

    stage: Stage
    load: Load
    channels: list[str]


def _part(name: str, stage: Stage, load: Load, channels: list[str]) -> judging.Part:
    return judging.Part(
        name=name,
        entries=load.entries,
        channels=channels,
        deadline_s=stage.settings.hard_deadline_s,
        hold_s=stage.settings.hold_s,
        slots_held=stage.slots_held(),
    )


def _over(future: Future[None]) -> bool:
    """Whether it has ended; a fault that broke breaks the run."""
    if not future.done():
        return False
    future.result()
    return True


def _doctor(stage: Stage) -> list[Any]:
    """What `dispatcher doctor` finds at the end, where the command exists."""
    command = [sys.executable, "-m", "dispatcher", "doctor", "--json"]
    told = subprocess.run(command, env=stage.environment, cwd=stage.code, capture_output=True, text=True, check=False)
    if told.returncode == 2:  # noqa: PLR2004 (wrong usage: no such command)
        return []
    found = json.loads(told.stdout)
    return list(found["findings"]) if isinstance(found, dict) else list(found)


def _errors_logged(folder: Path) -> dict[str, int]:
    """What the fleet's processes logged as errors, by event: each is worth a look, none breaks a promise by itself."""
    found: Counter[str] = Counter()
    for file in folder.rglob("*.log"):
        for line in file.read_text(errors="replace").splitlines():
            if '"level": "error"' in line:
                told = json.loads(line)
                last = str(told.get("exception", "")).strip().rpartition("\n")[2]
                found[f"{told['role']}: {told['event']} {last:.100}".strip()] += 1
    return dict(found)
