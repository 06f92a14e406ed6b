"""The transitions: one Lua file each under ``lua/``, composed with the parts they need, known by their SHA-1.

A file names its parts in a header line ``-- needs: record slots``, and so may a part; ``_base`` is always first.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

from dispatcher import handoff

_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script as Redis knows it."""

    name: str
    text: str
    sha: str


def _read(name: str) -> str:
    return (resources.files("dispatcher") / "lua" / f"{name}.lua").read_text(encoding="utf-8")


def _parts(body: str) -> list[str]:
    """The parts that a text needs, each behind those that it needs itself, and once."""
    needs = _NEEDS.search(body)
    named = needs[1].split() if needs else []
    return list(dict.fromkeys(part for name in named for part in (*_parts(_read(f"_{name}")), name)))


@cache
def script(name: str) -> Script:
    """Load and compose the transition ``name``; the same object every time."""
    body = _read(name)
    parts = _parts(body)
    constants = handoff.lua_constants() if "handoff" in parts else ""
    text = "\n".join([_read("_base"), constants, *(_read(f"_{part}") for part in parts), body])
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def names() -> list[str]:
    """Names of all transitions."""
    files = (resources.files("dispatcher") / "lua").iterdir()
    return sorted(f.name.removesuffix(".lua") for f in files if f.name.endswith(".lua") and not f.name.startswith("_"))
