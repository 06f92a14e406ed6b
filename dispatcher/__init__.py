"""Spread PixVerse jobs over many accounts: bounded slots, a random free account, nothing lost when something dies.

from dispatcher import Client, CreateSingle

with Client() as client:
    job = client.enqueue(CreateSingle(prompt="a calm sea at dawn", style="Realistic"))
    print(client.wait(job.id).attachments[0].url)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.async_client import AsyncClient
    from dispatcher.client import Client
    from dispatcher.errors import (
        AccountConflict,
        AccountError,
        AccountNotFound,
        AccountUnavailable,
        DispatcherError,
        DuplicateJob,
        JobError,
        JobNotFound,
        JobStateError,
        LeasingClosed,
        LinksTimeout,
        LinksUnavailable,
        RequestInvalid,
        SettingsError,
        StorageUnavailable,
        StoreReplyError,
        StoreUnavailable,
        UpstreamError,
        UpstreamUnavailable,
        WaitTimeout,
    )
    from dispatcher.models import Attachment, Job
    from dispatcher.requests import Animate, Button, Create, CreateSingle, MemeFace

__all__ = [
    "AccountConflict",
    "AccountError",
    "AccountNotFound",
    "AccountUnavailable",
    "Animate",
    "AsyncClient",
    "Attachment",
    "Button",
    "Client",
    "Create",
    "CreateSingle",
    "DispatcherError",
    "DuplicateJob",
    "Job",
    "JobError",
    "JobNotFound",
    "JobStateError",
    "LeasingClosed",
    "LinksTimeout",
    "LinksUnavailable",
    "MemeFace",
    "RequestInvalid",
    "SettingsError",
    "StorageUnavailable",
    "StoreReplyError",
    "StoreUnavailable",
    "UpstreamError",
    "UpstreamUnavailable",
    "WaitTimeout",
]

_HOMES = {
    "AsyncClient": "dispatcher.async_client",
    "Client": "dispatcher.client",
    **dict.fromkeys(("Attachment", "Job"), "dispatcher.models"),
    **dict.fromkeys(("Animate", "Button", "Create", "CreateSingle", "MemeFace"), "dispatcher.requests"),
}

if not TYPE_CHECKING:  # mypy would take any name for ours

    def __getattr__(name: str) -> object:
        """Load a public name when it is first asked for: programs of ours want few of them, and at once."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(_HOMES.get(name, "dispatcher.errors")), name)
        return value
