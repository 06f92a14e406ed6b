"""docker-compose.yml without a container engine: what each service would run, run as a process of this machine.

The file is read as Compose reads it (profiles, ``${NAME:-default}`` and ``${NAME:?message}``); commands come from the
file or, where it is silent, from the stage of the Dockerfile that it builds.
How a container's world is mapped to this machine's is told in tests/support/stack.py, which runs them.

What an engine would enforce (users, read-only roots) is not played; tests/acceptance/test_compose.py reads it instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from dispatcher.settings import Settings
from tests.support.dockerfile import Image, stages

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\}")
_NOT_SETTINGS = {"DISPATCHER_CONFIG", "DISPATCHER_TOKEN", "DISPATCHER_SIMULATOR_URL"}


class ComposeError(Exception):
    """The file cannot work: what it names is missing or unknown."""


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a service is asked whether it is well, and how long its start may take."""

    command: tuple[str, ...]
    timeout_s: float
    patience_s: float


@dataclass(frozen=True, slots=True)
class Mount:
    """A file of the checkout, or a named volume (``source`` is None), at a path of the container."""

    source: Path | None
    target: str


@dataclass(frozen=True, slots=True)
class Service:
    """What a container of one service would run."""

    name: str
    image: Image
    command: tuple[str, ...]
    environment: dict[str, str]
    health: HealthCheck
    needs: tuple[str, ...]
    ports: tuple[int, ...]
    mounts: tuple[Mount, ...]
    replicas: int
    stop_s: float

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command line."""
        return (*self.image.entrypoint, *self.command)


def read(file: Path, *, profiles: frozenset[str] = frozenset(), environment: Mapping[str, str]) -> dict[str, Any]:
    """The file as Compose sees it: variables in their places, services of other profiles left out.

    Raises:
        ComposeError: a required variable is not set.
    """
    whole: dict[str, Any] = _interpolated(yaml.safe_load(file.read_text()), environment)
    for name, service in list(whole["services"].items()):
        if service.get("profiles") and not profiles & set(service["profiles"]):
            del whole["services"][name]
    return whole


def services(whole: Mapping[str, Any], root: Path) -> dict[str, Service]:
    """The services in the order in which they start.

    Raises:
        ComposeError: a name, a port, a variable or a file that does not exist.
    """
    given = whole["services"]
    built = {name: _service(name, given[name], root) for name in given}
    for service in built.values():
        _refuse_unknown(service, built)
    order = TopologicalSorter({name: service.needs for name, service in built.items()})
    return {name: built[name] for name in order.static_order()}


def _service(name: str, given: Mapping[str, Any], root: Path) -> Service:
    image = Image()
    if build := given.get("build"):
        image = stages(root / build["context"] / "Dockerfile")[build["target"]]
    needs = given.get("depends_on", {})
    if any(how["condition"] != "service_healthy" for how in needs.values()):
        raise ComposeError(f"{name} does not wait for what it needs to be healthy")
    ports = [str(port).rpartition(":")[2] for port in (*given.get("expose", ()), *given.get("ports", ()))]
    return Service(
        name=name,
        image=image,
        command=tuple(given.get("command", image.command)),
        environment={key: str(value) for key, value in given.get("environment", {}).items()},
        health=_health(name, given.get("healthcheck")),
        needs=tuple(needs),
        ports=tuple(int(port) for port in ports),
        mounts=tuple(_mount(text, root) for text in given.get("volumes", ())),
        replicas=int(given.get("deploy", {}).get("replicas", 1)),
        stop_s=_seconds(given.get("stop_grace_period", "10s")),
    )


def _health(name: str, given: Mapping[str, Any] | None) -> HealthCheck:
    if given is None:
        raise ComposeError(f"{name} has no health check")
    kind, *rest = given["test"]
    command = {"CMD": tuple(rest), "CMD-SHELL": ("/bin/sh", "-c", *rest)}[kind]
    tries_s = int(given["retries"]) * _seconds(given["interval"])
    return HealthCheck(command, _seconds(given["timeout"]), _seconds(given["start_period"]) + tries_s)


def _mount(text: str, root: Path) -> Mount:
    source, target = text.split(":")[:2]
    return Mount(root / source if source.startswith(".") else None, target)


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))


def _interpolated(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(part, environment) for key, part in value.items()}
    if isinstance(value, list):
        return [_interpolated(part, environment) for part in value]
    if not isinstance(value, str):
        return value

    def chosen(found: re.Match[str]) -> str:
        if said := environment.get(found["name"]):
            return said
        if found["how"] == ":?":
            raise ComposeError(f"{found['name']} is not set: {found['rest']}")
        return found["rest"] or ""

    return _VARIABLE.sub(chosen, value)


def _refuse_unknown(service: Service, among: Mapping[str, Service]) -> None:
    """A misspelt setting would be ignored, and a wrong port would be searched for on some network: refuse both."""
    known = {f"DISPATCHER_{name.upper()}" for name in Settings.model_fields} | _NOT_SETTINGS
    for name in service.environment:
        if name.startswith("DISPATCHER_") and name not in known:
            raise ComposeError(f"{service.name} sets {name}, which is no setting")
    for host, port in _addresses(service, among):
        if port not in among[host].ports:
            raise ComposeError(f"{service.name} calls {host}:{port}, which {host} does not expose")
    for mount in service.mounts:
        if mount.source is not None and not mount.source.exists():
            raise ComposeError(f"{service.name} mounts {mount.source.name}, which does not exist")
    if missing := set(service.needs) - set(among):
        raise ComposeError(f"{service.name} needs {', '.join(missing)}, which does not exist")


def _addresses(service: Service, among: Mapping[str, Service]) -> Iterator[tuple[str, int]]:
    hosts = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, among))}):(\d+)")
    for text in (*service.argv, *service.health.command, *service.environment.values()):
        for host, port in hosts.findall(text):
            yield host, int(port)
