"""The fleet that the scripts' tests drive; whatever a test did, all that must be true of the store still is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dispatcher.connection import Store
from tests.support.fleet import Fleet
from tests.support.snapshot import breaches, snapshot


@pytest.fixture
def fleet(store: Store) -> Iterator[Fleet]:
    """One user's Discord pool on a real server, empty."""
    opened = Fleet(store)
    yield opened
    assert not breaches(snapshot(store), lost=opened.lost)
