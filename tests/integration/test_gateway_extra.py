"""``observe = "gateway"`` where its library is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dispatcher.settings import Settings

KEY = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize("role", ["work", "up"])
def test_without_the_extra_a_worker_says_so_and_does_not_start(tmp_path: Path, settings: Settings, role: str) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['websockets'] = None")
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path),
        "DISPATCHER_OBSERVE": "gateway",
        "DISPATCHER_REDIS_URL": str(settings.redis_url),
        "DISPATCHER_SECRET_KEYS": KEY,
        "DISPATCHER_STATE_DIR": str(tmp_path / "state"),
    }

    ended = subprocess.run(
        [sys.executable, "-m", "dispatcher", role], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 2, ended.stderr
    assert "pixverse-dispatcher[gateway]" in ended.stderr
    assert "Traceback" not in ended.stderr
