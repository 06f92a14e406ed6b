"""What is left when a run has ended: the verdict's figures, and what the store, the doctor and the logs say."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.stage import Stage
from chaos import judge as judging
from chaos.arena import Arena
from chaos.fleets import Brief
from chaos.load import Load
from chaos.sessions import judge_sessions
from chaos.strike import Strike
from dispatcher.accounts import Accounts
from dispatcher.plan import carry_out
from dispatcher.secrets import keys_for


def figures_of(stage: Stage, arena: Arena, brief: Brief | None, strikes: Sequence[Strike]) -> dict[str, Any]:
    """Hold what all said against the oracle; its verdict and the faults are written down."""
    upstream = arena.upstream()
    oracle = upstream.verdict()
    upstream.close()
    (stage.folder / "oracle.json").write_text(json.dumps(oracle))
    (stage.folder / "faults.json").write_text(json.dumps([strike.as_json() for strike in strikes], indent=1))
    parts = [_part("main", stage, arena.load, arena.channels)]
    if brief:
        parts.append(_part("brief", brief.stage, brief.load, brief.channels))
    counted = [strike for strike in strikes if strike.in_flight >= arena.scale.in_flight_min]
    frozen = [span for member in arena.crew.of("work") for span in member.frozen_ms]
    return {
        **judging.judge(parts, oracle, strikes),
        **judge_sessions(oracle, strikes, frozen),
        "times": arena.times,
        "slots": arena.scale.slots,
        "faults": len(counted),
        "faults_by_kind": dict(Counter(strike.kind for strike in counted)),
        "worker_kills_in_state": judging.states_hit(counted),
        "in_flight_min": min((strike.in_flight for strike in counted), default=0),
        "struck_too_early": len(strikes) - len(counted),
        "enqueued_again": arena.load.enqueued_again,
        "api_calls": {"answered": arena.operator.answers, "failed": arena.operator.failures},
        "accounts_wrong": _accounts_wrong(stage, arena),
        "doctor": _doctor(stage),
        "errors_logged": _errors_logged(stage.folder),
        "recovery": judging.recoveries(
            strikes,
            in_flight_min=arena.scale.in_flight_min,
            ttl_s=stage.settings.lease_ttl_s,
            learning_s=arena.learning_s,
        ),
    }


def _accounts_wrong(stage: Stage, arena: Arena) -> list[str]:
    """Accounts that are not as the operator has them written down."""
    accounts = Accounts(stage.settings, keys_for(stage.settings))
    found = {account.channel: account for account in carry_out(stage.store, accounts.list(user=1))}
    wrong = []
    for channel, login in arena.operator.logins.items():
        account = found.get(channel)
        if account is None or account.max_jobs != login.max_jobs or account.state != "active":
            wrong.append(f"{channel}: {account and account.state}")
        elif accounts.open_secret(account).get_secret_value() != login.token:
            wrong.append(f"{channel}: another token")
    return wrong


def _part(name: str, stage: Stage, load: Load, channels: list[str]) -> judging.Part:
    return judging.Part(
        name=name,
        entries=load.entries,
        channels=channels,
        deadline_s=stage.settings.hard_deadline_s,
        hold_s=stage.settings.hold_s,
        slots_held=stage.slots_held(),
    )


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
