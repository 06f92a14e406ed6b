"""What the routes stand on: the store and its nouns, opened with the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

from fastapi import Depends
from starlette.requests import Request

from dispatcher.access import Access
from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, Call
from dispatcher.errors import StoreUnavailable
from dispatcher.events import EventReader
from dispatcher.jobs import Jobs
from dispatcher.learning import Learning
from dispatcher.plan import Plan, carry_out_async
from dispatcher.profiles import Profiles
from dispatcher.registration import Registration
from dispatcher.settings import Settings

T = TypeVar("T")

STORE_PATIENCE_S = 10.0
"""How long a caller is kept waiting for Redis, retries included, before it is told to come back."""

Storing: TypeAlias = Callable[[AsyncStore, Accounts, int, Registration], AbstractAsyncContextManager[None]]
"""What happens around the storing of a user's account: `up --simulator` declares it to the simulator."""


def store_plainly(
    store: AsyncStore, accounts: Accounts, user: int, given: Registration
) -> AbstractAsyncContextManager[None]:
    """Nothing happens around it."""
    del store, accounts, user, given
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Backend:
    """One store and what is read and written in it."""

    store: AsyncStore
    accounts: Accounts
    access: Access
    learning: Learning
    jobs: Jobs
    profiles: Profiles
    events: EventReader
    settings: Settings
    storing: Storing = store_plainly
    patience_s: float = STORE_PATIENCE_S

    async def do(self, call: Call[T], *, patience_s: float | None = None) -> T:
        """Make a round trip.

        Raises:
            StoreUnavailable: Redis refused, or gave no answer in time.
        """
        return await self._in_time(self.store.do(call), patience_s)

    async def carry_out(self, plan: Plan[T]) -> T:
        """Do a plan's round trips.

        Raises:
            StoreUnavailable: Redis refused, or gave no answer in time.
        """
        return await self._in_time(carry_out_async(self.store, plan))

    async def _in_time(self, answer: Awaitable[T], patience_s: float | None = None) -> T:
        try:
            async with asyncio.timeout(patience_s or self.patience_s):
                return await answer
        except TimeoutError:
            raise StoreUnavailable("Redis gave no answer in time.") from None


def backend_of(request: Request) -> Backend:
    """Give a route its backend."""
    backend: Backend = request.app.state.backend
    return backend


def user_of(request: Request) -> int:
    """Give a route the user that the gate let in."""
    user: int = request.state.user
    return user


TheBackend = Annotated[Backend, Depends(backend_of)]
TheUser = Annotated[int, Depends(user_of)]
