from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import pytest

from chaos import clock
from chaos.clock import Clock

PROGRAM = """
import asyncio, sys, threading, time
for line in sys.stdin:
    time.sleep(0.01)
    threading.Event().wait(0.01)
    asyncio.run(asyncio.sleep(0.01))
    print(time.time(), time.monotonic(), flush=True)
"""
HOUR_S = 3600.0

needs_libfaketime = pytest.mark.skipif(not clock.available(), reason=clock.MISSING)


class Witness:
    """A Python process that sleeps in each way that ours do, and then tells its two clocks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self) -> tuple[float, float]:
        cast("IO[str]", self.process.stdin).write("\n")
        cast("IO[str]", self.process.stdin).flush()
        wall, monotonic = cast("IO[str]", self.process.stdout).readline().split()
        return float(wall), float(monotonic)


@contextmanager
def witness(environment: dict[str, str]) -> Iterator[Witness]:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Witness(process)


@pytest.fixture
def stepped(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@needs_libfaketime
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_process_sees_its_wall_clock_stepped_and_no_other(stepped: Clock, step_s: float) -> None:
    with witness(stepped.environment()) as under_it, witness({}) as beside:
        before, _ = under_it.tell()

        stepped.step(step_s)
        after, _ = under_it.tell()
        truth, _ = beside.tell()

    assert abs(before - truth) < HOUR_S / 2
    assert abs(after - truth - step_s) < HOUR_S / 2


@needs_libfaketime
def test_the_monotonic_clock_and_what_sleeps_by_it_go_on(stepped: Clock) -> None:
    told = []

    with witness(stepped.environment()) as under_it:
        for step_s in (0, HOUR_S, -2 * HOUR_S):
            stepped.step(step_s)
            told += [time.monotonic(), under_it.tell()[1]]
        told.append(time.monotonic())

    assert told == sorted(told), "one machine has one monotonic clock"


@needs_libfaketime
def test_steps_add_up(stepped: Clock) -> None:
    offsets = [stepped.step(step_s) for step_s in (60, 2.5, -90)]

    assert offsets == [60, 62.5, -27.5]
    assert stepped.offset_s == -27.5


@needs_libfaketime
def test_nothing_of_a_clock_and_of_those_killed_under_it_stays_in_shared_memory(tmp_path: Path) -> None:
    before = _shared_memory()
    stepped = Clock(tmp_path / "clock")

    with witness(stepped.environment()) as under_it:
        under_it.tell()
        during = _shared_memory() - before
        under_it.process.kill()
    mine = {name for name in during if str(os.getpid()) in name}
    foreign = {name for name in _shared_memory() if name.endswith(f"_{under_it.process.pid}")}
    del stepped
    gc.collect()

    assert len(mine) == 2
    assert not foreign
    assert not mine & _shared_memory()


def test_without_libfaketime_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_FOLDERS", (str(tmp_path),))

    assert not clock.available()
    with pytest.raises(FileNotFoundError, match="apt-get install faketime"):
        Clock(tmp_path / "clock")


def _shared_memory() -> set[str]:
    return set(os.listdir("/dev/shm"))  # noqa: PTH208, S108 (names alone)
