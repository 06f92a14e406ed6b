"""Logging: an event name and fields. Secrets are SecretStr and never fields."""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

_process: dict[str, str] = {}
"""What each line of this process says of it, whichever thread writes it."""


def configure_log(*, json: bool | None = None, level: str = "INFO") -> None:
    """Send structured events to stderr: one JSON object a line, or aligned text on a terminal.

    What libraries log becomes events as well, from WARNING on.

    Args:
        json: None chooses JSON unless stderr is a terminal.
        level: the least severe level shown.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _of_this_process,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    root = logging.getLogger()
    if _libraries not in root.handlers:
        root.addHandler(_libraries)
    for noisy in ("httpx", "httpcore", "rq.worker", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def name_role(role: str) -> None:
    """Name this process's role in each line that it logs: under `dispatcher up` all roles share one stream.

    A context variable would not do: a pool's threads do not inherit it.
    """
    _process["role"] = role


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of one module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def _of_this_process(logger: object, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    del logger, method
    return {**_process, **event}


class _Libraries(logging.Handler):
    """Makes an event of what a library logs, so that no line has another form than the rest."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it anew."""
        try:
            log = get_logger(record.name)
            said = record.getMessage()
            log.log(record.levelno, "library speaks", logger=record.name, said=said, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 (a line that cannot be written must not end what it tells of)
            self.handleError(record)


_libraries = _Libraries(logging.WARNING)
