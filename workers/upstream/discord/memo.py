"""Values that are read from Discord once, for all jobs of the process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Memo(Generic[V]):
    """Remembers values by key; jobs that ask for one at the same time share one reading."""

    def __init__(self) -> None:
        self._values: dict[str, V] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, key: str, read: Callable[[], Awaitable[V]]) -> V:
        """Return the value, read now if it is not known; a failed reading is not remembered."""
        if key in self._values:
            return self._values[key]
        async with self._locks[key]:
            if key not in self._values:
                self._values[key] = await read()
            return self._values[key]

    def forget(self, key: str, outdated: V) -> None:
        """Have the value read anew when it is next asked for, unless somebody read a newer one already."""
        if self._values.get(key) is outdated:
            del self._values[key]
