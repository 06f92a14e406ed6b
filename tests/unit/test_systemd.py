"""The systemd units: they start what the command line has, as nobody, with as little of the host as it needs."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.settings import Settings

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "config" / "systemd").glob("*.service"))
PROGRAM = "/opt/pixverse-dispatcher/bin/dispatcher"
CONFINED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "CapabilityBoundingSet": "",
    "Restart": "always",
    "EnvironmentFile": "/etc/pixverse-dispatcher/environment",
}


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    parser.read(path)
    return parser


def test_there_is_one_for_each_role() -> None:
    roles = {unit(path)["Service"]["ExecStart"].split()[1] for path in UNITS}

    assert roles == {"api", "run", "work"}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_confined(path: Path) -> None:
    service = unit(path)["Service"]

    assert {name: service.get(name) for name in CONFINED} == CONFINED


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_what_the_command_line_has(path: Path) -> None:
    program, role, *options = unit(path)["Service"]["ExecStart"].split()

    told = subprocess.run(
        [sys.executable, "-m", "dispatcher", role, *options, "--help"], cwd=ROOT, capture_output=True, check=False
    )

    assert program == PROGRAM
    assert told.returncode == 0, told.stderr


def test_a_worker_has_time_to_hand_its_jobs_over() -> None:
    from workers.__main__ import SUBMISSION_ENDS_S  # noqa: PLC0415 (beside its only use)

    worker = next(path for path in UNITS if "worker@" in path.name)

    assert int(unit(worker)["Service"]["TimeoutStopSec"]) > SUBMISSION_ENDS_S + Settings().heartbeat_s
