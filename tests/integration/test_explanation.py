"""Why a job waits, read from a real store."""

from __future__ import annotations

import pytest

from dispatcher.connection import Store
from dispatcher.errors import JobNotFound
from dispatcher.explanation import ACCOUNTS_SHOWN, Explainer, Explanation
from dispatcher.jobs import Jobs
from dispatcher.options import Options
from dispatcher.plan import carry_out
from dispatcher.requests import CreateSingle
from dispatcher.settings import Settings
from tests.support.fleet import Fleet


class Desk:
    """Accepts jobs and explains them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.settings = settings
        self.fleet = Fleet(store)

    def accept(self, *, limit: int | None = None, **options: object) -> str:
        request = CreateSingle(prompt="a calm sea", style="Anime", maxJobs=limit)
        return self.store.do(Jobs(self.settings).submit(request, Options(**options))).id  # type: ignore[arg-type]

    def explain(self, job: str, user: int = 1) -> Explanation:
        return carry_out(self.store, Explainer(self.settings).explain(job, user=user))

    def reasons(self, job: str) -> dict[str, str]:
        return {account.channel: account.reason for account in self.explain(job).accounts}


@pytest.fixture
def desk(store: Store, settings: Settings) -> Desk:
    return Desk(store, settings)


def test_each_account_has_its_own_reason(desk: Desk) -> None:
    for channel in ("full", "paused", "broken", "cools"):
        desk.fleet.put(channel, 1)
        desk.accept(channel=channel)
    desk.fleet.put("cools", 2)
    desk.fleet.put("paused", 2)
    desk.fleet.put("broken", 2)
    desk.fleet.stand("paused", "paused", "by hand")
    desk.fleet.stand("broken", "disabled", "401")
    cooling = desk.store.keys.account("1:discord", "cools")
    desk.store.client.hset(cooling, "cooling_until_ms", int(desk.store.client.time()[0]) * 1000 + 42_500)
    desk.store.client.zrem(desk.store.keys.of("free", "1:discord"), "cools")

    job = desk.accept()
    told = desk.explain(job)

    assert desk.reasons(job) | {"cools": ""} == {
        "full": "full 1/1",
        "paused": "paused: by hand",
        "broken": "disabled: 401",
        "cools": "",
    }
    assert desk.reasons(job)["cools"].startswith("cooling 4")
    assert told.counts == {"full": 1, "paused": 1, "disabled": 1, "cooling": 1}
    assert (told.line, told.ahead, told.lease) == ("any account", 0, {})
    assert told.sentence.startswith("It waits for any account: 1 ")


def test_a_job_knows_how_many_are_ahead_of_it(desk: Desk) -> None:
    desk.accept()
    desk.accept(priority=5)
    job = desk.accept()

    told = desk.explain(job)

    assert told.ahead == 2
    assert told.sentence == "It waits for any account, and none is registered."


def test_a_jobs_own_limit_and_accounts_kept_for_pinned_jobs_are_told(desk: Desk) -> None:
    desk.fleet.put("busy", 3)
    desk.accept(channel="busy")
    job = desk.accept(limit=1)

    assert desk.reasons(job) == {"busy": "runs 1, and the job asks for fewer than 1"}


def test_a_pinned_job_is_told_of_its_channel_alone(desk: Desk) -> None:
    desk.fleet.put("its-own", 1)
    desk.fleet.put("another", 1)
    desk.accept(channel="its-own")
    job = desk.accept(channel="its-own")

    told = desk.explain(job)

    assert (told.line, told.counts) == ("channel its-own", {"full": 1})


def test_a_job_that_does_not_wait_is_told_who_holds_it(desk: Desk) -> None:
    desk.fleet.put("free", 1)
    job = desk.accept()

    reserved = desk.explain(job)
    desk.fleet.claim(job, owner="worker-7")
    claimed = desk.explain(job)

    assert (reserved.line, reserved.lease["state"], reserved.lease["owner"]) == (None, "R", None)
    assert "no worker has taken it up yet" in reserved.sentence
    assert (claimed.lease["state"], claimed.lease["owner"]) == ("C", "worker-7")
    assert claimed.lease["expires_in_s"] > 0
    assert claimed.as_json()["job"]["id"] == job


def test_an_ended_job_is_told_with_its_error(desk: Desk) -> None:
    job = desk.accept()
    desk.store.do(Jobs(desk.settings).cancel(job))

    assert desk.explain(job).sentence == "It has ended: cancelled."


def test_while_the_fleet_learns_nothing_is_granted(desk: Desk) -> None:
    job = desk.accept()
    desk.store.client.set(desk.store.keys.of("learning"), "the server changed", px=20_000)

    assert "Nothing is granted for" in desk.explain(job).sentence


def test_only_the_first_accounts_are_listed_and_all_are_counted(desk: Desk) -> None:
    for n in range(ACCOUNTS_SHOWN + 10):
        desk.fleet.put(f"channel-{n:03}", 1)
        desk.accept(channel=f"channel-{n:03}")

    told = desk.explain(desk.accept())

    assert len(told.accounts) == ACCOUNTS_SHOWN
    assert told.counts == {"full": ACCOUNTS_SHOWN + 10}


def test_an_unknown_job_and_another_users_are_not_found(desk: Desk) -> None:
    job = desk.accept()

    with pytest.raises(JobNotFound):
        desk.explain("20261122203000123ABCDEF")
    with pytest.raises(JobNotFound):
        desk.explain(job, user=2)


def test_a_guest_that_rests_alone_says_so_whatever_its_channel_has(desk: Desk) -> None:
    desk.fleet.put("c1", 2)
    desk.fleet.bring("j1", "S", channel="c1", own="a token")
    desk.fleet.handback("j1", cool_ms=60_000)
    record = desk.store.keys.job("j1")
    request = CreateSingle(prompt="a calm sea", style="Anime").model_dump_json(exclude_none=True)
    desk.store.client.hset(record, "request", request)

    told = desk.explain("j1")

    assert (told.line, told.counts) == ("channel c1", {"resting": 1})
    assert told.accounts[0].reason.startswith("the job's own token was held up; it rests ")


def test_a_guest_that_waits_on_a_visited_channel_is_told_by_its_own_limit(desk: Desk) -> None:
    desk.fleet.submit("j1", pin="c1", limit=1, own="one")
    desk.fleet.submit("j2", pin="c1", limit=1, own="another")

    assert desk.reasons("j2") == {"c1": "runs 1, and the job asks for fewer than 1"}
