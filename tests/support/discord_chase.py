"""A pursuit under way in memory: a test shows it looks, and tells it what a session would."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from tests.support.discord_messages import ME, born_at, message_of, raw_message
from tests.support.ledger import Gates, MemoryLedger, account_of
from tests.support.memory import memory_store
from workers.upstream import Outcome
from workers.upstream.discord.brief import Brief
from workers.upstream.discord.fates import HINT, Fates, Told
from workers.upstream.discord.matching import Expected
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook
from workers.upstream.discord.pursuit import Pursuit
from workers.upstream.discord.watch import Look, Watch

SENT_MS = 1_800_000_000_000
REMOTE = born_at(SENT_MS + 300)


class Eyes:
    """Stands in the observer's place: shows what a test tells it to."""

    def __init__(self) -> None:
        self.readable = True
        self.wanted = 0
        self.page: list[ChannelMessage] = []

    def enter(self, watch: Watch) -> None: ...

    def leave(self, watch: Watch) -> None: ...

    def prompts(self) -> dict[int, str]:
        return {}

    async def is_readable(self) -> bool:
        return self.readable

    async def message(self, message_id: int) -> ChannelMessage | None:
        raise AssertionError(f"nobody asked for {message_id}")

    async def want_list(self) -> None:
        self.wanted += 1

    async def page_before(self, message_id: int) -> list[ChannelMessage]:
        assert self.page, f"nobody asked for what is before {message_id}"
        return self.page


NONCES = ("71", "72")


class Chase:
    """One pursuit under way; `look` shows it something and waits until it has taken that in.

    ``remote_id``: by which it was known when this worker got it.
    """

    def __init__(self, *, remote_id: int | None = None, **brief: Any) -> None:
        self.gates = Gates()
        self.fates = Fates(memory_store())
        self.ear = self.fates.ear("d", NONCES)
        self.eyes = Eyes()
        self.ledger = MemoryLedger(self.gates, CreateSingle(prompt="a cat", style="Realistic"), account_of("5"))
        self.ledger._lease = replace(self.ledger.lease, state="S", submitted_ms=SENT_MS)
        if remote_id is not None:
            self.ledger._lease = replace(self.ledger.lease, state="A", remote_id=str(remote_id))
        self.watch = Watch(self.eyes, since_id=0, sent_s=0, is_unanswered=True, prompt="a cat", ear=self.ear)
        self.brief = Brief(
            phrases=Phrasebook(Settings()),
            files=1,
            own_words=("a cat",),
            absent_after_s=100,
            expected=Expected(user_id=ME, command="create", earliest_ms=SENT_MS - 2000, latest_ms=SENT_MS + 24_000),
            no_progress_s=600,
            is_over=False,
            secret_version="1",
        )
        self.brief = replace(self.brief, **brief)
        self.task: asyncio.Task[Outcome] | None = None

    def start(self) -> None:
        """Let it run."""
        if self.task is None:
            self.task = asyncio.create_task(self._run(), name="pursuit")

    async def _run(self) -> Outcome:
        with self.watch:
            return await Pursuit(self.ledger, self.watch, self.brief).run()

    async def tell(self, told: Told, interaction: int = REMOTE, nonce: str | None = NONCES[0], reason: int = 0) -> None:
        """Let a session tell, and the hint arrive."""
        await self.fates.tell("d", interaction, nonce, told, reason)
        await self._hear(interaction, nonce)

    async def tell_unlisted(self, text: str, *, flags: int = 64, **more: Any) -> None:
        """Let a session tell a message that only its user sees."""
        raw = raw_message(REMOTE + 3, text, interaction=REMOTE, flags=flags, **more)
        await self.fates.tell_unlisted("d", REMOTE, NONCES[0], raw)
        await self._hear(REMOTE, NONCES[0])

    async def _hear(self, interaction: int, nonce: str | None) -> None:
        self.start()
        self.fates.hear(f"{HINT}d {interaction} {nonce or ''}")
        await self.settled()

    async def settled(self) -> None:
        """Wait until it has taken in what there is."""
        for _ in range(100):
            await asyncio.sleep(0)

    async def look(self, *messages: ChannelMessage, at_s: float = 1, listed: set[int] | None = None) -> None:
        self.start()
        present = frozenset(message.id for message in messages) if listed is None else frozenset(listed)
        self.watch.show(Look(at_s, messages, present))
        await self.settled()

    async def outcome(self) -> Outcome:
        assert self.task is not None
        async with asyncio.timeout(1):
            return await self.task

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()


def answer(text: str = "", message_id: int = REMOTE + 5, **more: Any) -> ChannelMessage:
    return message_of(message_id, text, **{"interaction": REMOTE, "flags": 0 if text else 128, **more})
