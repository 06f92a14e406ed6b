"""A user of the simulator: what a person would do by hand, for the tests of the fake itself."""

from __future__ import annotations

import itertools
import ssl
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable

SERVER_ID = "111111111111111111"
TIMEOUT_S = 5.0
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading the authorities for each client is slower than a test

T = TypeVar("T")

_channel_ids = (str(number) for number in itertools.count(222_222_222_222_222_222))


class Player:
    """A user with a channel that nobody else plays in."""

    def __init__(self, url: str, token: str = "a-token") -> None:
        self.url = url
        self.token = token
        self.channel_id = next(_channel_ids)
        self.http = httpx.Client(base_url=f"{url}/api/v9", headers={"authorization": token}, verify=NO_TLS)
        index = self.get(f"/guilds/{SERVER_ID}/application-command-index")
        self.application_id = next(app["id"] for app in index["applications"] if app["name"] == "PixVerse")
        self.commands = {
            command["name"]: command
            for command in index["application_commands"]
            if command["application_id"] == self.application_id
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self.http.get(path, params=query).raise_for_status().json()

    def control(self, path: str, **body: Any) -> None:
        httpx.post(f"{self.url}/sim/{path}", json=body, verify=NO_TLS).raise_for_status()

    def interaction(self, name: str, options: dict[str, Any], **data: Any) -> dict[str, Any]:
        command = self.commands[name]
        types = {option["name"]: option["type"] for option in command["options"]}
        filled = [{"type": types[key], "name": key, "value": value} for key, value in options.items()]
        identity = {"id": command["id"], "version": command["version"], "name": name, "type": 1}
        return self._envelope(2, {**identity, "options": filled, **data})

    def press_of(self, message: dict[str, Any], label: str) -> dict[str, Any]:
        press = {"component_type": 2, "custom_id": custom_ids_of(message)[label]}
        return self._envelope(3, press) | {"message_id": message["id"], "message_flags": 0}

    def send(self, interaction: dict[str, Any]) -> httpx.Response:
        return self.http.post("/interactions", json=interaction)

    def create(self, prompt: str, name: str = "create_single") -> httpx.Response:
        return self.send(self.interaction(name, {"prompt": prompt, "style": "Realistic"}))

    def play(self, directive: str, name: str = "create_single") -> dict[str, Any]:
        """Submit, wait until the job has ended and return its record."""
        assert self.create(f"a cat [[sim {directive}]]", name).status_code == 204
        return self.finished_job()

    def messages(self, **query: Any) -> list[dict[str, Any]]:
        page: list[dict[str, Any]] = self.get(f"/channels/{self.channel_id}/messages", **query)
        return page

    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in oracle_of(self.url)["jobs"] if job["account"] == self.channel_id]

    def finished_job(self) -> dict[str, Any]:
        return wait_for(lambda: next((job for job in self.jobs()[-1:] if job["finished_ms"]), None))

    def account(self) -> dict[str, Any]:
        account: dict[str, Any] = oracle_of(self.url)["accounts"][self.channel_id]
        return account

    def _envelope(self, kind: int, data: dict[str, Any]) -> dict[str, Any]:
        place = {"guild_id": SERVER_ID, "channel_id": self.channel_id, "session_id": "0" * 32, "nonce": "1"}
        return {"type": kind, "application_id": self.application_id, **place, "data": data}


def wait_for(condition: Callable[[], T | None]) -> T:
    end_s = time.monotonic() + TIMEOUT_S
    while (found := condition()) is None:
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.005)
    return found


def oracle_of(url: str) -> dict[str, Any]:
    verdict: dict[str, Any] = httpx.get(f"{url}/sim/oracle", verify=NO_TLS).raise_for_status().json()
    return verdict


def custom_ids_of(message: dict[str, Any]) -> dict[str, str]:
    buttons = [button for row in message["components"] for button in row["components"]]
    return {button.get("label") or button["emoji"]["name"]: button["custom_id"] for button in buttons}
