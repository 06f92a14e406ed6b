"""Fixtures that every tier shares; each lives in tests/support under the noun it gives."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.api",
    "tests.support.certainty",
    "tests.support.cli",
    "tests.support.deliveries",
    "tests.support.store",
]
