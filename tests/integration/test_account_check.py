"""Checks of accounts against the simulator, and what follows for them: worker, service and command line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from dispatcher.checks import Checks, channel_of
from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import AccountNotFound, AccountRejected
from dispatcher.models import Account
from dispatcher.rechecker import Rechecker
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from simulator.process import running
from tests.support.cli import Cli
from tests.support.deliveries import eventually
from tests.support.discord_world import World
from tests.support.fleet import PAST_MS, Fleet
from tests.support.ledger import account_of
from tests.support.memory import memory_store, unhurried
from tests.support.roles import a_role
from workers import context
from workers.check import check_account
from workers.context import WorkerContext
from workers.ledger import Gates
from workers.renewal import Renewal
from workers.upstream import Ledger, Outcome, Verdict
from workers.upstream.discord import Discord
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.rest import Rest
from workers.upstream.wire import Wire

SERVER = "111111111111111111"
CHANNEL = "1197013797467074001"
POOL = "1:discord"
KEYS = SecretKeys({"k1": bytes(32)})


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running("--strict") as url:
        yield url


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    opened = World(url)
    opened.control("accounts", token=opened.token, server=SERVER, channel=opened.channel, max_jobs=1)
    yield opened
    await opened.close()


# --- what Discord is asked ------------------------------------------------------------------------------------------


async def test_an_account_that_could_work_is_ok_and_nothing_was_submitted(world: World) -> None:
    before = world.oracle()["totals"]["submissions"]

    verdict = await world.discord().check(account_of(world.channel, token=world.token))

    assert verdict == Verdict("ok")
    assert world.oracle()["totals"]["submissions"] == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sealed": "nobodys-token"}, "HTTP 401"),
        ({"channel": "999999999999999999"}, "code 10003"),
        ({"sealed": "no token\n"}, "characters that no token has"),
    ],
)
async def test_what_a_submission_would_meet_is_found_without_one(
    world: World, change: dict[str, str], told: str
) -> None:
    account = account_of(world.channel, token=world.token).model_copy(update=change)

    verdict = await world.discord().check(account)

    assert (verdict.finding, verdict.needs_operator) == ("rejected", False)
    assert told in verdict.reason
    assert "nobodys-token" not in verdict.reason


async def test_a_server_without_the_bot_is_found(world: World) -> None:
    verdict = await world.discord(discord_application_id="1").check(account_of(world.channel, token=world.token))

    assert (verdict.finding, verdict.needs_operator) == ("rejected", False)
    assert "the server has no application 1" in verdict.reason


async def test_a_check_reads_anew_what_jobs_have_read_once(world: World) -> None:
    discord = world.discord()
    account = account_of(world.channel, token=world.token)
    assert await discord.check(account) == Verdict("ok")

    world.control("accounts", token="another", server=SERVER, channel=world.channel, max_jobs=1)

    assert (await discord.check(account)).finding == "rejected"


@pytest.mark.parametrize("archived", [True, False])
async def test_an_archived_thread_can_be_read_and_not_be_used(archived: bool) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        told: Any = [] if request.url.path.endswith("/messages") else {"thread_metadata": {"archived": archived}}
        return httpx.Response(200, json=told)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        rest = Rest("http://discord.invalid/api/v9", Wire("discord", http), UpstreamClock(), unhurried())
        if archived:
            with pytest.raises(AccountRejected, match="archived"):
                await rest.open_channel("a-token", "5")
        else:
            await rest.open_channel("a-token", "5")


async def test_an_upstream_that_is_away_says_nothing_about_the_account() -> None:
    discord = Discord(
        Settings(discord_api_url="http://127.0.0.1:9/api/v9"),
        open_secret=lambda account: SecretStr(account.sealed),
        store=memory_store(),
    )

    verdict = await discord.check(account_of("5"))
    await discord.close()

    assert verdict.finding == "unclear"


# --- what the worker does with it -----------------------------------------------------------------------------------


class ToldUpstream:
    """Finds what a test tells it to."""

    name = "discord"

    def __init__(self) -> None:
        self.verdict: Verdict | None = Verdict("ok")
        self.checked: list[Account] = []

    async def run(self, ledger: Ledger) -> Outcome:
        raise AssertionError(f"nobody submits {ledger.job.id}")

    async def check(self, account: Account) -> Verdict:
        self.checked.append(account)
        if self.verdict is None:
            await asyncio.Event().wait()
        assert self.verdict is not None
        return self.verdict

    async def close(self) -> None:
        pass


@pytest.fixture
async def upstream(store: Store, async_store: AsyncStore, settings: Settings) -> AsyncIterator[ToldUpstream]:
    told = ToldUpstream()
    uninstall = context.install(
        WorkerContext(settings, async_store, Slots(settings), Renewal(settings), Gates(), {"discord": told})
    )
    Fleet(store).put(CHANNEL)
    yield told
    uninstall()


def disable(store: Store, revive: str = "check") -> None:
    fleet = Fleet(store)
    fleet.bring("j1", "S")
    fleet.handback("j1", "401", disable=revive, requeues_max="")
    fleet.cancel("j1")


async def test_a_check_brings_a_disabled_account_back(upstream: ToldUpstream, store: Store, settings: Settings) -> None:
    disable(store)
    checks = Checks(settings)
    check_id = store.do(checks.ask(user=1, channel=CHANNEL))
    assert store.do(checks.answer(check_id, user=1, channel=CHANNEL)) is None

    await check_account(check_id)

    answer = store.do(checks.answer(check_id, user=1, channel=CHANNEL))
    assert answer is not None
    assert (answer.finding, answer.state, Fleet(store).account(CHANNEL)["state"]) == ("ok", "active", "active")
    assert [account.channel for account in upstream.checked] == [CHANNEL]


async def test_a_captcha_found_by_a_check_is_its_operators(
    upstream: ToldUpstream, store: Store, settings: Settings
) -> None:
    upstream.verdict = Verdict("rejected", "it wants a captcha", needs_operator=True)

    await check_account(store.do(Checks(settings).ask(user=1, channel=CHANNEL)))

    account = Fleet(store).account(CHANNEL)
    assert (account["state"], account["reason"], account["revive"]) == ("disabled", "it wants a captcha", "operator")


async def test_a_check_that_takes_too_long_says_nothing(
    upstream: ToldUpstream, store: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.check.LIMIT_S", 0.05)
    upstream.verdict = None
    check_id = store.do(Checks(settings).ask(user=1, channel=CHANNEL))

    await check_account(check_id)

    answer = store.do(Checks(settings).answer(check_id, user=1, channel=CHANNEL))
    assert answer is not None
    assert (answer.finding, answer.state) == ("unclear", "active")


async def test_an_account_removed_before_its_check_is_left_alone(
    upstream: ToldUpstream, store: Store, settings: Settings
) -> None:
    check_id = store.do(Checks(settings).ask(user=1, channel=CHANNEL))
    Fleet(store).remove(CHANNEL)

    await check_account(check_id)

    assert upstream.checked == []


@pytest.mark.parametrize("text", ["check-5", "5-1", "check--1", "check-5-x", "20261122203000123ABCDEF-1"])
def test_what_is_no_id_of_a_check_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a check"):
        channel_of(text)


def test_the_channel_of_a_check_may_hold_a_dash() -> None:
    assert channel_of("check-my-own_account-17") == "my-own_account"


# --- who asks -------------------------------------------------------------------------------------------------------


async def test_the_service_asks_once_for_what_is_due(
    upstream: ToldUpstream, store: Store, async_store: AsyncStore, settings: Settings
) -> None:
    disable(store)
    fleet = Fleet(store)
    store.client.zadd(fleet.key("checks"), {f"{POOL}:{CHANNEL}": PAST_MS})
    services = [Rechecker(async_store, settings) for _ in range(4)]

    await asyncio.gather(*(service.step() for service in services))

    [check_id] = [delivery for delivery in fleet.queue() if delivery.startswith("check-")]
    await check_account(check_id)
    assert fleet.account(CHANNEL)["state"] == "active"
    assert [service.interval() for service in services] == [5.0] * 4


def test_the_service_process_asks_for_what_is_due(store: Store, settings: Settings, tmp_path: Path) -> None:
    Fleet(store).put(CHANNEL)
    disable(store)
    store.client.zadd(store.keys.of("checks"), {f"{POOL}:{CHANNEL}": PAST_MS})

    with a_role("run", settings, tmp_path / "log"):
        eventually(lambda: [d for d in Fleet(store).queue() if d.startswith(f"check-{CHANNEL}-")])


def test_another_users_account_is_not_found(store: Store, settings: Settings) -> None:
    Fleet(store, user=2).put(CHANNEL)

    with pytest.raises(AccountNotFound):
        store.do(Checks(settings).ask(user=1, channel=CHANNEL))


def test_the_command_exits_3_for_an_unknown_account_and_6_without_a_worker(cli: Cli, store: Store) -> None:
    assert cli("account", "check", CHANNEL).code == 3
    Fleet(store).put(CHANNEL)

    outcome = cli("account", "check", CHANNEL, "--timeout-s", "0")

    assert outcome.code == 6
    assert outcome.stderr == (
        f"The account of channel {CHANNEL} was not checked within 0 s; does a `dispatcher work` run?\n"
    )


def test_the_command_shows_what_a_worker_found_and_the_account_follows(
    cli: Cli, store: Store, settings: Settings, url: str, tmp_path: Path
) -> None:
    world = World(url)
    server = ("--server", SERVER)
    cli("account", "add", world.channel, *server, stdin=f"{world.token}\n")
    with a_role("work", settings, tmp_path / "log", DISPATCHER_DISCORD_API_URL=f"{url}/api/v9"):
        refused = cli("account", "check", world.channel, "--json")
        world.control("accounts", token=world.token, server=SERVER, channel=world.channel, max_jobs=3)
        well = cli("account", "check", world.channel, "--json")
        cli("account", "pause", world.channel)
        paused = cli("account", "check", world.channel)

    assert refused.code == 1
    assert (refused.data["finding"], refused.data["state"]) == ("rejected", "disabled")
    assert "HTTP 401" in refused.data["reason"]
    assert (well.code, well.data) == (0, {"channel": world.channel, "finding": "ok", "reason": "", "state": "active"})
    assert (paused.code, paused.stdout) == (0, f"Account {world.channel} is paused; the check says ok.\n")
    assert world.oracle()["totals"]["submissions"] == 0
