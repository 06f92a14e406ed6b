"""`make schema` in its short form: calls made from the OpenAPI document, every answer held against it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.schema.play import EXCUSED

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds other processes through /proc")


def test_every_operation_answers_as_the_document_says(tmp_path: Path) -> None:
    summary = tmp_path / "schema.json"
    words = ("--requests", "300", "--examples", "30", "--successes", "20", "--json", str(summary))

    ran = subprocess.run(
        [sys.executable, "-m", "tests.schema", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=110,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = json.loads(summary.read_text())
    assert (told["server_errors"], told["faults"]) == (0, [])
    assert all(row["2xx"] >= 20 for operation, row in told["operations"].items() if operation != "other methods")


def test_every_check_that_is_left_out_has_a_reason() -> None:
    assert all(len(reason.split()) > 5 for reason in EXCUSED.values())
