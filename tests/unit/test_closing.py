"""How the suite judges itself: every test is in one tier, every skip is named, and under STRICT fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from tests.support.strict import Closing, Skip, judge
from tests.support.tiers import tier_of

ROOT = Path(__file__).parents[2]
GREEN = Closing(what="fast", counts={"passed": 3}, seconds=1.5, skips=())
SKIPPED = Closing(
    what="rest", counts={"passed": 1, "skipped": 1}, seconds=2, skips=(Skip(test="a.py::test_a", reason="no node"),)
)


@pytest.mark.parametrize(
    ("path", "is_slow", "tier"),
    [
        ("tests/unit/test_a.py", False, "fast"),
        ("tests/unit/test_a.py", True, "rest"),
        ("tests/integration/lua/test_a.py", False, "fast"),
        ("tests/integration/test_a.py", False, "rest"),
        ("tests/a_new_folder/test_a.py", False, "rest"),
        ("tests/acceptance/test_a.py", True, "alone"),
        ("tests/chaos/test_a.py", False, "alone"),
    ],
)
def test_a_test_is_in_one_tier(path: str, is_slow: bool, tier: str) -> None:
    assert tier_of(PurePath(path), is_slow=is_slow) == tier


def test_green_calls_pass() -> None:
    assert judge([GREEN], strict=True) == ("fast: 3 passed in 1.5 s", 0)


def test_a_skip_is_named_and_fails_only_where_it_shall() -> None:
    text, status = judge([GREEN, SKIPPED], strict=False)
    _, strict_status = judge([GREEN, SKIPPED], strict=True)

    assert "  a.py::test_a: no node" in text.splitlines()
    assert text.splitlines()[-1] == "rest: 1 passed, 1 skipped in 2.0 s"
    assert (status, strict_status) == (0, 1)


@pytest.mark.parametrize("counts", [{"passed": 1, "failed": 1}, {"passed": 1, "error": 1}, {}])
def test_a_failure_or_an_empty_call_fails(counts: dict[str, int]) -> None:
    assert judge([GREEN, Closing(what="rest", counts=counts, seconds=1, skips=())], strict=False)[1] == 1


def test_no_call_at_all_fails() -> None:
    assert judge([], strict=False)[1] == 1


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_plugin_sees_each_skip_once(tmp_path: Path, processes: str) -> None:
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_good(): pass\n"
        "@pytest.mark.skip(reason='no chromium')\n"
        "def test_marked(): pass\n"
        "def test_late(): pytest.skip('no node')\n"
        "@pytest.mark.xfail\n"
        "def test_known(): assert False\n"
    )
    (tmp_path / "test_whole.py").write_text("import pytest\npytest.importorskip('a_module_that_nobody_has')\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    file = tmp_path / "closing.jsonl"
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.strict", "--closing", str(file), "-n", processes]

    subprocess.run([*command, "--rootdir", str(tmp_path), str(tmp_path)], cwd=ROOT, capture_output=True, check=True)

    (line,) = file.read_text().splitlines()
    closing = Closing.model_validate_json(line)
    assert {skip.test.rpartition("/")[2]: skip.reason.partition(":")[0] for skip in closing.skips} == {
        "test_some.py::test_marked": "no chromium",
        "test_some.py::test_late": "no node",
        "test_whole.py": "could not import 'a_module_that_nobody_has'",
    }
    assert (closing.counts["passed"], closing.counts["xfailed"]) == (1, 1)
