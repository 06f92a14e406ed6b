"""Fresh links to a job's files, from the question to the answer: what a worker does with each upstream and account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import pytest

from dispatcher.client import Client
from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import (
    AccountRejected,
    CallHeld,
    JobNotFound,
    JobStateError,
    LinksUnavailable,
    RateLimited,
    RequestRejected,
    SecretError,
)
from dispatcher.links import Links, end_ms, job_of
from dispatcher.models import Account, Attachment, Message
from dispatcher.settings import Settings
from dispatcher.slots import Slots
from tests.support.fleet import Fleet
from tests.support.links import NEW, OLD, completed
from workers import context
from workers.context import WorkerContext
from workers.ledger import Gates
from workers.links import refresh_links
from workers.renewal import Renewal
from workers.upstream import Ledger, Outcome, Upstream, Verdict

CHANNEL = "c1"


class Lasting:
    """An upstream whose links never expire."""

    name = "discord"

    async def run(self, ledger: Ledger) -> Outcome:
        raise AssertionError(f"nobody submits {ledger.job.id}")

    async def check(self, account: Account) -> Verdict:
        raise AssertionError(f"nobody checks {account.channel}")

    async def close(self) -> None:
        pass


class Fresh(Lasting):
    """Tells the fresh links that a test gives it, or raises what it gives it."""

    def __init__(self) -> None:
        self.links: dict[str, str] | Exception | None = {OLD: NEW}
        self.asked: list[tuple[str, Sequence[str]]] = []

    async def refresh(self, account: Account, urls: Sequence[str]) -> dict[str, str]:
        self.asked.append((account.sealed, urls))
        if self.links is None:
            await asyncio.Event().wait()
        if isinstance(self.links, Exception):
            raise self.links
        assert self.links is not None
        return self.links


class Desk:
    """One store with one completed job; who asks, and the worker that answers."""

    def __init__(self, store: Store, async_store: AsyncStore, settings: Settings) -> None:
        self.store, self.fleet = store, Fleet(store)
        self.links = Links(settings)
        self.upstream = Fresh()
        self.upstreams: dict[str, Upstream] = {"discord": self.upstream}
        self.context = WorkerContext(settings, async_store, Slots(settings), Renewal(settings), Gates(), self.upstreams)
        completed(self.fleet, channel=CHANNEL)

    def ask(self, dead: Attachment | None = None) -> str:
        return self.store.do(self.links.ask("j1", user=1, dead=dead))

    def answer(self, refresh_id: str) -> dict[str, str] | None:
        return self.store.do(self.links.answer(refresh_id))

    async def asked_and_answered(self) -> dict[str, str] | None:
        refresh_id = self.ask()
        await refresh_links(refresh_id)
        return self.answer(refresh_id)


@pytest.fixture
async def desk(store: Store, async_store: AsyncStore, settings: Settings) -> AsyncIterator[Desk]:
    opened = Desk(store, async_store, settings)
    uninstall = context.install(opened.context)
    yield opened
    uninstall()


# --- what is asked and answered ---------------------------------------------------------------------------------------


async def test_a_worker_answers_with_fresh_links_and_the_record_stays(desk: Desk) -> None:
    before = desk.fleet.record("j1")
    refresh_id = desk.ask()
    assert desk.answer(refresh_id) is None

    await refresh_links(refresh_id)

    assert desk.answer(refresh_id) == {"7": NEW}
    assert desk.upstream.asked == [("k1:secret-c1", [OLD])]
    assert desk.fleet.record("j1") == before


async def test_the_accounts_current_secret_is_used(desk: Desk) -> None:
    desk.fleet.put(CHANNEL, secret="another")

    await desk.asked_and_answered()

    assert [sealed for sealed, _ in desk.upstream.asked] == ["k1:another"]


async def test_many_who_ask_are_one_question_to_the_upstream(desk: Desk) -> None:
    asked = {desk.ask() for _ in range(5)}
    for refresh_id in asked:
        await refresh_links(refresh_id)
    asked |= {desk.ask() for _ in range(5)}

    assert len(asked) == len(desk.upstream.asked) == 1


async def test_a_fresh_link_that_is_dead_as_well_is_asked_for_again(desk: Desk) -> None:
    first = desk.ask()
    await refresh_links(first)
    known = desk.ask(Attachment(id="7", filename="a.mp4", url=OLD))
    desk.upstream.links = {OLD: f"{NEW}2"}

    second = desk.ask(Attachment(id="7", filename="a.mp4", url=NEW))
    await refresh_links(second)

    assert (known == first, second == first) == (True, False)
    assert desk.answer(second) == {"7": f"{NEW}2"}


async def test_the_answer_of_a_later_refresh_serves_who_asked_before(desk: Desk) -> None:
    first = desk.ask()
    await refresh_links(first)

    second = desk.ask(Attachment(id="7", filename="a.mp4", url=NEW))

    assert desk.answer(first) is None
    await refresh_links(second)
    assert desk.answer(first) == {"7": NEW}


async def test_an_answer_is_forgotten_when_the_first_of_its_links_ends(desk: Desk) -> None:
    now_s = desk.fleet.now_ms() // 1000
    links = [f"http://cdn.invalid/{n}?ex={now_s + ends_s:x}" for n, ends_s in enumerate((90_000, 600))]
    files = tuple(Attachment(id=str(n), filename="a", url=f"http://cdn.invalid/{n}") for n in range(2))
    desk.store.client.hset(
        desk.fleet.key("job", "j1"), "message", Message(messageId="9", attachments=files).model_dump_json()
    )
    desk.upstream.links = {file.url: link for file, link in zip(files, links, strict=True)}

    told = await desk.asked_and_answered()

    assert told == {"0": links[0], "1": links[1]}
    assert 590_000 < int(desk.store.client.pttl(desk.fleet.key("links", "j1"))) <= 600_000


def test_links_that_last_cost_nobody_anything(settings: Settings, store: Store) -> None:
    lasting = Message(messageId="9", attachments=(Attachment(id="7", filename="a.mp4", url="http://cdn.invalid/7"),))
    fleet = Fleet(store)
    completed(fleet, message=lasting.model_dump_json())

    with Client(settings.redis_url, namespace=settings.namespace) as client:
        job = client.links("j1")
        assert job == client.get("j1")

    assert not store.client.exists(fleet.key("links", "j1"))


# --- why there are none -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        (RequestRejected("discord", "HTTP 403"), "discord: HTTP 403."),
        (RateLimited("discord", "slowly", retry_after_s=2.5), "not now; ask again in 3 s. discord: slowly."),
        (CallHeld("discord", "no call leaves", wait_s=40), "not now; ask again in 40 s. discord: no call leaves."),
        (SecretError("No configured key opens it."), "No configured key opens it."),
        ({}, "discord gives no fresh link to any of its files."),
        ({"http://cdn.invalid/other": NEW}, "discord gives no fresh link to any of its files."),
    ],
)
async def test_what_the_upstream_refuses_is_told(desk: Desk, trouble: dict[str, str] | Exception, told: str) -> None:
    desk.upstream.links = trouble

    with pytest.raises(LinksUnavailable) as caught:
        await desk.asked_and_answered()

    assert str(caught.value) == f"There are no fresh links to the files of job j1: {told}"
    assert desk.fleet.account(CHANNEL)["state"] == "active"


@pytest.mark.parametrize(("needs_operator", "revive"), [(False, "check"), (True, "operator")])
async def test_a_refused_secret_stops_its_account_and_is_asked_with_once(
    desk: Desk, needs_operator: bool, revive: str
) -> None:
    desk.upstream.links = AccountRejected("discord", "HTTP 401", needs_operator=needs_operator)

    for told in ("discord: HTTP 401", "the account of channel c1 is disabled: HTTP 401"):
        with pytest.raises(LinksUnavailable, match=told):
            await desk.asked_and_answered()

    account = desk.fleet.account(CHANNEL)
    assert (account["state"], account["reason"], account["revive"]) == ("disabled", "HTTP 401", revive)
    assert len(desk.upstream.asked) == 1


async def test_a_refused_secret_that_was_replaced_meanwhile_stops_nothing(desk: Desk) -> None:
    refusal = AccountRejected("discord", "HTTP 401")

    class Replaced(Fresh):
        async def refresh(self, account: Account, urls: Sequence[str]) -> dict[str, str]:
            desk.fleet.put(account.channel, secret="another")
            self.asked.append((account.sealed, urls))
            raise refusal

    desk.upstreams["discord"] = Replaced()
    with pytest.raises(LinksUnavailable, match="HTTP 401"):
        await desk.asked_and_answered()

    assert desk.fleet.account(CHANNEL)["state"] == "active"


async def test_a_fault_of_the_worker_answers_who_waits(desk: Desk) -> None:
    desk.upstream.links = KeyError("x")
    refresh_id = desk.ask()

    with pytest.raises(KeyError):
        await refresh_links(refresh_id)

    with pytest.raises(LinksUnavailable, match="the worker that was asked failed"):
        desk.answer(refresh_id)


async def test_a_refresh_that_nobody_waits_for_asks_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.links.JOIN_MS", 0)
    asked = [desk.ask() for _ in range(3)]
    for refresh_id in asked:
        await refresh_links(refresh_id)
    await refresh_links(asked[-1])
    desk.store.client.delete(desk.fleet.key("links", "j1"))
    await refresh_links(asked[-1])

    assert (len(set(asked)), len(desk.upstream.asked)) == (3, 1)


async def test_an_upstream_that_does_not_answer_is_not_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.links.LIMIT_S", 0.05)
    desk.upstream.links = None

    with pytest.raises(LinksUnavailable, match=r"did not answer within 0\.05 s"):
        await desk.asked_and_answered()


async def test_an_upstream_without_refreshes_and_one_that_is_unknown_are_told(desk: Desk) -> None:
    desk.upstreams["discord"] = Lasting()
    with pytest.raises(LinksUnavailable, match="discord gives no fresh links"):
        await desk.asked_and_answered()

    desk.upstreams.clear()
    with pytest.raises(LinksUnavailable, match="does not know its upstream"):
        await desk.asked_and_answered()


async def test_a_deleted_account_is_told_and_nobody_elses_is_used(desk: Desk) -> None:
    desk.fleet.remove(CHANNEL)
    Fleet(desk.store, user=2).put(CHANNEL)

    with pytest.raises(LinksUnavailable, match="the account of channel c1 was deleted; register it again"):
        await desk.asked_and_answered()

    assert desk.upstream.asked == []


async def test_a_disabled_accounts_secret_is_not_used(desk: Desk) -> None:
    desk.fleet.stand(CHANNEL, "disabled", "HTTP 401")

    with pytest.raises(LinksUnavailable, match="the account of channel c1 is disabled: HTTP 401"):
        await desk.asked_and_answered()

    assert desk.upstream.asked == []


@pytest.mark.parametrize("state", ["paused", "draining"])
async def test_a_paused_accounts_files_can_be_had(desk: Desk, state: str) -> None:
    desk.fleet.stand(CHANNEL, state)

    assert await desk.asked_and_answered() == {"7": NEW}


async def test_a_record_that_is_gone_or_unreadable_when_the_worker_comes_is_told(desk: Desk) -> None:
    refresh_id = desk.ask()
    desk.store.client.hset(desk.fleet.key("job", "j1"), "created_ms", "x")
    await refresh_links(refresh_id)
    with pytest.raises(LinksUnavailable, match="record of job j1 cannot be read"):
        desk.answer(refresh_id)

    desk.store.client.hset(desk.fleet.key("job", "j1"), "created_ms", "1")
    refresh_id = desk.ask()
    desk.store.client.delete(desk.fleet.key("job", "j1"))
    await refresh_links(refresh_id)
    with pytest.raises(LinksUnavailable, match="its record has expired"):
        desk.answer(refresh_id)


async def test_who_may_not_ask_is_told_so(desk: Desk) -> None:
    with pytest.raises(JobNotFound):
        desk.store.do(desk.links.ask("j1", user=2))
    with pytest.raises(JobNotFound):
        desk.store.do(desk.links.ask("j9", user=1))
    desk.fleet.submit("j2", pin=CHANNEL)
    with pytest.raises(JobStateError, match="expected final"):
        desk.store.do(desk.links.ask("j2", user=1))
    desk.fleet.cancel("j2")
    with pytest.raises(LinksUnavailable, match="it has no files"):
        desk.store.do(desk.links.ask("j2", user=1))


# --- names and ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["links-5", "5-1", "links--1", "links-5-x", "check-5-1", "20261122203000123ABCDEF-1"])
def test_what_is_no_id_of_a_refresh_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the id of a refresh"):
        job_of(text)


@pytest.mark.parametrize(
    ("query", "ends"),
    [
        ("?ex=65000000&is=1&hm=0", "2023-09-12T06:06:56"),
        ("?is=1&ex=65000000", "2023-09-12T06:06:56"),
        ("?ex=65000000#t=1", "2023-09-12T06:06:56"),
        ("", None),
        ("?ex=", None),
        ("?ex=soon", None),
        ("?ex=65000000000", None),
        ("?regex=65000000", None),
        ("/ex=65000000", None),
    ],
)
def test_a_link_says_when_it_ends(query: str, ends: str | None) -> None:
    told = end_ms(f"http://cdn.invalid/7/a.mp4{query}")

    expected = ends and datetime.fromisoformat(ends).replace(tzinfo=UTC).timestamp() * 1000
    assert told == expected
