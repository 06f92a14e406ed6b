"""What RQ's tools may tell a running worker: `stop-job`, `stop-execution`, `shutdown`, over pub/sub."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import redis.asyncio
from redis.exceptions import RedisError

from dispatcher.log import get_logger

LISTEN_S = 30.0
RECONNECT_PAUSE_S = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Command:
    """One command; ``delivery_id`` is the delivery to stop."""

    kind: Literal["stop", "shutdown"]
    delivery_id: str = ""


def parse_command(data: object) -> Command | None:
    """Read a message; None if it is not a command for us (`kill-horse`: no horse runs here)."""
    try:
        payload: Any = json.loads(data) if isinstance(data, bytes | str) else None
    except ValueError:
        return None
    match payload:
        case {"command": "stop-job" | "stop-execution", "job_id": str(delivery_id)}:
            return Command("stop", delivery_id)
        case {"command": "shutdown"}:
            return Command("shutdown")
        case _:
            return None


async def listen(redis_url: str, channel: str) -> AsyncIterator[Command]:
    """Yield the commands sent to ``channel``, for ever, across the store's absences (what is sent then is lost)."""
    while True:
        client: Any = redis.asyncio.Redis.from_url(redis_url)
        try:
            async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
                await pubsub.subscribe(channel)
                while True:
                    message = await pubsub.get_message(timeout=LISTEN_S)
                    command = parse_command(message["data"]) if message else None
                    if command:
                        yield command
                    elif message:
                        log.warning("RQ command ignored", data=str(message["data"])[:200])
        except (RedisError, OSError):
            await asyncio.sleep(RECONNECT_PAUSE_S)
        finally:
            await client.aclose()
