"""Which fleet a command works on: the options that every command has, and the store behind them."""

from __future__ import annotations

import functools
import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from dispatcher.cli.oracle import ENDPOINT_VARIABLE
from dispatcher.client import Client
from dispatcher.connection import Store, open_store
from dispatcher.embedded import running_url
from dispatcher.errors import StoreUnavailable
from dispatcher.secrets import load_or_create_key
from dispatcher.settings import Settings, load_settings

RUNNING_FILE = "up.json"
"""What `dispatcher up` serves, for other commands on its state directory: the line that ``--json`` prints."""

AsJson = Annotated[bool, typer.Option("--json", help="Write JSON on stdout, for a program to read.")]
User = Annotated[int, typer.Option("--user", min=1, help="Number of the API user whose jobs and accounts these are.")]

_OPTIONS: dict[str, Any] = {
    "config": Annotated[Path | None, typer.Option(show_default="./dispatcher.toml", help="TOML file of settings.")],
    "redis_url": Annotated[
        str | None, typer.Option(show_default="the setting, else the embedded store that runs", help="The store.")
    ],
    "namespace": Annotated[str | None, typer.Option(show_default="{pxd}", help="Hash tag of the fleet's keys.")],
    "state_dir": Annotated[
        Path | None,
        typer.Option(show_default="in XDG_STATE_HOME", help="Where `dispatcher up` keeps its store and keys."),
    ],
}


@dataclass(frozen=True, slots=True)
class Place:
    """A fleet, as the command line names it; None leaves a value to the environment, the file and the default."""

    config: Path | None = None
    redis_url: str | None = None
    namespace: str | None = None
    state_dir: Path | None = None

    def settings(self) -> Settings:
        """All settings as configured; ``redis_url`` may be None."""
        return load_settings(self.config, redis_url=self.redis_url, namespace=self.namespace, state_dir=self.state_dir)

    def connected(self) -> Settings:
        """Settings with a store: without a URL, the embedded store of `dispatcher up` and its keys.

        Raises:
            StoreUnavailable: no URL is given and no embedded store runs.
        """
        settings = self.settings()
        embedded_url = running_url(settings.state_dir)
        url = settings.redis_url or embedded_url
        if url is None:
            raise StoreUnavailable(
                f"No Redis URL is given and no embedded store runs in {settings.state_dir}; "
                "start `dispatcher up`, or set --redis-url or DISPATCHER_REDIS_URL."
            )
        found: dict[str, Any] = {"redis_url": url}
        if url == embedded_url and settings.secret_keys is None:
            found["secret_keys"] = load_or_create_key(settings.state_dir)
        return settings.model_copy(update=found)

    @contextmanager
    def store(self) -> Iterator[tuple[Store, Settings]]:
        """The store and the settings that led to it, for one command."""
        settings = self.connected()
        store = open_store(str(settings.redis_url), settings.namespace)
        try:
            yield store, settings
        finally:
            store.close()

    @contextmanager
    def client(self, user: int) -> Iterator[Client]:
        """The enqueue API, for one command."""
        settings = self.connected()
        fleet: dict[str, Any] = {"namespace": settings.namespace, "state_dir": settings.state_dir}
        with Client(settings.redis_url, user=user, **fleet) as client:
            yield client

    def simulator_url(self, settings: Settings) -> str | None:
        """The simulator that plays the upstream: the environment's, or that of the `up` on this store; or None."""
        if named := os.environ.get(ENDPOINT_VARIABLE):
            return named
        try:
            running = json.loads((settings.state_dir / RUNNING_FILE).read_text())
        except (OSError, ValueError):
            return None
        url: str | None = running.get("simulator") if running.get("redis_url") == settings.redis_url else None
        return url


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is its :class:`Place`, the options that name one."""
    given = inspect.signature(command, eval_str=True)
    own = list(given.parameters.values())[1:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(*args: Any, **values: Any) -> None:
        place = Place(**{name: values.pop(name) for name in _OPTIONS})
        command(place, *args, **values)

    shown = given.replace(
        parameters=[parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + options
    )
    run.__signature__ = shown  # type: ignore[attr-defined]  # Typer reads a command's options from its signature
    run.__annotations__ = {name: parameter.annotation for name, parameter in shown.parameters.items()}
    return run
