"""A pytest plugin for a mutant's run: refuses to judge any other package than the mutated one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MUTANT_VARIABLE = "MUTANT_FOLDER"


def pytest_sessionstart() -> None:
    """Stop the run if ``dispatcher`` was imported from anywhere else than the mutant's folder."""
    import dispatcher  # noqa: PLC0415 (only now has pytest put the folders in their order)

    folder = Path(os.environ[MUTANT_VARIABLE]).resolve()
    if not Path(dispatcher.__file__).resolve().is_relative_to(folder):
        raise pytest.UsageError(f"dispatcher was imported from {dispatcher.__file__}, not from {folder}")
