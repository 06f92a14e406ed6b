"""The upstreams that a worker has: whatever installed distribution declares in the group ``dispatcher.upstreams``.

Another upstream is one module of its own distribution, with one entry point::

    [project.entry-points."dispatcher.upstreams"]
    name = "its_module:ItsUpstream"

What is named is called once per worker process: ``ItsUpstream(settings, open_secret=…, store=…)``. ``open_secret``
gives an account's secret, or raises ``SecretError`` if this worker lacks the key; ``store`` holds what all workers of
the fleet share, such as rate limits (:mod:`workers.upstream.pacing`). It returns an
:class:`~workers.upstream.Upstream` whose name is the entry point's, which is the second half of its pools' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol

from pydantic import SecretStr

from dispatcher.connection import AsyncStore
from dispatcher.errors import SettingsError
from dispatcher.log import get_logger
from dispatcher.models import Account
from dispatcher.settings import Settings
from workers.upstream import Upstream

GROUP = "dispatcher.upstreams"

log = get_logger(__name__)


class OpenSecret(Protocol):
    """Gives the secret of an account of the named upstream; raises SecretError where the key is not configured."""

    def __call__(self, account: Account, *, upstream: str) -> SecretStr:
        """Open it."""
        ...


def installed(
    settings: Settings,
    open_secret: OpenSecret,
    store: AsyncStore,
    *,
    declared: Iterable[EntryPoint] | None = None,
) -> dict[str, Upstream]:
    """Make one object of each upstream that is installed, by name.

    One that cannot be loaded is told and left out: its jobs are passed on to workers that have it, all others go on.

    Args:
        settings: handed to each.
        open_secret: as the accounts keep them; each upstream gets it for its own accounts.
        store: the worker's own; it closes it.
        declared: entry points to use instead of the installed ones.

    Raises:
        SettingsError: two distributions declare the same name, or none declares any: the installation is broken.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP) if declared is None else declared:
        if entry.name in found and found[entry.name].value != entry.value:
            raise SettingsError(f"Two upstreams are called {entry.name}: {found[entry.name].value}, {entry.value}.")
        found[entry.name] = entry
    if not found:
        raise SettingsError(f"No upstream is declared in {GROUP}; install pixverse-dispatcher again.")
    made = {name: _made(entry, settings, partial(open_secret, upstream=name), store) for name, entry in found.items()}
    return {name: upstream for name, upstream in made.items() if upstream is not None}


def _made(
    entry: EntryPoint, settings: Settings, open_secret: Callable[[Account], SecretStr], store: AsyncStore
) -> Upstream | None:
    try:
        upstream: Upstream = entry.load()(settings, open_secret=open_secret, store=store)
    except Exception:
        log.exception("upstream not loaded", upstream=entry.name, declared=entry.value)
        return None
    if upstream.name != entry.name:
        log.error("upstream not loaded", upstream=entry.name, declared=entry.value, reason=f"it says {upstream.name}")
        return None
    return upstream
