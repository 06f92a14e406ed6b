from __future__ import annotations

import httpx

from tests.support.memory import unhurried
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.rest import Rest
from workers.upstream.wire import Wire


async def test_a_servers_id_cannot_lead_to_another_endpoint() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        await Rest("http://discord/api/v9", Wire("discord", http), UpstreamClock(), unhurried()).command_index(
            "a-token", "../users/@me?x="
        )

    assert asked == [b"/api/v9/guilds/..%2Fusers%2F%40me%3Fx%3D/application-command-index"]
