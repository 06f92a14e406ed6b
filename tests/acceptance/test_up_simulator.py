"""`dispatcher up --simulator`: the oracle knows every account's limit, and a job goes all the way."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.images import png
from tests.support.up import DEMO, SERVER, Up, processes_of, until

CHANNELS = [f"11970137974670740{n:02}" for n in range(10)]

pytestmark = pytest.mark.skipif(not Path("/proc").exists(), reason="finds other processes through /proc")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("up") / "state", "--port", "0", "--simulator", **DEMO) as up:
        up.ready()
        yield up


def oracle(up: Up) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{up.ready()['simulator']}/sim/oracle", timeout=30).json()
    return answer


def limits(up: Up) -> dict[str, int | None]:
    return {channel: account["limit"] for channel, account in oracle(up)["accounts"].items()}


def test_an_account_is_declared_when_its_registration_is_answered(played: Up) -> None:
    played.register(CHANNELS[0], max_jobs=3)
    assert limits(played)[CHANNELS[0]] == 3

    played.register(CHANNELS[0], max_jobs=7)
    assert limits(played)[CHANNELS[0]] == 7

    played.register(CHANNELS[0], max_jobs=1)
    assert limits(played)[CHANNELS[0]] == 1


def test_an_account_added_on_the_command_line_is_declared_too(played: Up) -> None:
    added = played.run("account", "add", CHANNELS[1], "--server", SERVER, "--max-jobs", "4", stdin="a-discord-token-1")
    assert (added.returncode, limits(played)[CHANNELS[1]]) == (0, 4)

    played.run("account", "set", CHANNELS[1], "--max-jobs", "6")
    assert limits(played)[CHANNELS[1]] == 6


def test_a_refused_registration_declares_nothing(played: Up) -> None:
    played.register(CHANNELS[2])
    body = {"discord": f"discord-token-of-{CHANNELS[2]}", "server": SERVER, "channel": CHANNELS[2], "maxJobs": 11}

    refused = played.call("POST", f"/v1/pixverse/account/{CHANNELS[2]}", json=body)

    assert refused.status_code == 400
    assert limits(played)[CHANNELS[2]] == 2


def test_a_job_goes_all_the_way(played: Up, tmp_path: Path) -> None:
    played.register(CHANNELS[3])

    done = played.run("job", "submit", "a calm sea, all the way [[sim seconds=0.5]]", "--wait", "--json")

    job = json.loads(done.stdout)
    assert (done.returncode, job["status"]) == (0, "completed")
    saved = played.run("job", "download", job["id"], "--to", str(tmp_path), "--json")
    (path,) = json.loads(saved.stdout)
    assert Path(path).read_bytes()[4:8] == b"ftyp"
    (told,) = [entry for entry in oracle(played)["jobs"] if "all the way" in entry["prompt"]]
    assert told["outcome"] == "completed"
    assert oracle(played)["breaches"] == 0


def test_a_job_with_a_file_and_a_press_below_its_result_go_all_the_way(played: Up, tmp_path: Path) -> None:
    played.register(CHANNELS[9])
    (tmp_path / "cat.png").write_bytes(png())
    image = ["--kind", "animate", "--image", str(tmp_path / "cat.png"), "--channel", CHANNELS[9]]

    animated = played.run("job", "submit", "it yawns [[sim seconds=0.5]]", *image, "--wait", "--json")
    parent = json.loads(animated.stdout)
    pressed = played.run(
        "job", "submit", "--kind", "button", "--job", parent["jobid"], "--button", "ReDo", "--wait", "--json"
    )

    press = json.loads(pressed.stdout)
    assert (animated.returncode, parent["status"]) == (0, "completed")
    assert (pressed.returncode, press["status"], press["parentJobId"]) == (0, "completed", parent["jobid"])
    ran = [job for job in oracle(played)["jobs"] if job["account"] == CHANNELS[9]]
    assert [job["command"] for job in ran] == ["animate", "button:ReDo"]
    made = [job["files"][0]["filename"] for job in ran]
    assert [job["attachments"][0]["filename"] for job in (parent, press)] == made


def test_a_failed_job_is_exit_1(played: Up) -> None:
    played.register(CHANNELS[4])

    done = played.run("job", "submit", "a storm [[sim outcome=failed]]", "--wait")

    assert done.returncode == 1
    assert " failed: " in done.stdout


def test_a_simulator_that_dies_comes_back_at_its_address_and_knows_the_accounts(tmp_path: Path) -> None:
    with Up(tmp_path / "state", "--port", "0", "--simulator") as up:
        up.register(CHANNELS[5], max_jobs=5)
        before = up.ready()["simulator"]
        os.kill(simulator_of(up), signal.SIGKILL)

        def is_declared() -> bool:
            try:
                return limits(up) == {CHANNELS[5]: 5}
            except httpx.TransportError:
                return False

        until(is_declared, f"the simulator back at {before}")


def test_accounts_of_an_earlier_run_are_declared_at_the_start_and_no_simulator_is_left(tmp_path: Path) -> None:
    with Up(tmp_path / "state", "--port", "0", "--simulator") as up:
        up.register(CHANNELS[6], max_jobs=6)
        assert up.stop() == 0

    with Up(tmp_path / "state", "--port", "0", "--simulator") as again:
        assert limits(again) == {CHANNELS[6]: 6}
        simulator = simulator_of(again)
        again.process.kill()
        again.process.wait()

        until(lambda: not Path(f"/proc/{simulator}").exists() or _is_zombie(simulator), "the simulator ends too")


def test_a_second_signal_does_not_wait_for_a_submission_in_flight(tmp_path: Path) -> None:
    state_dir = tmp_path / "state"
    with Up(state_dir, "--port", "0", "--simulator", **DEMO) as up:
        up.register(CHANNELS[7])
        up.run("job", "submit", "a silent sea [[sim submit=hang-after-accept seconds=60]]")
        until(lambda: oracle(up)["totals"]["accepted"], "the submission that gets no answer")
        up.process.send_signal(signal.SIGTERM)
        until(lambda: "worker stops" in up.log.read_text(), "the worker waits for it")

        assert up.stop() == 0

        assert "child is killed" in up.log.read_text()
        assert processes_of(state_dir) == []


def simulator_of(up: Up) -> int:
    """The child that is the simulator: it has nothing of ours in its environment."""
    children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
    (found,) = [int(pid) for pid in children if b"dispatcher.lifeline" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
