"""What the documents and docstrings refer to is there, and what the code says is in the documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import handoff
from dispatcher.settings import Settings

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
SOURCES = sorted(
    path
    for name in ("dispatcher", "workers", "simulator")
    for path in (ROOT / name).rglob("*")
    if path.suffix in {".py", ".lua"}
)
LOGGED = {"warning", "error", "exception", "critical"}
FILE = re.compile(r"\b(?:docs|tests|config|dispatcher|workers|simulator)/[\w/.-]*\w\.(?:py|md|lua|toml|conf|json)\b")
SECTION = re.compile(r"(docs/[\w/.-]+\.md), \"([^\"]+)\"")


def events() -> Iterator[str]:
    """The event of each warning and error in the code."""
    for path in SOURCES:
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=[ast.Constant(value=str(event)), *_]
                ) if level in LOGGED:
                    yield event


def test_every_warning_and_error_is_explained() -> None:
    logs = OPERATIONS.read_text().partition("## Logs")[2].partition("\n## ")[0]
    explained = {
        name
        for row in logs.splitlines()
        if row.startswith("| `")
        for name in re.findall("`([^`]+)`", row.split("|")[1])
    }

    said = set(events())

    assert len(said) > 20
    assert said - explained == set()


def test_rq_is_told_the_prefix_that_the_fleet_has() -> None:
    prefix = handoff.rq_prefix(Settings.model_fields["namespace"].default)

    assert f"export {handoff.PREFIX_VARIABLE}='{prefix}'" in OPERATIONS.read_text()
    assert f"`{handoff.PREFIX_VARIABLE}='{prefix}'`" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_source_refers_to_is_there(path: Path) -> None:
    text = " ".join(path.read_text().split())

    missing = [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    missing += [
        f"{name}, {title}"
        for name, title in SECTION.findall(text)
        if (ROOT / name).exists()
        and not re.search(rf"^#+ .*{re.escape(title)}", (ROOT / name).read_text(), re.MULTILINE)
    ]

    assert missing == []
