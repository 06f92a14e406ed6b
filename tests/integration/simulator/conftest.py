"""One simulator a test module, and a user in a channel of its own a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.process import running
from tests.support.player import Player


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
def player(url: str) -> Iterator[Player]:
    with Player(url) as player:
        yield player
