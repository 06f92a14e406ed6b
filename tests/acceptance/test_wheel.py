"""The built wheel: what it ships, what it does not, and that it works away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = {".lua", ".typed", ".html", ".css", ".js", ".svg", ".json", ".toml"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """Every file in it."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def metadata(wheel: Path, file: str) -> str:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(f".dist-info/{file}"))
        return archive.read(name).decode()


def test_it_ships_exactly_two_packages(names: list[str]) -> None:
    tops = {name.partition("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"dispatcher", "workers"}
    assert len([top for top in tops if top.endswith(".dist-info")]) == 1


@pytest.mark.parametrize("package", ["dispatcher", "workers"])
def test_it_ships_every_module_and_data_file(names: list[str], package: str) -> None:
    in_checkout = {
        str(path.relative_to(ROOT))
        for path in (ROOT / package).rglob("*")
        if path.suffix in DATA | {".py"} and "__pycache__" not in path.parts
    }

    assert {name for name in names if name.startswith(f"{package}/")} == in_checkout
    assert f"{package}/py.typed" in names


def test_it_ships_every_transition(names: list[str]) -> None:
    scripts = {name.rpartition("/")[2] for name in names if name.endswith(".lua")}

    assert {"submit.lua", "dispatch.lua", "claim.lua", "settle.lua", "reap.lua"} <= scripts


def test_it_says_its_name_its_licence_and_its_program(wheel: Path) -> None:
    told = metadata(wheel, "METADATA").splitlines()

    assert "Name: pixverse-dispatcher" in told
    assert "License-Expression: MIT" in told
    assert "Requires-Python: >=3.11" in told
    assert "dispatcher = dispatcher.cli:main" in metadata(wheel, "entry_points.txt").splitlines()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel installed into a folder of its own, without what it depends on."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return target


def run_installed(installed: Path, cwd: Path, *arguments: str) -> str:
    """Run Python on the installed copy, with the environment's own libraries behind it; what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_installed_packages_are_imported_from_there(installed: Path, tmp_path: Path) -> None:
    program = "import dispatcher, workers; print(dispatcher.__file__); print(workers.__file__); dispatcher.Client"

    files = run_installed(installed, tmp_path, "-c", program).split()

    assert [Path(file).parents[1] for file in files] == [installed, installed]


def test_the_installed_scripts_load(installed: Path, tmp_path: Path) -> None:
    program = "from dispatcher.scripts import script; print(len(script('dispatch').sha))"

    assert run_installed(installed, tmp_path, "-c", program).strip() == "40"


def test_an_application_may_have_a_config_and_a_tests_of_its_own(installed: Path, tmp_path: Path) -> None:
    for name in ("config", "tests", "demo", "simulator", "bench", "chaos"):
        (tmp_path / f"{name}.py").write_text(f"NAME = 'the {name} of the application'\n")
    program = "import dispatcher, workers, config, tests, demo, simulator, bench; print(config.NAME)"

    assert run_installed(installed, tmp_path, "-c", program).strip() == "the config of the application"


def test_the_installed_program_starts(installed: Path, tmp_path: Path) -> None:
    assert "up" in run_installed(installed, tmp_path, "-m", "dispatcher", "--help")
