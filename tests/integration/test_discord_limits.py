"""Rate limits that all workers share: what one is told holds the others up too, and nothing else does."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fakeredis
import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import AccountRejected, CallHeld, RateLimited, UpstreamBlocked, UpstreamError
from dispatcher.explanation import Explainer
from dispatcher.jobs import Jobs
from dispatcher.loop import cancel_until_done
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from simulator.process import running
from tests.support.desk import equipped, next_delivery
from tests.support.discord_world import World
from tests.support.fleet import Fleet
from tests.support.ledger import MemoryLedger, play
from workers.run import run_job
from workers.upstream import Ended, Outcome, Refused
from workers.upstream.discord import Discord
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.limits import INTERACTIONS, ME, heard_from, messages_route
from workers.upstream.discord.refusals import error_of
from workers.upstream.discord.rest import Rest
from workers.upstream.pacing import Blocks, Heard, Limits, Pace, Pacing, Route, digest_of
from workers.upstream.wire import Wire

ROOT = Path(__file__).parents[2]
PAGE = "<html><title>Access denied | Error 1015</title></html>"
LONG_S = 60.0


def _value(store: Store, key: str) -> object:
    """All that a key holds."""
    match store.client.type(key):
        case "hash":
            return store.client.hgetall(key)
        case "zset":
            return store.client.zrange(key, 0, -1)
        case _:
            return store.client.get(key)


@dataclass
class Played:
    """Discord as a test has it: answers in turn, then success; ``seen`` are the calls that left, with their instant."""

    answers: list[httpx.Response] = field(default_factory=list)
    seen: list[tuple[str, float]] = field(default_factory=list)

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.url.path.removeprefix("/api/v9"), time.monotonic()))
        if self.answers:
            return self.answers.pop(0)
        path = request.url.path
        if path.endswith("/messages"):
            return httpx.Response(200, json=[])
        return httpx.Response(200, json={"id": "7"})

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.seen]


class Workers:
    """Several workers' ways to one Discord, over one store."""

    def __init__(self, store: AsyncStore) -> None:
        self.store = store
        self.discord = Played()
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self.discord.answer))

    def pacing(self, *, egress: str = "here", reads: Pace | None = None, invalid_max: int = 300) -> Pacing:
        given = Limits(
            upstream="discord", egress=egress, reads=reads or Pace(), address=Pace(), invalid_max=invalid_max
        )
        return Pacing(self.store, given)

    def rest(self, **limits: Any) -> Rest:
        """Another worker's client."""
        return Rest("http://discord/api/v9", Wire("discord", self.http), UpstreamClock(), self.pacing(**limits))


@pytest.fixture
async def workers(async_store: AsyncStore) -> AsyncIterator[Workers]:
    opened = Workers(async_store)
    yield opened
    await opened.http.aclose()


def said(status: int, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body)
    return httpx.Response(status, content=content, headers={k.replace("_", "-"): v for k, v in headers.items()})


def limited(retry_after_s: float, **headers: str) -> httpx.Response:
    return said(429, {"message": "slow", "retry_after": retry_after_s, "global": False, "code": 0}, **headers)


async def held(call: Awaitable[object]) -> CallHeld | None:
    """How a call is held up; None if it left."""
    try:
        await call
    except CallHeld as told:
        return told
    return None


async def test_a_limit_on_the_question_where_the_gateway_is_holds_every_workers_question(workers: Workers) -> None:
    workers.discord.answers = [limited(60)]

    with pytest.raises(RateLimited):
        await workers.rest().gateway_url("a-token")

    assert await held(workers.rest().gateway_url("a-token")) is not None
    assert await held(workers.rest().messages("a-token", "1")) is None
    assert workers.discord.paths == ["/gateway", "/channels/1/messages"]


@pytest.mark.parametrize("has_bucket", [False, True])
@pytest.mark.parametrize(
    ("scope", "stops_token", "counts"),
    [("user", False, True), ("shared", False, False), ("global", True, True), (None, False, True)],
)
async def test_a_rate_limit_holds_every_worker_as_far_as_its_scope_reaches(
    workers: Workers, store: Store, scope: str | None, has_bucket: bool, stops_token: bool, counts: bool
) -> None:
    headers = {"Retry_After": "60", "Via": "1.1 google"} | ({"X_RateLimit_Scope": scope} if scope else {})
    if scope == "global":
        headers["X_RateLimit_Global"] = "true"
    if has_bucket:
        headers |= {"X_RateLimit_Bucket": "b1", "X_RateLimit_Remaining": "0", "X_RateLimit_Reset_After": "59.5"}
    workers.discord.answers = [limited(LONG_S, **headers)]
    with pytest.raises(RateLimited):
        await workers.rest().messages("token-1", "5")

    other = workers.rest()
    same = await held(other.messages("token-1", "5"))
    channel, me = await held(other.messages("token-1", "6")), await held(other.user_id("token-1"))
    stranger = await held(other.messages("token-2", "5"))

    assert same is not None
    assert 55 < same.wait_s <= 60
    assert not same.is_address
    assert (channel is not None, me is not None, stranger is not None) == (stops_token, stops_token, False)
    assert workers.discord.paths.count("/channels/5/messages") == 2
    assert store.client.zcard(store.keys.of("invalid", "discord", "here")) == int(counts)


@pytest.mark.parametrize(
    ("header", "body", "least_s"), [("2", 90.5, 90.0), ("91", 0.57, 90.0), (None, 90.5, 90.0), ("91", None, 90.0)]
)
async def test_the_later_of_header_and_body_binds_all(
    workers: Workers, header: str | None, body: float | None, least_s: float
) -> None:
    told = {"message": "slow"} if body is None else {"message": "slow", "retry_after": body}
    workers.discord.answers = [said(429, told, **({"Retry_After": header} if header else {}))]
    with pytest.raises(RateLimited):
        await workers.rest().messages("token-1", "5")

    waits = await held(workers.rest().messages("token-1", "5"))

    assert waits is not None
    assert least_s - 5 < waits.wait_s <= 91


async def test_a_short_wait_is_waited_out_and_nothing_leaves_before_its_end(workers: Workers) -> None:
    workers.discord.answers = [limited(0.4)]
    with pytest.raises(RateLimited):
        await workers.rest().messages("token-1", "5")

    await asyncio.gather(*(workers.rest().messages("token-1", "5") for _ in range(3)))

    (_, refused_s), *later = workers.discord.seen
    assert len(later) == 3
    assert all(instant_s - refused_s >= 0.39 for _, instant_s in later)


async def test_a_bucket_that_is_told_is_shared_call_by_call(workers: Workers) -> None:
    left = {"X-RateLimit-Bucket": "b1", "X-RateLimit-Remaining": "2", "X-RateLimit-Reset-After": "60"}
    workers.discord.answers = [httpx.Response(200, json=[], headers=left)]
    await workers.rest().messages("token-1", "5")

    ends = await asyncio.gather(*(held(workers.rest().messages("token-1", "5")) for _ in range(5)))

    assert [end for end in ends if end is None] == [None, None]
    assert {str(end).rpartition(": ")[2] for end in ends if end} == {"its bucket is empty"}
    assert len(workers.discord.seen) == 3


async def test_a_limit_beside_the_bucket_is_timed_by_the_answer_and_leaves_the_bucket_alone(
    workers: Workers, store: Store
) -> None:
    left = {"X_RateLimit_Bucket": "b1", "X_RateLimit_Remaining": "3", "X_RateLimit_Reset_After": "1"}
    workers.discord.answers = [limited(45, **left)]
    with pytest.raises(RateLimited):
        await workers.rest().messages("token-1", "5")

    waits = await held(workers.rest().messages("token-1", "5"))

    assert waits is not None
    assert 40 < waits.wait_s <= 45
    assert not [key for key in store.client.scan_iter("*") if ":bucket" in str(key)]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-RateLimit-Bucket": "a:b", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "60"},
        {"X-RateLimit-Bucket": "b1", "X-RateLimit-Remaining": "-1", "X-RateLimit-Reset-After": "60"},
        {"X-RateLimit-Bucket": "b1", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "nan"},
        {"X-RateLimit-Bucket": "b1", "X-RateLimit-Remaining": "0"},
        {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset-After": "60"},
    ],
)
def test_a_bucket_in_an_unknown_shape_is_none(headers: dict[str, str]) -> None:
    assert heard_from(ME, httpx.Response(200, headers=headers), None) == Heard()


def test_an_answer_that_is_still_prepared_is_not_asked_for_before_its_time() -> None:
    heard = heard_from(ME, said(202, {"message": "not ready", "code": 110000, "retry_after": 4}), None)

    assert (heard.blocks, heard.for_s, heard.is_invalid) == ("route", 4, False)


@pytest.mark.parametrize(
    ("response", "blocks", "for_s", "is_invalid"),
    [
        (said(401, {"message": "401: Unauthorized", "code": 0}), "", 0, True),
        (said(403, {"message": "no", "code": 50001}), "", 0, True),
        (said(404, {"message": "no", "code": 10003}), "", 0, False),
        (said(400, {"message": "no", "code": 50035}), "", 0, False),
        (said(500, PAGE), "", 0, False),
        (said(404, {"message": "404: Not Found", "code": 0}), "", 0, False),
        (said(429, PAGE), "address", 60, True),
        (said(429, "error code: 1015", Retry_After="700"), "address", 700, True),
        (said(403, PAGE), "address", 60, True),
        (said(401, PAGE), "address", 60, True),
        (said(403, {"message": "internal network error", "code": 40333}), "address", 60, True),
        (said(429, {"message": "slow", "retry_after": 3, "global": True}), "token", 3, True),
        (said(429, {"message": "slow", "retry_after": 3}, X_RateLimit_Scope="shared"), "route", 3, False),
        (said(429, {"message": "slow"}), "route", 5, True),
    ],
)
def test_what_each_answer_forbids_and_whether_it_counts(
    response: httpx.Response, blocks: Blocks, for_s: float, is_invalid: bool
) -> None:
    heard = heard_from(ME, response, error_of(response))

    assert (heard.blocks, heard.for_s, heard.is_invalid) == (blocks, for_s, is_invalid)


@pytest.mark.parametrize(
    ("answer", "least_s"),
    [
        (said(429, PAGE), 60),
        (said(429, "error code: 1015", Retry_After="500"), 500),
        (said(403, {"message": "internal network error", "code": 40333}), 60),
    ],
)
async def test_a_page_of_cloudflares_stops_the_whole_address_in_all_workers(
    workers: Workers, answer: httpx.Response, least_s: float
) -> None:
    workers.discord.answers = [answer]
    with pytest.raises(UpstreamBlocked):
        await workers.rest().messages("token-1", "5")

    stopped = [await held(workers.rest().messages(*call)) for call in (("token-1", "5"), ("token-2", "6"))]
    stopped.append(await held(workers.rest().await_turn_to_interact("token-3")))
    elsewhere = await held(workers.rest(egress="there").messages("token-1", "5"))

    for told in stopped:
        assert told is not None
        assert told.is_address
        assert least_s - 5 < told.wait_s <= 1.1 * least_s
    assert elsewhere is None
    assert len(workers.discord.seen) == 2


async def test_many_refused_calls_stop_the_address_far_below_discords_own_count(workers: Workers) -> None:
    refusals = [said(401, {"message": "no", "code": 0}), said(403, {"message": "no", "code": 50001}), limited(0.01)]
    workers.discord.answers = [*refusals, limited(0.01, X_RateLimit_Scope="shared"), refusals[0], refusals[1]]
    clients = [workers.rest(invalid_max=5) for _ in range(2)]

    with capture_logs() as logged:
        for n in range(6):
            with pytest.raises(UpstreamError) as caught:
                await clients[n % 2].messages(f"token-{n}", "5")
            assert not isinstance(caught.value, CallHeld)
    told = await held(workers.rest(invalid_max=5).messages("token-of-nobody", "9"))

    assert told is not None
    assert told.is_address
    assert 595 < told.wait_s <= 660
    assert "5 of its calls were refused within 10 min" in str(told)
    [closed] = [line for line in logged if line["event"] == "address closed"]
    assert (closed["egress"], closed["for_s"]) == ("here", 600)
    assert len(workers.discord.seen) == 6


ANOTHER_PROCESS = """
import asyncio, sys
from dispatcher.connection import open_async_store
from dispatcher.errors import CallHeld
from workers.upstream.discord.limits import messages_route
from workers.upstream.pacing import Limits, Pace, Pacing

async def ask(url, namespace, token, channel):
    store = open_async_store(url, namespace)
    limits = Limits(upstream="discord", egress="here", reads=Pace(), address=Pace(), invalid_max=300)
    try:
        await Pacing(store, limits).turn(token, messages_route(channel))
        print("it leaves")
    except CallHeld as held:
        print(held)
    await store.close()

asyncio.run(ask(*sys.argv[1:]))
"""


@pytest.mark.parametrize(("channel", "said_there"), [("5", "discord: this call does not leave: "), ("6", "it leaves")])
async def test_a_worker_of_another_process_heeds_what_this_one_was_told(
    workers: Workers, settings: Settings, channel: str, said_there: str
) -> None:
    workers.discord.answers = [limited(LONG_S)]
    with pytest.raises(RateLimited):
        await workers.rest().messages("token-1", "5")

    words = (str(settings.redis_url), settings.namespace, "token-1", channel)
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ANOTHER_PROCESS, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await program.communicate()

    assert program.returncode == 0
    assert told.decode().startswith(said_there)


async def test_workers_share_one_pace(workers: Workers) -> None:
    pace = Pace(interval_ms=60, burst=2)

    await asyncio.gather(*(workers.rest(reads=pace).messages("token-1", "5") for _ in range(8)))

    instants = sorted(instant_s for _, instant_s in workers.discord.seen)
    assert len(instants) == 8
    for turn in range(2, 8):
        assert instants[turn] - instants[0] >= 0.06 * (turn - 1) - 0.02


async def test_a_block_that_begins_while_a_turn_is_waited_for_is_kept(workers: Workers) -> None:
    pacing = workers.pacing(reads=Pace(interval_ms=500))
    await pacing.turn("token-1", ME)
    paid = workers.store.keys.of("pace", "discord", digest_of("token-1"), "me", "-")
    first = await workers.store.client.get(paid)
    waiting = asyncio.create_task(held(pacing.turn("token-1", ME)))
    while await workers.store.client.get(paid) == first:  # noqa: ASYNC110 (the condition is in Redis)
        await asyncio.sleep(0)

    await workers.pacing().hear("token-1", INTERACTIONS, Heard(blocks="token", for_s=LONG_S, reason="told so"))

    told = await waiting
    assert told is not None
    assert "told so" in str(told)


async def test_nothing_leaves_while_the_store_is_away() -> None:
    server = fakeredis.FakeServer()
    store = AsyncStore(fakeredis.FakeAsyncRedis(server=server, decode_responses=True), "{away}")
    workers = Workers(store)
    server.connected = False
    call = asyncio.create_task(workers.rest().messages("token-1", "5"))
    with pytest.raises(UpstreamError, match="before it was known"):
        await workers.rest().interact(
            "token-1",
            {},
            start_by_s=time.monotonic() + 0.2,
            end_by_s=time.monotonic() + 1,
            on_sent=lambda: pytest.fail("it was sent"),
        )
    assert workers.discord.seen == []

    server.connected = True

    assert await call == []
    await workers.http.aclose()
    await store.close()


async def test_thousands_that_wait_for_the_store_are_one_that_asks() -> None:
    server = fakeredis.FakeServer()
    store = AsyncStore(fakeredis.FakeAsyncRedis(server=server, decode_responses=True), "{away}")
    workers = Workers(store)
    rest = workers.rest()
    server.connected = False
    with capture_logs() as logged:
        calls = [asyncio.create_task(rest.messages("token-1", str(channel))) for channel in range(50)]
        while not logged:  # noqa: ASYNC110 (the condition is in the log)
            await asyncio.sleep(0)
        server.connected = True
        await asyncio.gather(*calls)

    assert [line["event"] for line in logged] == ["store is away", "store is back"]
    assert len(workers.discord.seen) == 50
    await workers.http.aclose()
    await store.close()


async def test_no_key_and_no_value_holds_a_token(workers: Workers, store: Store) -> None:
    workers.discord.answers = [
        limited(5, X_RateLimit_Bucket="b1", X_RateLimit_Remaining="0", X_RateLimit_Reset_After="5")
    ]
    rest = workers.rest(reads=Pace(interval_ms=500))
    with pytest.raises(RateLimited):
        await rest.messages("token-of-mine", "5")

    kept = {str(key): _value(store, str(key)) for key in store.client.scan_iter(f"{store.keys.namespace}:*")}

    assert {key.split(":")[1] for key in kept} == {"blocked", "bucket", "bucket_of", "invalid", "pace"}
    assert "token-of-mine" not in str(kept)


async def test_a_refused_login_is_told_and_blocks_nobody_else(workers: Workers) -> None:
    workers.discord.answers = [said(401, {"message": "401: Unauthorized", "code": 0})]
    with pytest.raises(AccountRejected):
        await workers.rest().user_id("token-1")

    assert await held(workers.rest().user_id("token-1")) is None


# --- a job's way ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    yield opened
    await opened.close()


async def told(world: World, heard: Heard, route: Route = INTERACTIONS) -> None:
    """Another worker of the fleet was told so."""
    given = Limits(upstream="discord", egress="default", reads=Pace(), address=Pace(), invalid_max=300)
    await Pacing(world.store, given).hear(world.token, route, heard)


async def test_what_one_worker_was_refused_no_other_sends(world: World) -> None:
    first = await play(world.discord(), world.ledger("submit=429 retry_after=40"))
    second = await play(world.discord(), world.ledger(prompt="another cat"))

    assert isinstance(first, Refused)
    assert (first.counted, first.cool_s) == (True, 40)
    assert isinstance(second, Refused)
    assert (second.counted, second.never_sent, second.cools) == (False, True, "held")
    assert 30 < second.cool_s <= 40
    assert world.oracle()["accounts"][world.channel]["refused"] == {"429": 1}
    assert world.accepted() == 0


async def test_a_short_block_is_waited_out_before_the_permit(world: World) -> None:
    await told(world, Heard(blocks="route", for_s=0.5, reason="slow down"))
    ledger = world.ledger("seconds=0")
    began_s = time.monotonic()

    outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"
    assert time.monotonic() - began_s >= 0.49


@pytest.mark.parametrize(("blocks", "cool_s"), [("token", 90.0), ("address", 60.0)])
async def test_a_block_that_begins_after_the_permit_hands_the_job_back_unsent(
    world: World, blocks: Blocks, cool_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = world.ledger("seconds=0")
    permit = MemoryLedger.submitting

    async def permitted(self: MemoryLedger, **told_by: Any) -> Any:
        given = await permit(self, **told_by)
        await told(world, Heard(blocks=blocks, for_s=90, reason="told meanwhile"))
        return given

    monkeypatch.setattr(MemoryLedger, "submitting", permitted)
    outcome: Outcome = await play(world.discord(), ledger)

    assert isinstance(outcome, Refused)
    assert (outcome.counted, outcome.never_sent, outcome.cools, outcome.disable) == (False, True, "held", None)
    assert cool_s - 5 < outcome.cool_s <= cool_s  # of the address, which waits longer, a minute at a time
    assert "told meanwhile" in outcome.reason
    assert ledger.events == ["S"]
    assert world.accepted() == 0


async def test_a_running_job_goes_on_when_its_channel_may_be_read_again(world: World) -> None:
    ledger = world.ledger("seconds=0.5 ack=0.1")
    running_job = asyncio.create_task(play(world.discord(), ledger))
    async with asyncio.timeout(20):
        while ledger.lease.state != "A":  # noqa: ASYNC110 (the simulator answers in a process of its own)
            await asyncio.sleep(0.02)

    await told(world, Heard(blocks="route", for_s=1.5, reason="slow down"), messages_route(world.channel))

    outcome = await running_job
    assert isinstance(outcome, Ended)
    assert outcome.status == "completed"


async def test_a_closed_address_sends_its_jobs_back_and_says_so(
    url: str, store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    quick = settings.model_copy(update={"min_interval_ms": 0, "discord_api_url": f"{url}/api/v9"})
    Fleet(store).put("555555555555555555", 1)
    jobs = Jobs(quick)
    discord = Discord(quick, open_secret=lambda _: SecretStr("a-token"), store=async_store)
    await Pacing(
        async_store, Limits(upstream="discord", egress="default", reads=Pace(), address=Pace(), invalid_max=1)
    ).hear("somebody", ME, Heard(is_invalid=True))

    with equipped(quick, async_store, discord):
        job = store.do(jobs.submit(CreateSingle(prompt="a calm sea", style="Anime"), Options()))
        await run_job(next_delivery(store))
    await discord.close()

    account = Fleet(store).account("555555555555555555")
    assert (account["state"], account["cooling_cause"]) == ("active", "held")
    assert "cooling_repeats" not in account
    explained = carry_out(store, Explainer(quick).explain(job.id, user=1))
    assert explained.job.status == "created"
    [view] = explained.accounts
    assert view.kind == "cooling"
    assert "no call leaves the address default" in view.reason
    assert "1 of its calls were refused within 10 min" in view.reason


@pytest.mark.parametrize(
    ("status", "body"), [(503, "<html>"), (500, {"code": 0}), (429, {"captcha_key": ["any"], "captcha_service": "x"})]
)
def test_a_time_to_wait_blocks_the_route_whatever_else_the_answer_means(status: int, body: Any) -> None:
    response = said(status, body, retry_after="40")

    heard = heard_from(ME, response, error_of(response))

    assert (heard.blocks, heard.for_s) == ("route", 40.0)


async def test_a_server_error_that_asks_to_wait_holds_other_workers_up(workers: Workers) -> None:
    workers.discord.answers = [said(503, "<html>", retry_after="40")]
    with pytest.raises(UpstreamError):
        await workers.rest().messages("a-token", "1")

    assert await held(workers.rest().messages("a-token", "1")) is not None
    assert len(workers.discord.seen) == 1


async def test_what_an_answer_said_is_told_although_who_asked_is_cancelled(async_store: AsyncStore) -> None:
    limits = Limits(upstream="discord", egress="default", reads=Pace(), address=Pace(), invalid_max=300)
    pacing = Pacing(async_store, limits)
    heard = Heard(blocks="route", for_s=60, reason="said so")
    asking = asyncio.create_task(pacing.hear("a-token", ME, heard))
    await asyncio.sleep(0)
    await cancel_until_done(asking)

    await until_held(pacing)
    await pacing.close()


async def until_held(pacing: Pacing) -> None:
    """Wait until a call is held up."""
    async with asyncio.timeout(20):
        while True:
            try:
                await pacing.clear("a-token", ME)
            except CallHeld:
                return
