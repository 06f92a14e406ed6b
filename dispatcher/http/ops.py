"""Health, for whoever watches the process: no token needed, nothing told about users."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from dispatcher import scripts
from dispatcher.connection import command
from dispatcher.errors import LeasingClosed
from dispatcher.http.backend import Backend, TheBackend
from dispatcher.http.errors import ErrorBody

READY_PATIENCE_S = 2.0
"""Health checks give up after a few seconds themselves; a late 503 would be none."""


class Alive(BaseModel):
    """The process serves."""

    status: str = "alive"


class Ready(BaseModel):
    """The process can do its work; ``scripts`` counts the transitions that the store has loaded."""

    status: str = "ready"
    store: str = "ok"
    scripts: int


router = APIRouter(tags=["health"])


@router.get("/livez", summary="Is the process alive?")
async def livez() -> Alive:
    """Ask nothing of anybody: a restart would not bring the store back."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can it serve calls?",
    responses={503: {"model": ErrorBody, "description": "The store does not answer, or is learning"}},
)
async def readyz(backend: TheBackend) -> Ready:
    """Ask the store, and load the transitions that it does not know, as after its restart.

    Raises:
        LeasingClosed: the store is learning which leases exist.
    """
    loaded = await _load_scripts(backend)
    if left_ms := await backend.do(backend.learning.left_ms(), patience_s=READY_PATIENCE_S):
        raise LeasingClosed(left_ms)
    return Ready(scripts=loaded)


async def _load_scripts(backend: Backend) -> int:
    known = [scripts.script(name) for name in scripts.names()]

    def read(reply: Any) -> list[bool]:
        return [bool(there) for there in reply]

    exist = command("SCRIPT EXISTS", *(script.sha for script in known), read=read)
    there = await backend.do(exist, patience_s=READY_PATIENCE_S)
    for script in (script for script, is_there in zip(known, there, strict=True) if not is_there):
        await backend.do(command("SCRIPT LOAD", script.text, read=str), patience_s=READY_PATIENCE_S)
    return len(known)
