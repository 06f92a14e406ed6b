"""Spread PixVerse jobs over many accounts: bounded slots, a random free account, nothing lost when something dies.

from dispatcher import Client, CreateSingle

with Client() as client:
    job = client.enqueue(CreateSingle(prompt="a calm sea at dawn", style="Realistic"))
    print(client.wait(job.id).attachments[0].url)
"""

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
    RequestInvalid,
    SettingsError,
    StoreReplyError,
    StoreUnavailable,
    UpstreamError,
    UpstreamUnavailable,
    WaitTimeout,
)
from dispatcher.models import Attachment, Create, CreateSingle, Job

__all__ = [
    "AccountConflict",
    "AccountError",
    "AccountNotFound",
    "AccountUnavailable",
    "AsyncClient",
    "Attachment",
    "Client",
    "Create",
    "CreateSingle",
    "DispatcherError",
    "DuplicateJob",
    "Job",
    "JobError",
    "JobNotFound",
    "JobStateError",
    "RequestInvalid",
    "SettingsError",
    "StoreReplyError",
    "StoreUnavailable",
    "UpstreamError",
    "UpstreamUnavailable",
    "WaitTimeout",
]
