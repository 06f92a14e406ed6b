"""The mutants that mutmut writes of a Python file, each with what it changes."""

from __future__ import annotations

import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHOICE_VARIABLE = "MUTANT_UNDER_TEST"
"""What mutmut's trampolines read at each call, in every process that inherits it."""
CHANGED = ("dispatcher", "workers")
COPIED = ("simulator", "bench", "config", "pyproject.toml")
_GENERATE = """
from mutmut import __main__ as mutmut
mutmut.copy_src_dir()
mutmut.copy_also_copy_files()
mutmut.create_mutants(1)
"""
_ORIGINAL = "_mutmut_orig"


@dataclass(frozen=True, slots=True)
class GeneratedMutant:
    """One mutant: ``name`` chooses it; ``change`` is the old text and the new one, which may be nothing."""

    name: str
    file: str
    function: str
    change: str

    def __str__(self) -> str:
        return f"{self.function}: {self.change}"


def generate(folder: Path, files: list[str]) -> list[GeneratedMutant]:
    """Copy the project into ``folder`` and let mutmut write the files' mutants into ``folder/mutants``."""
    for part in (*CHANGED, *COPIED, "tests"):
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, folder / part)
    lists = {"source_paths": CHANGED, "only_mutate": files, "also_copy": COPIED}
    text = "".join(f"{name} =\n" + "".join(f"    {value}\n" for value in values) for name, values in lists.items())
    (folder / "setup.cfg").write_text(f"[mutmut]\n{text}", encoding="utf-8")
    environment = os.environ | {CHOICE_VARIABLE: "mutant_generation"}
    subprocess.run([sys.executable, "-c", _GENERATE], cwd=folder, env=environment, check=True, capture_output=True)
    return [mutant for file in files for mutant in _mutants_of(folder / "mutants", file)]


def _mutants_of(folder: Path, file: str) -> list[GeneratedMutant]:
    names = json.loads((folder / f"{file}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    bodies = _functions(folder / file)
    mutants = []
    for name in names:
        mangled = name.rpartition(".")[2]
        stem, _, _ = mangled.rpartition("__mutmut_")
        function = ".".join(part for part in stem.removeprefix("x").split("ǁ") if part).removeprefix("_")
        change = _change(bodies[f"{stem}_{_ORIGINAL}"], bodies[mangled])
        mutants.append(GeneratedMutant(name, file, function, change))
    return mutants


def _functions(path: Path) -> dict[str, list[str]]:
    """The lines of each function by its mangled name, which is left out of them."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    return {
        node.name: [line.replace(node.name, "") for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }


def _change(original: list[str], mutant: list[str]) -> str:
    lines = list(difflib.unified_diff(original, mutant, lineterm="", n=0))[2:]
    old, new = (" ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+")
    return re.sub(r"\s+", " ", f"{old} -> {new or 'nothing'}")
