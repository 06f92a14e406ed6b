"""What a gateway session believes, and how it reads what it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection

from dispatcher.errors import AccountRejected, UpstreamBlocked, UpstreamUnavailable
from workers.upstream.discord.gateway.address import socket_url
from workers.upstream.discord.gateway.closes import CLOSES, error_of, meaning_of
from workers.upstream.discord.gateway.connection import HELLO, SENDS_MAX, Connection, Unusable
from workers.upstream.discord.gateway.events import InteractionTold, MessageGone, MessageTold, event_of
from workers.upstream.discord.gateway.session import Pauses

DISCORD = "https://discord.com/api/v9"
PAGE = Path(__file__).parents[2] / "docs" / "upstream.md"


@pytest.mark.parametrize(
    ("named", "api_url", "expected"),
    [
        ("wss://gateway.discord.gg", DISCORD, "wss://gateway.discord.gg/?v=9&encoding=json"),
        ("wss://gateway-us-east1-b.discord.gg/", DISCORD, "wss://gateway-us-east1-b.discord.gg/?v=9&encoding=json"),
        ("ws://127.0.0.1:9/gateway", "http://127.0.0.1:9/api/v10", "ws://127.0.0.1:9/gateway?v=10&encoding=json"),
        ("wss://discord.com/", "https://discord.com/api", "wss://discord.com/?v=9&encoding=json"),
    ],
)
def test_a_socket_is_opened_with_the_apis_version_where_the_server_says(
    named: str, api_url: str, expected: str
) -> None:
    assert socket_url(named, api_url=api_url, hosts=["discord.gg"]) == expected


@pytest.mark.parametrize(
    "named",
    [
        "ws://gateway.discord.gg",
        "wss://gateway.discord.gg.example",
        "wss://evildiscord.gg",
        "wss://gateway.discord.gg@example.com",
        "wss://user@gateway.discord.gg",
        "https://gateway.discord.gg",
        "wss://gateway.discord.gg:port",
        "",
    ],
)
def test_the_token_is_sent_nowhere_else(named: str) -> None:
    with pytest.raises(UpstreamUnavailable):
        socket_url(named, api_url=DISCORD, hosts=["discord.gg"])


def test_every_close_code_of_the_page_means_what_the_page_says() -> None:
    table = PAGE.read_text().split("| closed with |")[1].split("\n\n")[0].splitlines()[2:]
    said = {
        int(code): row.split("|")[3].strip() for row in table for code in re.findall(r"\b4\d{3}\b", row.split("|")[1])
    }
    words = {"resume": "resume", "identify": "identify anew", "reject": "stop; as a 401", "stop": "stop"}

    assert {code: words[meaning_of(code).then] for code in said} == said
    assert {close.code for close in CLOSES} <= set(said)
    assert meaning_of(None).then == meaning_of(4999).then == "resume"


def test_a_refused_token_is_the_accounts_fault_and_every_other_stop_the_fleets() -> None:
    stops = [close for close in CLOSES if close.then in {"reject", "stop"}]

    accounts = {close.code for close in stops if isinstance(error_of(close), AccountRejected)}
    fleets = {close.code for close in stops if isinstance(error_of(close), UpstreamBlocked)}
    assert (accounts, fleets) == ({4004}, set(range(4010, 4016)))
    assert all(close.advice in str(error_of(close)) != "" for close in stops)


def test_events_are_read_and_what_does_not_concern_us_is_passed_over() -> None:
    message = {"id": "7", "channel_id": "5", "nonce": 12, "content": "a"}

    assert event_of("INTERACTION_CREATE", {"id": "9", "nonce": "1"}) == InteractionTold(9, "1", "created")
    assert event_of("INTERACTION_FAILURE", {"id": "9", "reason_code": 2}) == InteractionTold(9, None, "failed", 2)
    assert event_of("MESSAGE_CREATE", message) == MessageTold(7, "5", message, is_new=True, nonce="12")
    assert event_of("MESSAGE_DELETE", {"id": "7", "channel_id": "5"}) == MessageGone(7, "5")
    assert event_of("TYPING_START", {}) is event_of(None, None) is event_of("MESSAGE_CREATE", {"id": "x"}) is None


def test_pauses_double_up_to_their_bound_and_are_never_alike() -> None:
    pauses = Pauses(1.0, 60.0)

    drawn = [[pauses.after(troubles) for _ in range(50)] for troubles in range(12)]

    for troubles, values in enumerate(drawn):
        longest_s = min(60.0, 2.0**troubles)
        assert longest_s / 2 <= min(values) < max(values) <= longest_s


class Socket:
    """The other end: says what it is told to, and keeps what it hears."""

    def __init__(self, *says: str) -> None:
        self.says = list(says)
        self.heard: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None

    async def recv(self) -> str:
        return self.says.pop(0)

    async def send(self, text: str) -> None:
        self.heard.append(json.loads(text))

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def connection(self) -> Connection:
        return Connection(cast("ClientConnection", self))


@pytest.mark.parametrize(
    "said",
    ["{", "[]", '{"op": "x"}', '{"op": 0, "t": "READY"}', '{"op": 10, "d": {"heartbeat_interval": 0}}', '{"op": 10}'],
)
async def test_a_gateway_that_does_not_begin_with_hello_is_left(said: str) -> None:
    with pytest.raises(Unusable):
        await Socket(said).connection().hello()


async def test_acknowledgements_are_taken_in_on_the_way() -> None:
    hello = json.dumps({"op": HELLO, "d": {"heartbeat_interval": 41_250}})

    assert await Socket('{"op": 11}', hello).connection().hello() == 41.25


async def test_no_more_is_sent_in_a_minute_than_discord_bears() -> None:
    socket = Socket()
    connection = socket.connection()
    for _ in range(SENDS_MAX):
        await connection.beat(None)

    with pytest.raises(Unusable):
        await connection.beat(None)
    assert len(socket.heard) == SENDS_MAX < 120


@pytest.mark.parametrize(("is_spent", "why"), [(False, "no acknowledgement"), (True, "payloads in a minute")])
async def test_a_connection_without_heartbeats_is_closed_so_that_its_session_can_be_resumed(
    is_spent: bool, why: str
) -> None:
    socket = Socket()
    connection = socket.connection()
    for _ in range(SENDS_MAX if is_spent else 0):
        await connection.beat(None)

    await connection.keep_beating(0.001, lambda: 7)

    assert socket.closed is not None
    assert socket.closed[0] not in {1000, 1001}
    assert why in socket.closed[1]
    assert socket.heard[-1] == {"op": 1, "d": None if is_spent else 7}
