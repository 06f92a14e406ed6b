"""Exit codes: the one table from the error tree to what a shell sees."""

from __future__ import annotations

from dispatcher import errors

DONE = 0
NOT_COMPLETED = 1
BAD_INPUT = 2
NOT_FOUND = 3
REFUSED = 4
STORE_UNREACHABLE = 5
WAITED_TOO_LONG = 6
INTERRUPTED = 130

EXIT_CODES: tuple[tuple[type[errors.DispatcherError], int], ...] = (
    (errors.RequestInvalid, BAD_INPUT),
    (errors.SettingsError, BAD_INPUT),
    (errors.JobNotFound, NOT_FOUND),
    (errors.AccountNotFound, NOT_FOUND),
    (errors.WaitTimeout, WAITED_TOO_LONG),
    (errors.LinksTimeout, WAITED_TOO_LONG),
    (errors.CheckTimeout, WAITED_TOO_LONG),
    (errors.StoreUnavailable, STORE_UNREACHABLE),
    (errors.StorageUnavailable, STORE_UNREACHABLE),
    (errors.StoreReplyError, STORE_UNREACHABLE),
    (errors.InUse, REFUSED),
    (errors.JobError, REFUSED),
    (errors.AccountError, REFUSED),
    (errors.AccessError, REFUSED),
    (errors.LeaseError, REFUSED),
    (errors.UpstreamError, NOT_COMPLETED),
    (errors.CallbackUnanswered, NOT_COMPLETED),
)
"""The first row that fits decides; a test holds it against the whole tree."""


def exit_code_of(error: errors.DispatcherError) -> int:
    """Choose the exit code of an error."""
    return next((code for kind, code in EXIT_CODES if isinstance(error, kind)), NOT_COMPLETED)
