"""What commands write: tables and sentences for people, one line of JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

PIPE_WIDTH = 200
"""Characters a line when stdout is no terminal, so that no table is cut at 80."""


def console() -> Console:
    """Stdout, for people."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False, emoji=False)


def say(sentence: str) -> None:
    """Write a sentence as it is: what looks like markup in a prompt is none."""
    console().print(sentence, markup=False, soft_wrap=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; None is an empty cell."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if cell is None else _plain(str(cell)) for cell in row))
    console().print(table)


def show_fields(fields: dict[str, object]) -> None:
    """Write one thing, a field a line; empty fields are left out, further lines of a value are indented."""
    shown = {name: str(value) for name, value in fields.items() if value not in (None, "", (), [], {})}
    width = max(map(len, shown), default=0) + 2
    for name, value in shown.items():
        say(f"{name:<{width}}" + value.replace("\n", "\n" + " " * width))


def show_json(data: Any) -> None:
    """Write one line of JSON."""
    sys.stdout.write(json.dumps(data, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
