"""A process that keeps a token's session while the place at it is its own: for tests that kill and freeze it.

Arguments: Redis URL, namespace, simulator URL, token, ttl in seconds. A line on stdout for each session that is up.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from functools import partial

from dispatcher.connection import open_async_store
from dispatcher.settings import Settings
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.gateway.address import socket_url
from workers.upstream.discord.gateway.events import Event, SessionUp
from workers.upstream.discord.gateway.seat import Seat
from workers.upstream.discord.gateway.session import Pauses, Session
from workers.upstream.discord.limits import limits_of
from workers.upstream.discord.rest import Rest
from workers.upstream.pacing import Pacing
from workers.upstream.wire import Wire


def _say(event: Event) -> None:
    if isinstance(event, SessionUp):
        sys.stdout.write("up\n")
        sys.stdout.flush()


async def main(redis_url: str, namespace: str, url: str, token: str, ttl_s: str) -> None:
    """Serve until killed."""
    api_url = f"{url}/api/v9"
    store = open_async_store(redis_url, namespace)
    rest = Rest(api_url, Wire("discord"), UpstreamClock(), Pacing(store, limits_of(Settings())))

    async def session() -> None:
        check = partial(socket_url, api_url=api_url, hosts=())
        await Session(
            token, find=lambda: rest.gateway_url(token), check=check, take=_say, pauses=Pauses(0.05, 0.2)
        ).run()

    seat = Seat(store, token, owner=uuid.uuid4().hex, ttl_s=float(ttl_s))
    await seat.serve(session)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
