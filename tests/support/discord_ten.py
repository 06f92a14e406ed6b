"""Ten equal prompts at once in one channel, and whose results their jobs got, by the oracle's word."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import httpx

from tests.support.discord_world import World
from tests.support.ledger import MemoryLedger, play
from workers.upstream import Ended, Outcome
from workers.upstream.discord import Discord

JOBS = 10
STEP_S = 0.55
"""A submission comes some 0.4 s after the one before it: so all ten run before the first ends, the last begun first."""


async def play_ten(
    world: World, *variants: str, workers: Sequence[Discord] = (), longest_s: float = 6
) -> list[tuple[MemoryLedger, Outcome]]:
    """Play ten equal jobs, the nth by the nth variant (around and around); check that they ended out of order."""
    for number in range(JOBS):
        seconds = longest_s - number * STEP_S
        variant = variants[number % len(variants)]
        variant = variant if "ack=" in variant else f"ack=0.1 {variant}"
        world.control("next", directive=f"seconds={seconds:g} {variant}", channel=world.channel)
    discords = workers or [world.discord()]
    before = world.accepted()
    ledgers = [world.ledger() for _ in range(JOBS)]

    outcomes = await asyncio.gather(*(play(discords[n % len(discords)], ledger) for n, ledger in enumerate(ledgers)))

    jobs = world.jobs()[-JOBS:]
    ends = [job["finished_ms"] for job in jobs]
    assert max(job["submitted_ms"] for job in jobs) < min(ends)
    assert ends != sorted(ends)
    assert world.accepted() - before == JOBS
    assert len({ledger.lease.remote_id for ledger in ledgers}) == JOBS
    return list(zip(ledgers, outcomes, strict=True))


async def tally(world: World, played: list[tuple[MemoryLedger, Outcome]]) -> Counter[str]:
    """Count ``own``, ``ambiguous``, ``another's`` and ``else``, by file names and by the marks in the files."""
    files = {job["reference"]: [file["filename"] for file in job["files"]] for job in world.jobs()}
    counts: Counter[str] = Counter()
    async with httpx.AsyncClient() as http:
        for ledger, outcome in played:
            assert isinstance(outcome, Ended)
            if outcome.message is None:
                is_told = (outcome.status, (outcome.error or "").partition(":")[0]) == ("failed", "ambiguous")
                counts["ambiguous" if is_told else "else"] += 1
                continue
            reference = str(ledger.lease.remote_id)
            [attachment] = outcome.message.attachments
            content = (await http.get(attachment.url)).raise_for_status().content
            is_own = [attachment.filename] == files[reference] and content.endswith(f"{reference}/1".encode())
            counts["own" if is_own and outcome.status == "completed" else "another's"] += 1
    return counts
