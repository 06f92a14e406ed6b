"""The contract's own cases (tests/data/cases.json, kept whole) against the API: those of the account endpoints."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.api import ACCOUNTS, SERVER, account_body, discord_token

CASES: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "cases.json").read_text())
ACCOUNT_CASES = [
    case for case in CASES["cases"] if case.get("request", {}).get("path", "").split("?")[0].startswith(ACCOUNTS)
]
NO_ACCOUNT = "no accounts stored"
STORED = re.compile(r"account (?P<channel>\d+) stored \(discord (?P<discord>\S+), maxJobs (?P<max_jobs>\d+)\)")


class Runner:
    """Plays one case: what must be there before, the request, its answer, and the requests that follow."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self.client = client
        self.token = token
        self.values = {
            "{{TOKEN}}": token,
            "{{SERVER}}": SERVER,
            "{{DISCORD_A}}": discord_token("A"),
            "{{DISCORD_B}}": discord_token("B"),
        }

    def filled(self, value: Any) -> Any:
        """Fill the placeholders; one that is not known must not pass for a value."""
        text = json.dumps(value)
        for name, filling in self.values.items():
            text = text.replace(name, filling)
        assert "{{" not in text
        return json.loads(text)

    async def play(self, case: dict[str, Any]) -> None:
        for setup in self.filled(case.get("setup", [])):
            await self.set_up(setup)
        request = self.filled(case["request"])
        self.check(await self.send(request, request["headers"]), case["expect"])
        for step in case.get("then", []):
            answer = await self.send(self.filled(step), {"Authorization": f"Bearer {self.token}"})
            self.check(answer, step["expect"])

    async def set_up(self, setup: str) -> None:
        if setup == NO_ACCOUNT:
            return
        stored = STORED.fullmatch(setup)
        assert stored, f"a setup that this runner does not know: {setup}"
        channel = stored["channel"]
        body = account_body(channel, discord=stored["discord"], maxJobs=int(stored["max_jobs"]))
        headers = {"Authorization": f"Bearer {self.token}"}
        assert (await self.client.post(f"{ACCOUNTS}/{channel}", json=body, headers=headers)).status_code == 204

    async def send(self, request: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
        content = json.dumps(request["body"]).encode() if "body" in request else None
        return await self.client.request(request["method"], request["path"], content=content, headers=headers)

    def check(self, answer: httpx.Response, expected: dict[str, Any]) -> None:
        for name, value in self.filled(expected).items():
            match name:
                case "status":
                    assert answer.status_code == value
                case "json":
                    assert answer.json() == value
                case "json_subset":
                    assert _contains(answer.json(), value)
                case "json_keys" | "json_has_keys":
                    assert set(value) <= answer.json().keys()
                case "body_empty":
                    assert (answer.content == b"") is value
                case "body_contains":
                    assert value in answer.text
                case _:
                    pytest.fail(f"an expectation that this runner does not know: {name}")


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(name in whole and _contains(whole[name], value) for name, value in part.items())
    return bool(whole == part)


@pytest.mark.parametrize("case", ACCOUNT_CASES, ids=[case["id"] for case in ACCOUNT_CASES])
async def test_case(case: dict[str, Any], stranger: httpx.AsyncClient, user_token: str) -> None:
    await Runner(stranger, user_token).play(case)


def test_the_cases_are_whole_and_none_of_the_accounts_is_left_out() -> None:
    assert len(CASES["cases"]) == CASES["count"] == 87
    assert Counter(case["certainty"] for case in ACCOUNT_CASES) == {"documented": 16, "sibling": 3, "assumed": 1}
    families = Counter(case["id"].split("-")[0] for case in ACCOUNT_CASES)
    assert families == {"auth": 7, "acc": 13}
    assert {case["id"] for case in CASES["cases"] if case["id"].startswith("acc-")} <= {
        case["id"] for case in ACCOUNT_CASES
    }
