"""Every promise, and every fault that others were found with, has a test, and that test exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [row for row in re.findall(r"^\| (.+?) \| (.+) \|$", PAGE, re.MULTILINE) if row[1] != "tests"]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
PROMISES, FAULTS = 9, 18
"""Eight promises, one of them in two rows, and the faults of others."""


@cache
def found_in(path: str) -> set[str]:
    """The names of the tests that pytest finds in a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_no_row_is_missing() -> None:
    first, _, second = PAGE.partition("## Faults of others")

    assert [len(re.findall(r"^\| (?!-|promise |fault )", part, re.MULTILINE)) for part in (first, second)] == [
        PROMISES,
        FAULTS,
    ]
    assert len(ROWS) == PROMISES + FAULTS


@pytest.mark.parametrize(("what", "told"), ROWS, ids=[what[:50] for what, _ in ROWS])
def test_a_row_names_tests_that_exist(what: str, told: str) -> None:
    named = NAMED.findall(told)

    assert named or "*coming*" in told, f"nothing says so: {what}"
    assert told.count("`") == 2 * len(named), f"not the name of a test: {told}"
    assert [f"{path}::{name}" for path, name in named if name not in found_in(path)] == []
