"""What a Dockerfile says about a running container: entry point, default command, environment, user, files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Image:
    """One stage, with what it has from the stages below it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    workdir: str = "/"
    copied: tuple[str, ...] = ()


def stages(dockerfile: Path) -> dict[str, Image]:
    """Every named stage of a Dockerfile; of the instructions only those that a running process can notice."""
    found: dict[str, Image] = {}
    name = ""
    for instruction, rest in _instructions(dockerfile.read_text()):
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            found[name] = found.get(base, Image())
        else:
            found[name] = _after(found[name], instruction, rest)
    return found


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            yield instruction, rest.strip()


def _after(image: Image, instruction: str, rest: str) -> Image:
    """The image after one more instruction."""
    changed: dict[str, Any] = {}
    match instruction:
        case "ENTRYPOINT":
            changed = {"entrypoint": tuple(json.loads(rest)), "command": ()}
        case "CMD":
            changed = {"command": tuple(json.loads(rest))}
        case "ENV":
            changed = {"environment": image.environment | dict(pair.split("=", 1) for pair in shlex.split(rest))}
        case "USER":
            changed = {"user": rest}
        case "WORKDIR":
            changed = {"workdir": rest}
        case "COPY":
            sources = (part for part in rest.split()[:-1] if not part.startswith("--"))
            changed = {"copied": (*image.copied, *sources)}
    return replace(image, **changed)
