"""What every refusal of Discord's does to a job and its account: docs/discord-errors.md, held against the real thing.

Each row is a job on an account of a user's own, on a real store; a worker process runs it against the simulator. A row
whose answer means the whole fleet, or its address, has a store's namespace and a worker to itself.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import Store, open_store
from dispatcher.jobs import Jobs
from dispatcher.models import Job
from dispatcher.options import Options
from dispatcher.requests import CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from simulator.process import running
from tests.support.discord_errors import KINDS, ROWS, Effect, Row, line_of
from tests.support.discord_world import World
from tests.support.roles import a_role
from tests.support.store import schema_problems
from workers.upstream.discord.refusals import RULES

ALL_OF_US = {"fleet", "doubtful", "address"}
"""Whose fault stops every other job as well."""
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "discord-errors.md"
WRITTEN = ROOT / "build" / "discord-errors.md"
BEGIN = "| HTTP | code |"
PATIENCE_S = 90.0
KEY = bytes(32)
KEYS = SecretKeys({"k1": KEY})
ORDER = ("user", "index", "list", "submission")
"""Readings that no channel tells apart come first, one after the other, while no other job begins."""
QUICK = {"POLL_MIN_S": "0.2", "POLL_MAX_S": "0.5", "MIN_INTERVAL_MS": "0", "START_TIMEOUT_S": "1"}

T = TypeVar("T")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as url:
        yield url


@dataclass
class Case:
    """One row under way."""

    row: Row
    user: int
    world: World
    store: Store
    settings: Settings
    job: Job | None = None
    rest: str = ""

    @property
    def server(self) -> str:
        """One of its own, so that its command index is read for it."""
        return str(10**17 + self.user)

    def begin(self) -> None:
        """Store the account, direct what will be answered, and enqueue the job for that account."""
        accounts, token = Accounts(self.settings, KEYS), SecretStr(self.world.token)
        put = accounts.put(user=self.user, channel=self.world.channel, server=self.server, secret=token, max_jobs=1)
        self.store.do(put)
        if self.row.on == "submission":
            wait = "" if self.row.retry_after_s is None else f" retry_after={self.row.retry_after_s}"
            directive = f"seconds=0.5 submit={self.row.answer} scope={self.row.scope}{wait}"
            self.world.control("next", directive=directive, count=self.row.times, channel=self.world.channel)
        elif self.row.on != "list":
            self._answer()
        seconds = 4 if self.row.on == "list" else 0.5
        request = CreateSingle(prompt=f"a cat {self.user}", style="Realistic")
        if self.row.on == "list":
            self.world.control("next", directive=f"seconds={seconds} ack=0", channel=self.world.channel)
        self.job = self.store.do(Jobs(self.settings).submit(request, Options(user=self.user)))
        if self.row.on == "list":
            wait_for(lambda: self.read().messageId)
            self._answer()

    def _answer(self) -> None:
        place = {"channel": self.world.channel} if self.row.on == "list" else {}
        told: dict[str, Any] = {"answer": self.row.answer, "count": self.row.times, **place}
        self.world.control("answers", kind=KINDS[self.row.on], retry_after=self.row.retry_after_s, **told)

    def read(self) -> Job:
        assert self.job is not None
        return self.store.do(Jobs(self.settings).get(self.job.id))

    def is_decided(self) -> bool:
        """Whether nothing more will happen to the job; on the way, how its account rests is noted."""
        account = self.store.do(Accounts(self.settings, KEYS).get(user=self.user, channel=self.world.channel))
        if account.cooling_cause and not self.rest:
            asked_s = account.cooling_until_ms / 1000 - time.time()
            long = "a minute" if asked_s > 30 else "as long as it asked"
            self.rest = f"rests {long}" if account.cooling_cause == "asked" else f"rests ({account.cooling_cause})"
        is_at_rest = self.row.fault in ALL_OF_US and self.row.retry_after_s is None and bool(self._returned())
        return self.read().is_final or account.state == "disabled" or is_at_rest

    def effect(self) -> Effect:
        account = self.store.do(Accounts(self.settings, KEYS).get(user=self.user, channel=self.world.channel))
        counts = self.world.oracle()["accounts"].get(self.world.channel, {"accepted": 0, "refused": {}})
        standing = [self.rest] if self.rest else []
        if account.state == "disabled":
            revived = {"check": "a check finds it well", "operator": "its operator resumes it"}[str(account.revive)]
            standing.append(f"disabled until {revived}")
        return Effect(
            self._did(), "; ".join(standing) or "nothing", counts["accepted"] + sum(counts["refused"].values())
        )

    def _did(self) -> str:
        job = self.read()
        assert self.job is not None
        requeues = int(self.store.client.hget(self.store.keys.job(self.job.id), "requeues") or 0)
        returned = f"handed back ({'counted' if requeues else 'not counted'})" if self._returned() else ""
        end = {"created": "waits", "completed": "completed"}.get(job.status, "")
        if not end:
            told = (job.error or "").removeprefix("discord: ").partition(":")[0].partition(",")[0]
            end = f"{job.status} ({told})"
        return f"{returned}, {end}" if returned else end

    def _returned(self) -> list[str]:
        return [line for line in self.read().history if line.split()[1] == "returned"]


def wait_for(condition: Callable[[], T]) -> T:
    end_s = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end_s, "waited too long"
        time.sleep(0.05)
    return found


def are_decided(cases: list[Case]) -> bool:
    """Look at every case, whatever the ones before it say: each look may note how an account rests."""
    decided = [case.is_decided() for case in cases]
    return all(decided)


@contextmanager
def fleet(settings: Settings, url: str, log: Path) -> Iterator[tuple[Settings, Store]]:
    """A namespace of its own with a worker process; afterwards every key must be in the schema."""
    assert settings.redis_url is not None
    own = settings.model_copy(update={"namespace": f"{{t{uuid.uuid4().hex[:12]}}}"})
    secret_keys = f"k1:{base64.b64encode(KEY).decode()}"
    environs = {f"DISPATCHER_{name}": value for name, value in QUICK.items()}
    environs |= {"DISPATCHER_DISCORD_API_URL": f"{url}/api/v9", "DISPATCHER_SECRET_KEYS": secret_keys}
    store = open_store(settings.redis_url, own.namespace)
    try:
        with a_role("work", own, log, **environs):
            yield own, store
        assert not schema_problems(store.client, own.namespace)
    finally:
        for key in store.client.scan_iter(f"{own.namespace}:*", count=1000):
            store.client.delete(key)
        store.close()


@pytest.mark.timeout(240)
def test_the_page_says_what_each_answer_does_to_a_job_and_its_account(
    settings: Settings, url: str, tmp_path: Path
) -> None:
    cases: list[Case] = []
    with ExitStack() as stack:
        shared = stack.enter_context(fleet(settings, url, tmp_path / "shared.log"))
        for user, row in enumerate(sorted(ROWS, key=lambda row: ORDER.index(row.on)), start=1):
            log = tmp_path / f"{user}.log"
            own, store = stack.enter_context(fleet(settings, url, log)) if row.fault in ALL_OF_US else shared
            cases.append(Case(row, user, World(url), store, own))
        for case in cases:
            case.begin()
            if case.row.on in {"user", "index"}:
                wait_for(case.is_decided)
        wait_for(lambda: are_decided(cases))
        lines = {case.row: line_of(case.row, case.effect()) for case in cases}

    text = PAGE.read_text() if PAGE.exists() else ""
    head = text.partition(BEGIN)[0]
    columns = f"{BEGIN} to which request | whose fault | the job | its account | submissions |"
    WRITTEN.parent.mkdir(exist_ok=True)
    WRITTEN.write_text(head + "\n".join([columns, "|---" * 7 + "|", *(lines[row] for row in ROWS)]) + "\n")
    assert WRITTEN.read_text() == text, "cp build/discord-errors.md docs/discord-errors.md, if what it did is right"


@pytest.mark.parametrize("row", [row for row in ROWS if row.on == "submission"], ids=lambda row: row.answer)
def test_every_refusal_of_the_page_has_a_rule_that_names_it(row: Row) -> None:
    status, symbol = row.response.status_code, row.symbol
    is_only_a_status = status in {401, 429} or status >= 500  # the page names no code, or a number of the limit's

    assert any(
        rule.symbol == symbol or (rule.symbol is None and rule.status == status and is_only_a_status) for rule in RULES
    )
