"""What one worker process has at hand for every job: settings, store, secrets, upstreams, renewals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from dispatcher.connection import AsyncStore
from dispatcher.errors import DispatcherError
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from workers.ledger import Gates
from workers.renewal import Renewal
from workers.upstream import Upstream


class JobFailed(DispatcherError):
    """The job ended failed; shown to RQ as a failed delivery, so that its tools and Sentry see one event.

    It is our own outcome, already settled: RQ must neither log a traceback nor retry.
    """

    is_outcome = True


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """One worker's equipment; made once, in ``workers/__main__.py``."""

    settings: Settings
    store: AsyncStore
    slots: Slots
    renewal: Renewal
    gates: Gates
    upstreams: Mapping[str, Upstream]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when this worker stops: nothing that waits to begin begins any more."""


_current: list[WorkerContext] = []


def install(context: WorkerContext) -> Callable[[], None]:
    """Make ``context`` the process's own; returns what takes it away again."""
    if _current:
        raise RuntimeError("this process already has a worker context")
    _current.append(context)
    return _current.clear


def current() -> WorkerContext:
    """The process's context."""
    if not _current:
        raise RuntimeError(
            "deliveries are run by `dispatcher work`; a stock RQ worker has no accounts to run them with"
        )
    return _current[0]
