"""Several round trips that belong together, written once for both stores.

A plan is a generator: it yields calls, which go out in one pipeline, and is sent their results; what it returns is the
result of the whole. Each call is atomic, the plan is not: it must be safe to stop between two yields.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

from dispatcher.connection import AsyncStore, Call, Store

T = TypeVar("T")

Plan: TypeAlias = Generator[Sequence[Call[Any]], Sequence[Any], T]


def pieces(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut what is asked of the store into pieces of at most ``size``: no call may hold it up for long."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def carry_out(store: Store, plan: Plan[T]) -> T:
    """Do the plan's round trips and return its result.

    Raises:
        StoreUnavailable: Redis does not answer; the plan may be begun anew.
    """
    try:
        calls = next(plan)
        while True:
            calls = plan.send(store.do_many(calls))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value has no type at run time


async def carry_out_async(store: AsyncStore, plan: Plan[T]) -> T:
    """Do the plan's round trips and return its result.

    Raises:
        StoreUnavailable: Redis does not answer; the plan may be begun anew.
    """
    try:
        calls = next(plan)
        while True:
            calls = plan.send(await store.do_many(calls))
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's return value has no type at run time
