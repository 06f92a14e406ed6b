"""Our client against a Discord that we did not write: simcord, with a bot written with discord.py in it.

Whose result is whose, the bot itself knows: it names its files after the interaction that it answers.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dispatcher.models import Parent
from dispatcher.requests import Animate, Button, Create, CreateSingle, MemeFace, Request
from dispatcher.settings import Settings
from dispatcher.storage import Storage
from tests.support.images import jpeg, png
from tests.support.ledger import Gates, MemoryLedger, account_of, play
from tests.support.memory import memory_store
from workers.upstream import Ended, Outcome, Refused
from workers.upstream.discord import Discord

PROMPT = "a cat — asleep  (10% failed)"
MADE: dict[str, Callable[[], Request]] = {
    "create": lambda: Create(prompt=PROMPT, style="Anime", aspect_ratio="1:1", negative_prompt="dogs"),
    "create_single": lambda: CreateSingle(prompt=PROMPT, style="Anime", aspect_ratio="1:1", negative_prompt="dogs"),
    "animate": lambda: Animate(image=png(), prompt=PROMPT, motion=3, seed_value=7, hd_quality="No"),
    "meme_face": lambda: MemeFace(face=jpeg(), prompt=PROMPT, aspect_ratio="1:1", seed_value=7),
}
WAYS = ("edit", "followup", "message", "components")
Beside = Callable[[Callable[..., Awaitable[None]], Iterable[tuple[Any, ...]]], Awaitable[None]]
EACH_COMMAND = pytest.mark.parametrize("kind", MADE)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.support.simcord_discord"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}  # discord.py imports what 3.13 removes
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(20)


class Elsewhere:
    """A server, a channel and a user in simcord's Discord, and our clients there."""

    def __init__(self, url: str, storage_url: str, *, into: Elsewhere | None = None) -> None:
        self.url = url
        self.storage_url = storage_url
        body: dict[str, str] = {"server": into.server} if into else {}
        place: dict[str, str] = self._post("world", **body)
        self.channel, self.token = place["channel"], place["token"]
        self.server: str = place["server"]
        self.gates = Gates()
        self._opened: list[Discord] = []
        self.store = memory_store()

    def _post(self, path: str, **body: Any) -> Any:
        answer = httpx.post(f"{self.url}/{path}", json=body, timeout=60).raise_for_status()
        return answer.json() if answer.content else None

    def plan(self, *plans: dict[str, Any]) -> None:
        self._post("plans", channel=self.channel, plans=list(plans))

    def records(self) -> list[dict[str, Any]]:
        records = httpx.get(f"{self.url}/records", timeout=60).raise_for_status().json()
        return [record for record in records if record["channel"] == self.channel]

    def discord(self, **changes: Any) -> Discord:
        quick = {"poll_min_s": 0.05, "poll_max_s": 0.2, "start_timeout_s": 2.0, **changes}
        places: dict[str, Any] = {"storage_url": self.storage_url, "discord_upload_hosts": [self.url]}
        settings = Settings(discord_api_url=f"{self.url}/api/v9", **places, **quick)
        discord = Discord(settings, open_secret=lambda account: SecretStr(account.sealed), store=self.store)
        self._opened.append(discord)
        return self._opened[-1]

    def bump_versions(self) -> None:
        self._post("versions/bump")

    def ledger(self, request: Request | None = None, *, parent: Parent | None = None, **account: Any) -> MemoryLedger:
        request = request or CreateSingle(prompt=PROMPT, style="Realistic")
        for upload in request.uploads().values():
            Storage(self.storage_url).keep(upload)
        place = {"token": self.token, "server": self.server, **account}
        return MemoryLedger(self.gates, request, account_of(place.pop("channel", self.channel), **place), parent=parent)

    async def play(self, plan: dict[str, Any], request: Request | None = None) -> Outcome:
        self.plan(plan)
        return await play(self.discord(), self.ledger(request))

    async def press(self, plan: dict[str, Any], label: str = "ReDo") -> Outcome:
        """Press a button below a result that is made for it."""
        ledger = self.ledger()
        completed = await play(self.discord(), ledger)
        assert isinstance(completed, Ended)
        assert completed.message is not None
        below = Parent(
            jobid=ledger.job.jobid,
            messageId=completed.message.messageId,
            command="create_single",
            prompt=ledger.job.prompt,
            files=tuple(file.id for file in completed.message.attachments),
        )
        self.plan(plan)
        return await play(self.discord(), self.ledger(Button(jobid=below.jobid, button=label), parent=below))

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        await self.store.close()


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return (tmp_path / "results").as_uri()


@pytest.fixture
async def there(url: str, storage_url: str) -> AsyncIterator[Elsewhere]:
    opened = Elsewhere(url, storage_url)
    yield opened
    await opened.close()


@pytest.fixture
def beside(url: str, storage_url: str) -> Beside:
    """Plays cases side by side, each in a channel of its own."""

    async def play_all(check: Callable[..., Awaitable[None]], cases: Iterable[tuple[Any, ...]]) -> None:
        listed = list(cases)
        places = [Elsewhere(url, storage_url) for _ in listed]
        try:
            ends = await asyncio.gather(
                *(check(place, *case) for place, case in zip(places, listed, strict=True)), return_exceptions=True
            )
        finally:
            for place in places:
                await place.close()
        failures = {case: end for case, end in zip(listed, ends, strict=True) if end is not None}
        assert failures == {}

    return play_all


def assert_own(record: dict[str, Any], outcome: Outcome) -> None:
    assert isinstance(outcome, Ended)
    assert (outcome.status, outcome.error) == ("completed", None)
    assert outcome.message is not None
    assert [file.filename for file in outcome.message.attachments] == record["files"]


@EACH_COMMAND
async def test_each_command_is_completed_by_each_way_of_delivery(beside: Beside, kind: str) -> None:
    async def check(there: Elsewhere, result: str, is_deferred: bool) -> None:
        request = MADE[kind]()

        outcome = await there.play({"result": result, "is_deferred": is_deferred}, request)

        [record] = there.records()
        assert record["command"] == kind
        assert record["uploads"] == {name: upload.size for name, upload in request.uploads().items()}
        assert_own(record, outcome)

    await beside(check, product(WAYS, (True, False)))


@pytest.mark.parametrize("label", ["🔀", "ReDo"])
async def test_a_press_is_completed_by_each_way_of_delivery(beside: Beside, label: str) -> None:
    async def check(there: Elsewhere, result: str) -> None:
        outcome = await there.press({"result": result}, label)

        record = there.records()[-1]
        assert record["command"] == f"button:{label}"
        assert_own(record, outcome)

    await beside(check, product((*WAYS, "update")))


@pytest.mark.parametrize("outcome", ["failed", "moderated"])
async def test_a_refusal_of_a_press_is_read_by_each_way_of_delivery(beside: Beside, outcome: str) -> None:
    async def check(there: Elsewhere, result: str) -> None:
        ended = await there.press({"result": result, "outcome": outcome})

        assert isinstance(ended, Ended)
        assert ended.status == outcome

    await beside(check, product((*WAYS, "update")))


async def test_a_press_whose_answer_is_not_listed_never_started(beside: Beside) -> None:
    async def check(there: Elsewhere, outcome: str) -> None:
        ended = await there.press({"outcome": outcome})

        assert isinstance(ended, Ended)
        assert (ended.error or "").startswith("not started: ")
        assert (ended.error or "").endswith("; the button probably opened a form, which is not filled in")

    await beside(check, product(("ephemeral", "silent", "modal")))


async def test_a_press_for_which_the_bot_is_busy_is_handed_back(there: Elsewhere) -> None:
    refused = await there.press({"outcome": "busy"})

    assert isinstance(refused, Refused)
    assert refused.cools == "said"


@EACH_COMMAND
async def test_a_refusal_is_read_by_each_way_of_delivery(beside: Beside, kind: str) -> None:
    async def check(there: Elsewhere, outcome: str, result: str) -> None:
        ended = await there.play({"result": result, "outcome": outcome}, MADE[kind]())

        assert isinstance(ended, Ended)
        assert ended.status == outcome

    await beside(check, product(("failed", "moderated"), WAYS))


async def test_a_bot_that_is_busy_has_the_job_handed_back(beside: Beside) -> None:
    async def check(there: Elsewhere, kind: str) -> None:
        refused = await there.play({"outcome": "busy"}, MADE[kind]())

        assert isinstance(refused, Refused)
        assert refused.cools == "said"

    await beside(check, product(MADE))


async def test_a_refusal_that_is_not_listed_is_a_job_that_never_started(beside: Beside) -> None:
    async def check(there: Elsewhere, kind: str, outcome: str) -> None:
        ended = await there.play({"outcome": outcome}, MADE[kind]())

        assert isinstance(ended, Ended)
        assert (ended.error or "").startswith("not started: ")
        assert len(there.records()) == 1

    await beside(check, product(MADE, ("ephemeral", "silent")))


async def test_a_deleted_answer_ends_the_job(there: Elsewhere) -> None:
    assert await there.play({"outcome": "deleted", "seconds": 1.5}) == Ended(
        status="failed", error="the bot deleted its message"
    )


async def test_ten_equal_prompts_get_their_own_results_in_another_order(there: Elsewhere) -> None:
    ways = ("edit", "followup", "components")
    there.plan(*({"seconds": 6 - n * 0.55, "result": ways[n % len(ways)]} for n in range(10)))
    discord, ledgers = there.discord(), [there.ledger() for _ in range(10)]

    outcomes = await asyncio.gather(*(play(discord, ledger) for ledger in ledgers))

    records = {record["interaction"]: record for record in there.records()}
    assert len(records) == 10
    for ledger, outcome in zip(ledgers, outcomes, strict=True):
        assert_own(records[str(ledger.lease.remote_id)], outcome)


async def test_equal_prompts_whose_results_name_no_interaction_say_so(there: Elsewhere) -> None:
    there.plan(*({"seconds": 1.5 - n * 0.5, "result": "message"} for n in range(3)))
    discord = there.discord()

    outcomes = await asyncio.gather(*(play(discord, there.ledger()) for _ in range(3)))

    assert [(outcome.error or "")[:10] for outcome in outcomes if isinstance(outcome, Ended)] == ["ambiguous:"] * 3


@pytest.mark.parametrize(
    ("account", "code"),
    [
        ({"token": "nobodys"}, "HTTP 401, code 0"),
        ({"server": "123456789012345678"}, "HTTP 404, code 10004"),
        ({"channel": "123456789012345678"}, "HTTP 404, code 10003"),
    ],
)
async def test_what_is_the_accounts_fault_disables_it(there: Elsewhere, account: dict[str, Any], code: str) -> None:
    refused = await play(there.discord(), there.ledger(None, **account))

    assert isinstance(refused, Refused)
    assert refused.disable == "check"
    assert code in refused.reason


async def test_a_command_that_was_published_again_is_read_and_sent_again(there: Elsewhere) -> None:
    discord = there.discord()
    first = await play(discord, there.ledger())
    there.bump_versions()

    second = await play(discord, there.ledger())

    for record, outcome in zip(there.records(), (first, second), strict=True):
        assert_own(record, outcome)


async def test_another_users_answers_are_not_ours(there: Elsewhere, url: str) -> None:
    """The command of a person in the same channel, at the same time, with the same prompt."""
    other = Elsewhere(url, there.storage_url, into=there)
    there.plan({"seconds": 1.2}, {"seconds": 0.4})
    ledgers = [there.ledger(), other.ledger()]

    outcomes = await asyncio.gather(play(there.discord(), ledgers[0]), play(other.discord(), ledgers[1]))
    await other.close()

    records = {record["interaction"]: record for record in there.records()}
    assert len(records) == 2
    for ledger, outcome in zip(ledgers, outcomes, strict=True):
        assert_own(records[str(ledger.lease.remote_id)], outcome)


async def test_a_stranger_of_the_server_is_refused(url: str, there: Elsewhere) -> None:
    other = Elsewhere(url, there.storage_url)

    refused = await play(there.discord(), there.ledger(server=other.server))

    assert isinstance(refused, Refused)
    assert "HTTP 403, code 50001" in refused.reason


async def test_a_check_finds_an_account_well(there: Elsewhere) -> None:
    assert (await there.discord().check(there.ledger().account)).finding == "ok"
