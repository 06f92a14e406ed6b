"""The simulator's gateway: what Discord's page on it says, and what its controls make of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from simulator.process import running
from tests.support.listener import Listener, listening
from tests.support.player import NO_TLS, Player, oracle_of, wait_for


@pytest.fixture
def token(player: Player) -> str:
    """A user whom no other test of this simulator has."""
    player.token = f"token-of-{player.channel_id}"
    player.http.headers["authorization"] = player.token
    return player.token


def sessions_of(player: Player) -> dict[str, int]:
    user_id = player.get("/users/@me")["id"]
    counts: dict[str, int] = oracle_of(player.url)["sessions"].get(user_id, {})
    return counts


def play(player: Player, directive: str) -> None:
    player.create(f"a cat [[sim {directive}]]").raise_for_status()


def declare(url: str, token: str) -> None:
    body = {"token": token, "server": "1", "channel": "5", "max_jobs": 1}
    httpx.post(f"{url}/sim/accounts", json=body, verify=NO_TLS).raise_for_status()


async def ended(listener: Listener) -> dict[str, Any]:
    """Listen until a message has its files."""
    payload = await listener.until(lambda p: bool((p["t"] or "").startswith("MESSAGE_") and p["d"].get("attachments")))
    data: dict[str, Any] = payload["d"]
    return data


async def test_the_api_says_where_the_gateway_is(player: Player) -> None:
    assert player.get("/gateway") == {"url": f"{player.url.replace('http', 'ws')}/gateway"}


async def test_hello_comes_first_and_each_heartbeat_is_acknowledged(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        hello = await listener.op(10)
        await listener.send(1, None)
        await listener.op(11)

    assert hello["d"] == {"heartbeat_interval": 41_250}


async def test_a_session_hears_its_job_from_the_interaction_to_the_files(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        ready = await listener.identify(token)
        play(player, "seconds=0.3 ack=0.1")
        last = await ended(listener)

    [job] = player.jobs()
    told = [payload for payload in listener.heard if payload["t"] and payload["t"] != "READY"]
    assert [payload["t"] for payload in told] == [
        "INTERACTION_CREATE",
        "INTERACTION_SUCCESS",
        "MESSAGE_CREATE",
        "MESSAGE_UPDATE",
    ]
    assert [payload["d"]["id"] for payload in told[:2]] == [job["reference"]] * 2
    assert [payload["d"].get("nonce") for payload in told] == ["1", "1", "1", None]
    assert [payload["s"] for payload in told] == [2, 3, 4, 5]
    assert (ready["user"]["id"], ready["v"]) == (player.get("/users/@me")["id"], 9)
    assert [file["filename"] for file in last["attachments"]] == [file["filename"] for file in job["files"]]


async def test_what_a_session_hears_of_a_message_is_what_the_list_shows(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        play(player, "seconds=0.1 ack=0")
        heard = await ended(listener)

    [listed] = player.messages()
    assert heard.pop("guild_id").isdecimal()
    heard.pop("nonce", None)
    for link in ("url", "proxy_url"):
        assert (
            heard["attachments"][0].pop(link).partition("?")[0] == listed["attachments"][0].pop(link).partition("?")[0]
        )
    assert heard == listed


async def test_a_deletion_is_told(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        play(player, "seconds=0.2 ack=0.1 outcome=deleted")
        created = await listener.event("MESSAGE_CREATE")
        deleted = await listener.event("MESSAGE_DELETE")

    assert (deleted["id"], deleted["channel_id"]) == (created["id"], player.channel_id)


@pytest.mark.parametrize(
    ("says", "words"), [("busy", "too many jobs"), ("moderated", "was blocked"), ("failed", "Generation failed")]
)
async def test_an_ephemeral_refusal_is_told_to_its_user_and_never_listed(
    player: Player, token: str, says: str, words: str
) -> None:
    async with listening(player.url) as listener, listening(player.url) as stranger:
        await listener.identify(token)
        await stranger.identify(f"{token}-of-somebody-else")
        play(player, f"outcome=ephemeral seconds=0.1 says={says}")
        message = await listener.event("MESSAGE_CREATE")
        await stranger.send(1, None)
        await stranger.op(11)

    assert (message["flags"], message["nonce"]) == (64, "1")
    assert words in message["content"]
    assert (player.messages(), stranger.names()) == ([], ["READY"])


async def test_an_ephemeral_refusal_may_be_the_edit_of_an_ephemeral_thinking_message(
    player: Player, token: str
) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        play(player, "outcome=ephemeral loading=yes ack=0.1 seconds=0.3 says=failed")
        created = await listener.event("MESSAGE_CREATE")
        edited = await listener.event("MESSAGE_UPDATE")

    assert listener.names() == [
        "READY",
        "INTERACTION_CREATE",
        "INTERACTION_SUCCESS",
        "MESSAGE_CREATE",
        "MESSAGE_UPDATE",
    ]
    assert (created["flags"], created["content"], created["nonce"]) == (64 | 128, "", "1")
    assert (edited["id"], edited["flags"], edited["interaction_metadata"]) == (
        created["id"],
        64,
        created["interaction_metadata"],
    )
    assert edited["edited_timestamp"] is not None
    assert "Generation failed" in edited["content"]
    assert player.messages() == []


async def test_a_bot_that_never_answers_has_failed_the_interaction(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        play(player, "outcome=silent seconds=0")
        failure = await listener.event("INTERACTION_FAILURE")

    assert failure == {"id": player.jobs()[0]["reference"], "nonce": "1", "reason_code": 2}


async def test_a_modal_is_shown_to_who_pressed_the_button(player: Player, token: str) -> None:
    play(player, "seconds=0")
    player.finished_job()
    [message] = player.messages()
    player.control("next", directive="modal=yes", channel=player.channel_id)

    async with listening(player.url) as listener:
        await listener.identify(token)
        player.send(player.press_of(message, "ReDo")).raise_for_status()
        modal = await listener.event("INTERACTION_MODAL_CREATE")

    assert modal["id"] == player.jobs()[-1]["reference"]
    assert [box["type"] for row in modal["components"] for box in row["components"]] == [4]


async def test_a_resumed_session_gets_what_it_missed_and_no_more(player: Player, token: str) -> None:
    async with listening(player.url) as first:
        ready = await first.identify(token)
        play(player, "seconds=0.3 ack=0")
        await first.event("MESSAGE_CREATE")
        sequence = first.heard[-1]["s"]
        await first.socket.close(4900)
    player.finished_job()

    async with listening(player.url) as second:
        await second.resume(token, ready["session_id"], sequence)
        await second.event("RESUMED")

    assert [(payload["t"], payload["s"]) for payload in second.heard if payload["t"]] == [
        ("MESSAGE_UPDATE", sequence + 1),
        ("RESUMED", sequence + 2),
    ]
    wait_for(lambda: sessions_of(player)["open"] == 0 or None)
    assert sessions_of(player) == {"open": 0, "peak": 1, "identified": 1, "resumed": 1}


@pytest.mark.parametrize("code", [1000, 1001])
async def test_a_session_that_was_closed_for_good_cannot_be_resumed(player: Player, token: str, code: int) -> None:
    async with listening(player.url) as first:
        ready = await first.identify(token)
        await first.socket.close(code)
    wait_for(lambda: sessions_of(player)["open"] == 0 or None)

    async with listening(player.url) as second:
        await second.resume(token, ready["session_id"], 1)

        assert (await second.op(9))["d"] is False


async def test_two_sessions_of_one_token_are_counted(player: Player, token: str) -> None:
    async with listening(player.url) as first, listening(player.url) as second:
        await first.identify(token)
        await second.identify(token)
        both = sessions_of(player)
    wait_for(lambda: sessions_of(player)["open"] == 0 or None)

    assert both == {"open": 2, "peak": 2, "identified": 2, "resumed": 0}
    assert sessions_of(player)["peak"] == 2
    user_id = player.get("/users/@me")["id"]
    [overlap] = [each for each in oracle_of(player.url)["session_overlaps"] if each["user"] == user_id]
    assert overlap["from_ms"] <= overlap["until_ms"]


@pytest.mark.parametrize(
    ("op", "data", "code"),
    [
        (99, None, 4001),
        (None, None, 4002),
        (2, {"token": "a-token"}, 4002),
        (3, {}, 4003),
        (2, {"token": "", "properties": {}}, 4004),
        (2, {"token": "with a space ", "properties": {}}, 4004),
        (6, {"token": "a-token", "session_id": "x", "seq": -1}, 4007),
        (1, "x" * 16_000, 4002),
    ],
)
async def test_what_a_client_must_not_do_closes_its_connection(url: str, op: int, data: Any, code: int) -> None:
    async with listening(url) as listener:
        await listener.send(op, data)

        assert await listener.close_code() == code


async def test_a_second_identify_and_another_version_close_the_connection(url: str) -> None:
    async with listening(url) as listener:
        await listener.identify("a-token")
        await listener.send(2, {"token": "a-token", "properties": {}})
        twice = await listener.close_code()
    async with listening(url, "v=6&encoding=json") as old:
        version = await old.close_code()

    assert (twice, version) == (4005, 4012)


async def test_more_than_120_payloads_a_minute_close_the_connection(url: str) -> None:
    async with listening(url) as listener:
        for _ in range(120):
            await listener.send(1, None)

        assert await listener.close_code() == 4008


async def test_with_strict_only_declared_tokens_may_identify() -> None:
    with running("--strict") as url:
        declare(url, "known")

        async with listening(url) as stranger:
            await stranger.send(2, {"token": "unknown", "properties": {}})
            assert await stranger.close_code() == 4004
        async with listening(url) as known:
            await known.identify("known")


async def test_connections_can_be_closed_with_a_code_and_told_to_reconnect(player: Player, token: str) -> None:
    async with listening(player.url) as listener, listening(player.url) as other:
        await listener.identify(token)
        await other.identify(f"{token}-of-somebody-else")
        player.control("gateway/reconnect", token=token)
        player.control("gateway/invalidate", token=token, resumable=True)
        player.control("gateway/close", token=token, code=4000)
        code = await listener.close_code()
        await other.send(1, None)
        await other.op(11)

    assert [(p["op"], p["d"]) for p in listener.heard[-2:]] == [(7, None), (9, True)]
    assert code == 4000


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("drop", ["INTERACTION_SUCCESS", "MESSAGE_CREATE", "MESSAGE_UPDATE"]),
        (
            "duplicate",
            ["INTERACTION_CREATE", "INTERACTION_CREATE", "INTERACTION_SUCCESS", "MESSAGE_CREATE", "MESSAGE_UPDATE"],
        ),
        ("reorder", ["INTERACTION_SUCCESS", "INTERACTION_CREATE", "MESSAGE_CREATE", "MESSAGE_UPDATE"]),
    ],
)
async def test_events_can_be_lost_repeated_and_reordered(
    player: Player, token: str, how: str, expected: list[str]
) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        player.control("gateway/events", how=how, event="INTERACTION_CREATE", token=token)
        play(player, "seconds=0.2 ack=0.1")
        await ended(listener)

    assert listener.names() == ["READY", *expected]
    sequences = [payload["s"] for payload in listener.heard if payload["t"]]
    assert sequences == list(range(1, len(sequences) + 1))


async def test_a_reordered_event_with_none_after_it_still_comes(player: Player, token: str) -> None:
    async with listening(player.url) as listener:
        await listener.identify(token)
        player.control("gateway/events", how="reorder", count=2, token=token)
        play(player, "seconds=60 ack=0.1")

        await listener.event("INTERACTION_CREATE")


async def test_a_gateway_without_acks_or_away_does_as_told() -> None:
    with running() as url, Player(url) as player:
        player.control("gateway/terms", acks=False, heartbeat_ms=200)
        async with listening(url) as listener:
            await listener.op(10)
            await listener.send(1, None)
            silent = await listener.close_code()
        async with listening(url) as listener:
            await listener.identify("a-token")
            player.control("gateway/terms", up=False)
            away = await listener.close_code()

        assert (silent, away) == (4009, 1012)
        assert 11 not in [payload["op"] for payload in listener.heard]
        assert player.http.get("/gateway").status_code == 503
        with pytest.raises(InvalidStatus):
            async with listening(url):
                pass
        player.control("reset")
        async with listening(url) as listener:
            assert (await listener.op(10))["d"] == {"heartbeat_interval": 41_250}


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("close", {"code": 99}, "code must be"),
        ("close", {"code": 4000, "token": ""}, "token must be"),
        ("invalidate", {"resumable": "yes"}, "resumable must be"),
        ("events", {"how": "lose"}, "how must be"),
        ("events", {"how": "drop", "count": 0}, "count must be"),
        ("events", {"how": "drop", "event": 5}, "event must be"),
        ("terms", {"heartbeat_ms": 0}, "heartbeat_ms must be"),
        ("terms", {"resume_url": 5}, "resume_url must be"),
        ("terms", {"ack": False}, "unknown field ack"),
    ],
)
def test_a_mistaken_control_is_refused_with_its_reason(url: str, path: str, body: dict[str, Any], fault: str) -> None:
    answer = httpx.post(f"{url}/sim/gateway/{path}", json=body, verify=NO_TLS)

    assert answer.status_code == 400
    assert fault in answer.json()["error"]
