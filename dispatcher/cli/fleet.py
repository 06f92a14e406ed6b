"""What `dispatcher up` runs: its processes in their order, from the store's start to the store's end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict

from pydantic import SecretStr

from dispatcher.access import Access, new_token
from dispatcher.cli.children import POLL_S, BackOff, Child, stop_all
from dispatcher.cli.exits import DONE, INTERRUPTED, NOT_COMPLETED
from dispatcher.cli.oracle import ENDPOINT_VARIABLE, Oracle
from dispatcher.cli.place import RUNNING_FILE
from dispatcher.connection import check_server, command, open_store
from dispatcher.embedded import EmbeddedStore
from dispatcher.errors import StoreUnavailable
from dispatcher.learning import Learning
from dispatcher.lifeline import Lifeline
from dispatcher.log import get_logger
from dispatcher.plan import carry_out
from dispatcher.secrets import keys_for, load_or_create_key
from dispatcher.settings import Settings

STOP_PATIENCE_S = 28.0
"""A worker with a submission in flight hands over within 22 s."""
OWN_VARIABLES = ("DISPATCHER_TOKEN", "DISPATCHER_ACCOUNT_SECRET")
"""What children have no use for."""

log = get_logger(__name__)


class Announcement(TypedDict):
    """The line that says that calls are served."""

    ready: bool
    url: str
    redis_url: str
    simulator: str | None


class Fleet:
    """All processes of one state directory, which the caller holds."""

    def __init__(self, settings: Settings, *, host: str, port: int, workers: int, with_simulator: bool) -> None:
        self.settings = settings
        self.host = host
        self.port = port
        self.workers = workers
        self.with_simulator = with_simulator
        self.store = None if settings.redis_url else EmbeddedStore(settings.state_dir)
        self.lifeline = Lifeline()
        self.children: list[Child] = []
        self.simulator: Child | None = None
        self._simulator_url: str | None = None
        self._url: str | None = None
        self._signals: list[int] = []
        self._store_back_off = BackOff()
        self._store_start_at_s = 0.0

    def run(self, tokens: Sequence[SecretStr], announce: Callable[[Announcement], None]) -> int:
        """Start everything, keep it running until a signal, stop it in order; the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup means it
                signal.signal(number, self._on_signal)
        try:
            self._start_store()
            self._admit(tokens)
            self._start_simulator()
            if not self._is_over():
                self._start_children()
            code = self._keep_running(announce)
        finally:
            self._stop()
        return code

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signals.append(number)

    def _start_store(self) -> None:
        """Settle where the store is and under which keys secrets are sealed, for all children alike.

        Raises:
            StoreUnavailable: it cannot run, or does not serve us.
            SettingsError: a Redis URL without keys.
        """
        keys_for(self.settings)  # refuses what cannot work before anything is started
        found: dict[str, Any] = {}
        if self.store is not None:
            found["redis_url"] = self.store.start()
            log.info("store started", pid=self.store.pid, adopted=self.store.adopted)
            if self.settings.secret_keys is None:
                found["secret_keys"] = load_or_create_key(self.settings.state_dir)
        self.settings = self.settings.model_copy(update=found)
        store = open_store(str(self.settings.redis_url), self.settings.namespace)
        check_server(store)
        store.close()

    def _admit(self, tokens: Sequence[SecretStr]) -> None:
        """Register the given tokens; without any, user 1's own, made where ``<state_dir>/token`` is not there."""
        store = open_store(str(self.settings.redis_url), self.settings.namespace)
        path = self.settings.state_dir / "token"
        made: SecretStr | None = None
        try:
            if not tokens:
                own = read_token(path)
                made = new_token(1) if own is None else None
                # A store that knows the user had the file's token: it stays revoked if it was.
                is_known = store.do(command("HEXISTS", store.keys.of("users"), 1, read=bool))
                tokens = [token for token in (made, None if is_known else own) if token]
            for token in tokens:
                carry_out(store, Access(self.settings).add(token))
        finally:
            store.close()
        if made:  # registered first: what is in the file works
            write_privately(path, made.get_secret_value() + "\n")

    def _start_simulator(self) -> None:
        """Start the upstream of a fleet that plays, on a port of its own that it keeps."""
        if not self.with_simulator:
            return
        line = [sys.executable, "-m", "dispatcher.lifeline", "simulator", "--json", "--port"]
        # It is nobody's business which keys we have.
        strange = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
        self.simulator = self._child("simulator", [*line, "0"], self._simulator_is_ready, environment=strange)
        while self._simulator_url is None and not self._is_over():
            self._poll()
        if self._simulator_url:
            port = self._simulator_url.rpartition(":")[2]
            self.simulator.command = [*line, port]
            played = {"discord_api_url": f"{self._simulator_url}/api/v9", "discord_upload_hosts": [self._simulator_url]}
            self.settings = self.settings.model_copy(update=played)

    def _simulator_is_ready(self, announcement: dict[str, Any]) -> None:
        self._simulator_url = str(announcement["url"])
        try:
            asyncio.run(Oracle(self._simulator_url).declare_all(self.settings))
        except StoreUnavailable as error:
            log.warning("simulator was not told of the accounts", reason=str(error))

    def _start_children(self) -> None:
        # -P: the folder that `up` was started in may have a `workers` of its own.
        line = [sys.executable, "-P", "-m", "dispatcher"]
        api = [*line, "api", "--json", "--host", self.host, "--port", str(self.port)]
        self._child("api", api, self._api_is_ready)
        self._child("run", [*line, "run"])
        for number in range(1, self.workers + 1):
            self._child(f"work {number}", [*line, "work"])

    def _api_is_ready(self, announcement: dict[str, Any]) -> None:
        self._url = str(announcement["url"])
        api = next(child for child in self.children if child.name == "api")
        api.command[-1] = self._url.rpartition(":")[2]  # a restart keeps the address

    def _child(
        self,
        name: str,
        line: Sequence[str],
        on_ready: Callable[[dict[str, Any]], None] | None = None,
        *,
        environment: dict[str, str] | None = None,
    ) -> Child:
        environment = environment or self._environment()
        child = Child(name, line, environment=environment, lifeline=self.lifeline, on_ready=on_ready)
        self.children.append(child)
        child.start()
        return child

    def _environment(self) -> dict[str, str]:
        """Everything as this process has it, and what it has settled."""
        environment = {name: value for name, value in os.environ.items() if name not in OWN_VARIABLES}
        environment["DISPATCHER_REDIS_URL"] = str(self.settings.redis_url)
        environment["DISPATCHER_NAMESPACE"] = self.settings.namespace
        environment["DISPATCHER_STATE_DIR"] = str(self.settings.state_dir)
        if self.settings.secret_keys is not None:
            environment["DISPATCHER_SECRET_KEYS"] = self.settings.secret_keys.get_secret_value()
        if self._simulator_url is not None:
            environment["DISPATCHER_DISCORD_API_URL"] = self.settings.discord_api_url
            environment["DISPATCHER_DISCORD_UPLOAD_HOSTS"] = json.dumps(self.settings.discord_upload_hosts)
            environment[ENDPOINT_VARIABLE] = self._simulator_url
        return environment

    def _keep_running(self, announce: Callable[[Announcement], None]) -> int:
        """Announce once; then poll until a signal, or until a child that never served gives up."""
        announced = False
        while not self._is_over():
            self._poll()
            if self._url is not None and not announced:
                announced = True
                announcement = self._announcement()
                write_privately(self.settings.state_dir / RUNNING_FILE, json.dumps(announcement))
                announce(announcement)
        if self._signals:
            return INTERRUPTED if self._signals[0] == signal.SIGINT else DONE
        return self._failure() or NOT_COMPLETED

    def _announcement(self) -> Announcement:
        return {
            "ready": True,
            "url": str(self._url),
            "redis_url": str(self.settings.redis_url),
            "simulator": self._simulator_url,
        }

    def _is_over(self) -> bool:
        return bool(self._signals) or self._failure() is not None

    def _failure(self) -> int | None:
        """Exit code of a child that gave up before the fleet ever served: it said why, and would say it again."""
        if self._url is not None:
            return None
        return next((child.exit_code for child in self.children if (child.exit_code or -1) > 0), None)

    def _poll(self) -> None:
        for child in self.children:
            child.poll()
        if self.store is not None and not self.store.is_alive():
            self._restart_store(self.store)
        time.sleep(POLL_S)

    def _restart_store(self, store: EmbeddedStore) -> None:
        """Start the store again; all processes wait for it meanwhile."""
        if not self._store_start_at_s:
            pause_s = self._store_back_off.pause_s()
            self._store_start_at_s = time.monotonic() + pause_s
            log.warning("store ended and is started again", pause_s=pause_s)
        if time.monotonic() < self._store_start_at_s:
            return
        self._store_start_at_s = 0.0
        self._store_back_off.started()
        try:
            store.start()
        except StoreUnavailable as error:
            log.warning("store does not start", reason=str(error))
        else:
            log.info("store started", pid=store.pid)

    def _stop(self) -> None:
        """Stop what takes and does jobs, then what they do them with, the store last."""
        (self.settings.state_dir / RUNNING_FILE).unlink(missing_ok=True)
        expected = 1 if self._signals else 0

        def is_hurried() -> bool:
            return len(self._signals) > expected

        ours = [child for child in self.children if child is not self.simulator]
        stop_all(ours, patience_s=STOP_PATIENCE_S, is_hurried=is_hurried)
        if self.simulator is not None:
            stop_all([self.simulator], patience_s=STOP_PATIENCE_S, is_hurried=is_hurried)
        self.lifeline.close()
        if self.store is not None:
            self._leave_clean(self.store)
            self.store.stop()
        log.info("all stopped")

    def _leave_clean(self, embedded: EmbeddedStore) -> None:
        """Spare the next start its learning, if no lease is out now that all who hold any have stopped."""
        if self.settings.redis_url is None or not embedded.is_alive():
            return
        store = open_store(self.settings.redis_url, self.settings.namespace)
        try:
            is_clean = store.do(Learning(self.settings).leave_clean())
        except StoreUnavailable as error:
            log.warning("store not left clean; its next start opens a learning window", reason=str(error))
        else:
            log.info("store left", clean=is_clean)
        finally:
            store.close()


def read_token(path: Path) -> SecretStr | None:
    """User 1's token of an earlier start; None if there is none."""
    try:
        return SecretStr(path.read_text().strip())
    except FileNotFoundError:
        return None


def write_privately(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
