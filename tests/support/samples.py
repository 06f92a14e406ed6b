"""The samples of docs/http-api.md, extracted, and how each is run as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.api import CHANNEL, SERVER, discord_token

PAGE = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()
_SAMPLE = re.compile(
    r"<!-- sample: (?P<name>\w+) (?P<tool>\w+) -->\n```(?P<language>\w+)\n(?P<text>.*?)\n```\n", re.DOTALL
)
SAMPLES = {(found["tool"], found["name"]): found["text"] for found in _SAMPLE.finditer(PAGE)}
ANSWERS = [json.loads(text) for text in re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)]
PROGRAMS = {
    "curl": ["bash", "-euc"],
    "fetch": ["node", "--input-type=module", "--eval"],
    "requests": [sys.executable, "-c"],
}


class Shell:
    """Runs samples with the variables that the page names; an answer is its status and body."""

    def __init__(self, url: str, token: str, **variables: str) -> None:
        self.variables = {
            "DISPATCHER_URL": url,
            "API_TOKEN": token,
            "CHANNEL": CHANNEL,
            "SERVER": SERVER,
            "DISCORD": discord_token(),
            **variables,
        }

    def run(self, tool: str, name: str) -> tuple[int, str]:
        ran = subprocess.run(
            [*PROGRAMS[tool], SAMPLES[tool, name]],
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "NO_PROXY": "*", **self.variables},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        # curl writes the status last, the others first.
        parts = ran.stdout.strip().rpartition("\n")[::-1] if tool == "curl" else ran.stdout.strip().partition(" ")
        return int(parts[0]), parts[2].strip()
