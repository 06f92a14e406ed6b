"""Which execution a coroutine is: what a claim binds a lease to."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Execution:
    """One run of one delivery: RQ's execution id, and the name of the worker that runs it."""

    id: str
    owner: str


current_execution: ContextVar[Execution] = ContextVar("current_execution")
"""Set in every coroutine that the worker starts."""
