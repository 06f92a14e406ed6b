"""The layout's promises: who may import whom, what a module may be called, what loading the client costs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("dispatcher", "workers", "simulator", "demo")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
LINES_MAX = 400
VAGUE = {"utils", "helpers", "common", "manager", "misc", "util", "helper"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def copy_of_ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages and their contracts, to break."""
    copy = tmp_path_factory.mktemp("layout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Run the linter on a folder's own packages."""
    program = (
        "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    chosen = [part for contract in contracts for part in ("--contract", contract)]
    command = [sys.executable, "-P", "-c", program, "--no-logo", *chosen]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def breach(copy_of_ours: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The copy with one file changed: a new one, or one more line in an old one."""
    name, line = request.param
    path = copy_of_ours / name
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    yield copy_of_ours
    path.write_text(before) if before is not None else path.unlink()


def test_the_contracts_hold() -> None:
    verdict = lint(ROOT)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    ("breach", "contract"),
    [
        (("dispatcher/stray.py", ""), "dispatcher"),
        (("workers/stray.py", ""), "workers"),
        (("dispatcher/slots.py", "import dispatcher.jobs"), "dispatcher"),
        (("dispatcher/accounts.py", "import dispatcher.slots"), "dispatcher"),
        (("dispatcher/jobs.py", "import dispatcher.http"), "dispatcher"),
        (("workers/upstream/__init__.py", "import workers.run"), "workers"),
        (("workers/run.py", "import dispatcher.service"), "workers-on-nouns"),
        (("dispatcher/slots.py", "import workers.run"), "workers-from-cli"),
        (("dispatcher/jobs.py", "import rq"), "rq"),
        (("workers/ledger.py", "import httpx"), "httpx"),
        (("dispatcher/service.py", "import httpx"), "httpx"),
        (("workers/upstream/discord/rest.py", "import websockets"), "websockets"),
        (("dispatcher/events.py", "import rich"), "client"),
        (("simulator/oracle.py", "import dispatcher.models"), "simulator"),
        (("dispatcher/slots.py", "import simulator.oracle"), "simulator"),
        (("workers/run.py", "import simulator.oracle"), "simulator-workers"),
        (("demo/verdict.py", "import dispatcher.keys"), "demo"),
    ],
    indirect=["breach"],
    ids=lambda value: value if isinstance(value, str) else ": ".join(value),
)
def test_a_breach_breaks_its_contract(breach: Path, contract: str) -> None:
    verdict = lint(breach, contract)

    assert verdict.returncode == 1, verdict.stdout + verdict.stderr
    assert "0 kept, 1 broken" in verdict.stdout


def test_the_client_loads_no_worker_web_or_http_library() -> None:
    unwanted = ("rq", "fastapi", "starlette", "uvicorn", "httpx", "typer", "rich", "workers")
    program = (
        "from dispatcher import AsyncClient, Client\n"
        f"import sys; print(*[name for name in {unwanted!r} if name in sys.modules])"
    )

    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == []


def test_a_worker_loads_no_gateway_before_it_is_asked_for() -> None:
    program = "import workers.upstream.discord, sys; print('websockets' in sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert loaded.stdout.split() == ["False"]


def test_config_is_data_and_no_package() -> None:
    assert not list((ROOT / "config").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_is_a_short_documented_noun(path: Path) -> None:
    text = path.read_text()

    assert path.stem not in VAGUE
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert len(text.splitlines()) <= LINES_MAX, f"{relative(path)} is longer than {LINES_MAX} lines"


def test_no_file_of_ours_names_a_machine_path() -> None:
    shown = [
        *MODULES,
        *(ROOT / "config").rglob("*"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*.*"),
        ROOT / "Makefile",
    ]
    home_or_work = re.compile(r"(?<![\w.~$}])/(home|root|work|Users)/\w")

    naming = [relative(path) for path in shown if path.is_file() and home_or_work.search(path.read_text())]

    assert not naming
