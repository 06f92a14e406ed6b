"""The simulator as a process, one channel of it a test, and our clients that play there."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
from pydantic import SecretStr

from dispatcher.models import Message, Parent
from dispatcher.requests import Create, CreateSingle, Request
from dispatcher.settings import Settings
from tests.support.ledger import Gates, MemoryLedger, account_of, play
from tests.support.memory import memory_store
from workers.upstream import Ended, Outcome
from workers.upstream.discord import Discord

_channels = (str(number) for number in itertools.count(333_333_333_333_333_333))


class World:
    """One simulator, one channel of it, and clients to drive it with."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.channel = next(_channels)
        self.token = f"token-of-{self.channel}"
        self.gates = Gates()
        self.store = memory_store()
        self._opened: list[Discord] = []

    def settings(self, **changes: Any) -> Settings:
        quick = {"poll_min_s": 0.05, "poll_max_s": 0.2, "start_timeout_s": 0.6, "discord_pace_read_ms": 0}
        played: dict[str, Any] = {"discord_api_url": f"{self.url}/api/v9", "discord_upload_hosts": [self.url]}
        return Settings(**{**played, **quick, **changes})

    def discord(self, **changes: Any) -> Discord:
        opened = Discord(
            self.settings(**changes), open_secret=lambda account: SecretStr(account.sealed), store=self.store
        )
        self._opened.append(opened)
        return opened

    def ledger(self, directive: str = "", *, prompt: str = "a cat", kind: type[Create] = CreateSingle) -> MemoryLedger:
        words = f"{prompt} [[sim {directive}]]" if directive else prompt
        return self.ledger_of(kind(prompt=words, style="Realistic"))

    def ledger_of(self, request: Request, *, parent: Parent | None = None) -> MemoryLedger:
        return MemoryLedger(self.gates, request, account_of(self.channel, token=self.token), parent=parent)

    async def play(self, directive: str, **options: Any) -> Outcome:
        return await play(self.discord(), self.ledger(directive, **options))

    def oracle(self) -> dict[str, Any]:
        verdict: dict[str, Any] = httpx.get(f"{self.url}/sim/oracle").raise_for_status().json()
        return verdict

    def jobs(self) -> list[dict[str, Any]]:
        return [job for job in self.oracle()["jobs"] if job["account"] == self.channel]

    def accepted(self) -> int:
        count: int = self.oracle()["accounts"].get(self.channel, {"accepted": 0})["accepted"]
        return count

    def control(self, path: str, **body: Any) -> None:
        httpx.post(f"{self.url}/sim/{path}", json=body).raise_for_status()

    async def close(self) -> None:
        for opened in self._opened:
            await opened.close()
        for path in ("bot", "locale"):  # they are everybody's
            self.control(path)
        await self.store.close()


def assert_completed_with_own_file(world: World, outcome: Outcome) -> tuple[dict[str, Any], Message]:
    """The one job that the oracle has of this channel gave the outcome its files; that job, and the message."""
    [job] = world.jobs()
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert outcome.message is not None
    assert [a.filename for a in outcome.message.attachments] == [f["filename"] for f in job["files"]]
    return job, outcome.message
