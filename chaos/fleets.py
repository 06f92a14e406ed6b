"""The fleets of a run: the main one with its operator, and the one whose jobs outlive their deadline."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from bench.stage import FIRST_CHANNEL, Stage
from chaos.clock import Clock
from chaos.crew import Crew
from chaos.eye import Eye
from chaos.load import Load
from chaos.operator import Login, Operator
from chaos.scale import BRIEF_TIMES, GATEWAY_TIMES, Scale
from dispatcher.access import Access, new_token
from dispatcher.plan import carry_out

BRIEF_CHANNEL = FIRST_CHANNEL + 1_000_000
BRIEF_LIMITS = (1, 2, 3)


@dataclass(slots=True)
class Brief:
    """The fleet whose jobs outlive their deadline."""

    stage: Stage
    load: Load
    channels: list[str]


def main_crew(stage: Stage, scale: Scale, clock: Clock | None) -> Crew:
    """Start the services and workers; one of these lives by its own clock."""
    crew = Crew(stage)
    for _ in range(scale.services):
        crew.post("run")
    for n in range(scale.workers):
        crew.post("work", clock=None if n else clock)
    return crew


def an_operator(stage: Stage, crew: Crew, eye: Eye, logins: list[Login], *, seed: int) -> Operator:
    """Start the API and its operator's part."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # one port for all who will fill the post
        port = int(listener.getsockname()[1])
    crew.post("api", "--port", str(port), "--json")
    token = new_token(1)
    carry_out(stage.store, Access(stage.settings).add(token))
    return Operator(
        api_url=f"http://127.0.0.1:{port}",
        api_token=token.get_secret_value(),
        eye=eye,
        upstream_url=stage.simulator_url,
        logins=logins,
        seed=seed,
    )


def start_brief(main: Stage, scale: Scale, times: Mapping[str, Any], *, seed: int, open_things: ExitStack) -> Brief:
    """Start the fleet whose jobs outlive their deadline, on the main one's server."""
    folder = main.folder / "brief"
    folder.mkdir(exist_ok=True)
    known = type(main.settings).model_fields
    shared = {name: times[name] for name in GATEWAY_TIMES if name in times}
    stage = main.beside(folder, {name: value for name, value in {**BRIEF_TIMES, **shared}.items() if name in known})
    channels = stage.add_accounts(BRIEF_LIMITS, first_channel=BRIEF_CHANNEL)
    crew = Crew(stage)
    open_things.callback(stage.store.close)
    open_things.callback(stage.stop)
    crew.post("run")
    crew.post("work")
    scale = replace(scale, jobs=scale.brief_jobs, limits=BRIEF_LIMITS, shortest_s=35, longest_s=100, brief_jobs=0)
    load = Load(stage.environment, scale, seed=seed + 1, name="outlive")
    open_things.callback(load.stop)
    load.start()
    return Brief(stage, load, channels)
