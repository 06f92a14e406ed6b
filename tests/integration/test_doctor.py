"""`dispatcher doctor` and the service's audit, on a real store that is broken by hand or lived in by a real fleet."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bench.fleet import requests
from bench.stage import stage
from dispatcher import Client, audit, auditor
from dispatcher.audit import MEANINGS, REPAIRABLE, Audit, Finding
from dispatcher.auditor import Auditor
from dispatcher.connection import AsyncStore, Store
from dispatcher.plan import carry_out
from dispatcher.settings import Settings
from tests.support.cli import Cli
from tests.support.fleet import PAST_MS, Fleet
from tests.support.snapshot import breaches, snapshot

DOCS = Path(__file__).parents[2] / "docs"
POOL = "1:discord"


@pytest.fixture
def fleet(store: Store) -> Fleet:
    return Fleet(store)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The second look follows at once; holds how long the doctor would have waited."""
    waited: list[float] = []
    monkeypatch.setattr("dispatcher.cli.doctor.time.sleep", waited.append)
    return waited


def slot_without_lease(fleet: Fleet) -> None:
    fleet.store.client.zadd(fleet.key("slots", POOL, "c1"), {"ghost": 1})
    fleet.store.client.zrem(fleet.key("free", POOL), "c1")


def lease_without_slot(fleet: Fleet) -> None:
    fleet.bring("j1", "A")
    fleet.store.client.zrem(fleet.key("slots", POOL, "c1"), "j1")


def free_wrong(fleet: Fleet) -> None:
    fleet.store.client.zadd(fleet.key("free", POOL), {"c1": 7})


def lease_without_delivery(fleet: Fleet) -> None:
    fleet.bring("j1", "R")
    fleet.store.client.delete(fleet.queue_key, fleet.key("rq", "job", f"j1-{fleet.token('j1')}"))
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": PAST_MS})


FAULTS: list[Callable[[Fleet], None]] = [slot_without_lease, lease_without_slot, free_wrong, lease_without_delivery]


def test_a_sound_store_is_told_and_ends_with_0(cli: Cli, fleet: Fleet) -> None:
    fleet.put("c1", 2)
    for state in ("A", "D", "P"):
        fleet.bring(f"j{state}", state)

    assert (cli("doctor").code, cli("doctor", "--json").data) == (
        0,
        {"findings": [], "learning": False, "callbacks": {"waiting": 0, "dead": 0}},
    )
    assert cli("doctor").stdout == "All is well.\n"


@pytest.mark.parametrize("fault", FAULTS)
def test_each_named_fault_is_told_repaired_and_gone(cli: Cli, fleet: Fleet, fault: Callable[[Fleet], None]) -> None:
    fleet.put("c1")
    fault(fleet)
    kind = fault.__name__

    told = cli("doctor", "--json")
    assert told.code == 1
    assert {f["kind"]: f["repaired"] for f in told.data["findings"]}[kind] is False

    repaired = cli("doctor", "--repair", "--json")
    assert repaired.code == 1
    assert {f["kind"]: f["repaired"] for f in repaired.data["findings"]}[kind] is True

    assert cli("doctor", "--json").data["findings"] == []
    assert not breaches(snapshot(fleet.store))


def test_a_person_reads_a_table_what_it_means_and_what_to_do(cli: Cli, fleet: Fleet) -> None:
    fleet.put("c1")
    lease_without_slot(fleet)
    fleet.store.client.zrem(fleet.key("deadlines"), "j1")

    told = cli("doctor")

    assert told.code == 1
    assert ["finding", "job", "pool", "channel", "detail", "done"] in [
        line.split() for line in told.stdout.splitlines()
    ]
    assert (
        f"lease_without_slot (1): {MEANINGS['lease_without_slot']} `dispatcher doctor --repair` can put" in told.stdout
    )
    assert f"deadline_missing (1): {MEANINGS['deadline_missing']}\n" in told.stdout
    assert "repaired" in cli("doctor", "--repair").stdout


def test_many_findings_are_bounded_for_people_and_whole_for_programs(cli: Cli, fleet: Fleet) -> None:
    fleet.store.client.zadd(fleet.key("expiry"), {f"ghost{n}": 1 for n in range(700)})

    assert "… and 500 more: --json shows all." in cli("doctor").stdout
    assert len(cli("doctor", "--json").data["findings"]) == 700


def test_every_key_is_held_against_the_schema(cli: Cli, fleet: Fleet) -> None:
    client = fleet.store.client
    fleet.put("c1")
    client.set(fleet.key("strange", "key"), 1)
    client.delete(fleet.key("free", POOL))
    client.set(fleet.key("free", POOL), 1)
    client.set(fleet.key("identity", "abc"), 1)

    found = {(f["kind"], f["detail"]) for f in cli("doctor", "--json").data["findings"]}

    client.delete(fleet.key("strange", "key"), fleet.key("free", POOL), fleet.key("identity", "abc"))
    assert {kind for kind, _ in found} == {"unknown_key", "wrong_type", "life_missing", "unreadable"}
    assert ("wrong_type", f"{fleet.key('free', POOL)} is a string, not a zset") in found


def test_orphans_are_found_by_whichever_key_is_left_of_them(cli: Cli, fleet: Fleet) -> None:
    client = fleet.store.client
    client.hset(fleet.key("lease", "j1"), mapping={"pool": POOL, "channel": "c1", "token": 1, "state": "A"})
    client.zadd(fleet.key("pending", POOL, "c2"), {"j2": 1})
    client.zadd(fleet.key("slots", POOL, "c3"), {"j3": 1})
    client.zadd(fleet.key("free", POOL), {"c4": 0})
    client.zadd(fleet.key("jobs", "7", "created"), {"j5": 1})

    found = {(f["kind"], f["job"] or f["channel"]) for f in cli("doctor", "--json").data["findings"]}

    assert found >= {
        ("lease_without_record", "j1"),
        ("pending_without_record", "j2"),
        ("slot_without_lease", "j3"),
        ("free_wrong", "c4"),
        ("listed_without_record", "j5"),
    }


def test_a_store_that_is_away_ends_with_5(cli: Cli) -> None:
    told = cli("doctor", "--redis-url", "redis://127.0.0.1:1/0")

    assert (told.code, told.stdout) == (5, "")


def test_a_learning_store_is_told_of(cli: Cli, fleet: Fleet) -> None:
    fleet.store.client.set(fleet.key("learning"), 1, px=60_000)

    told = cli("doctor")

    fleet.store.client.delete(fleet.key("learning"))
    assert told.stdout.startswith("The store is learning who holds what")


# --- abandoned leases are looked at twice ------------------------------------------------------------------


def test_an_abandoned_lease_is_a_finding_after_a_second_look(cli: Cli, fleet: Fleet, at_once: list[float]) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": PAST_MS})

    told = cli("doctor", "--json")

    assert (told.code, at_once) == (1, [audit.CONFIRM_S])
    assert [(f["kind"], f["job"], f["repaired"]) for f in told.data["findings"]] == [
        ("lease_without_delivery", "j1", False)
    ]


def test_an_owner_that_speaks_between_the_looks_is_no_finding(
    cli: Cli, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    for words in (("doctor", "--json"), ("doctor", "--json", "--repair")):
        fleet.store.client.zadd(fleet.key("expiry"), {"j1": PAST_MS})
        monkeypatch.setattr("dispatcher.cli.doctor.time.sleep", lambda _: fleet.renew("j1"))

        assert cli(*words).data["findings"] == []
    assert fleet.token("j1") == token


def test_a_silent_owner_is_replaced_at_the_second_strike(
    cli: Cli, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": PAST_MS})
    monkeypatch.setattr("dispatcher.cli.doctor.time.sleep", lambda _: fleet.expire("j1"))

    assert [f["repaired"] for f in cli("doctor", "--json", "--repair").data["findings"]] == [True]
    assert (fleet.state("j1"), fleet.queue()[0]) == ("U", f"j1-{fleet.token('j1')}")


# --- the service -------------------------------------------------------------------------------------------


async def walked(loop: Auditor) -> list[Any]:
    """Walk over the store once; what was logged."""
    with capture_logs() as logs:
        await loop.step()
        while loop.interval() < auditor.INTERVAL_S:
            await loop.step()
    return logs


async def test_the_service_mends_free_sets_and_tells_the_rest_once(
    fleet: Fleet, async_store: AsyncStore, settings: Settings
) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.zrem(fleet.key("deadlines"), "j1")
    fleet.put("c2")
    fleet.store.client.zrem(fleet.key("free", POOL), "c2")
    loop = Auditor(async_store, settings)

    first, second = await walked(loop), await walked(loop)

    assert [(line["event"], line["kind"]) for line in first] == [
        ("store mended", "free_wrong"),
        ("store unsound", "deadline_missing"),
    ]
    assert (second, fleet.free()) == ([], ["c2"])

    fleet.store.client.zadd(fleet.key("deadlines"), {"j1": 1e15})
    assert await walked(loop) == []
    fleet.store.client.zrem(fleet.key("deadlines"), "j1")
    assert [line["kind"] for line in await walked(loop)] == ["deadline_missing"]


async def test_the_service_reports_an_abandoned_lease_at_the_second_walk(
    fleet: Fleet, async_store: AsyncStore, settings: Settings
) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": PAST_MS})
    loop = Auditor(async_store, settings)

    assert await walked(loop) == []
    assert [line["kind"] for line in await walked(loop)] == ["lease_without_delivery"]
    assert (fleet.token("j1"), "suspect" in fleet.lease("j1")) == (token, False)


@pytest.mark.parametrize(
    ("command", "words", "kind"),
    [
        ("ZADD", ("slots:1:discord:c1", 1, "ghost"), "slot_without_lease"),
        ("ZADD", ("free:1:discord", 0, "never"), "free_wrong"),
        ("ZADD", ("expiry", 1, "ghost"), "expiry_without_lease"),
        ("ZADD", ("deadlines", 1, "ghost"), "deadline_stray"),
        ("ZADD", ("pending:1:discord", 1, "ghost"), "pending_without_record"),
        ("ZADD", ("jobs:1:progress", 1, "ghost"), "listed_without_record"),
    ],
)
def test_the_walk_over_what_lives_sees_every_place(
    fleet: Fleet, settings: Settings, command: str, words: tuple[Any, ...], kind: str
) -> None:
    fleet.put("c1", 2)
    name, *rest = words
    fleet.store.client.execute_command(command, fleet.key(name), *rest)  # type: ignore[no-untyped-call]
    walk = Audit(settings)

    carry_out(fleet.store, walk.living())

    assert kind in {finding.kind for finding in walk.findings}


def test_a_key_of_a_wrong_type_ends_no_walk(fleet: Fleet, settings: Settings) -> None:
    fleet.store.client.set(fleet.key("expiry"), "text")
    fleet.store.client.zadd(fleet.key("deadlines"), {"ghost": 1})
    walk = Audit(settings)

    carry_out(fleet.store, walk.living())

    fleet.store.client.delete(fleet.key("expiry"))
    assert {finding.kind for finding in walk.findings} == {"wrong_type", "unreadable", "deadline_stray"}


async def test_pages_and_calls_are_bounded_and_nothing_is_left_out(fleet: Fleet, settings: Settings) -> None:
    fleet.store.client.zadd(fleet.key("expiry"), {f"ghost{n}": 1 for n in range(3000)})
    walk = Audit(settings)
    plan = walk.living()
    calls, sizes = next(plan), []
    try:
        while True:
            sizes += [len(call.args) for call in calls if call.name == "audit"]
            calls = plan.send(fleet.store.do_many(calls))
    except StopIteration:
        pass

    assert max(sizes) <= 5 + 3 * 256
    assert len(sizes) >= 3000 / 256
    assert len({finding.job for finding in walk.findings}) == 3000


# --- documents and life ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MEANINGS)
def test_every_finding_has_its_row_in_the_operations_page(kind: str) -> None:
    rows = [line for line in (DOCS / "operations.md").read_text().splitlines() if line.startswith(f"| `{kind}` |")]

    assert len(rows) == 1
    assert ("--repair" in rows[0]) == (kind in REPAIRABLE)


def test_a_finding_for_a_program_has_the_names_that_others_rely_on() -> None:
    assert Finding("free_wrong", pool=POOL, channel="c1", outcome="repaired").as_json() == {
        "kind": "free_wrong",
        "job": None,
        "pool": POOL,
        "channel": "c1",
        "detail": "",
        "repaired": True,
    }


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_living_fleet_is_never_found_fault_with(tmp_path: Path) -> None:
    """Jobs run and are cancelled, a worker stops and one is killed, while a doctor repairs without a pause."""
    dice = random.Random(7)  # noqa: S311 (chance plays a caller)
    findings: list[Finding] = []
    walks = 0
    with tempfile.TemporaryDirectory(prefix="pxd-doctor-") as folder, stage(Path(folder), SETTINGS) as on:
        on.start("run")
        workers = [on.start("work"), on.start("work")]
        on.add_accounts([1 + n % 4 for n in range(8)])
        with Client(on.settings.redis_url) as client:
            jobs = client.enqueue_many(requests(150, dice, shortest_s=0.5, longest_s=2))
            while any(job.status in audit.LIVING for job in client.jobs(limit=150)):
                walk = Audit(on.settings, repairs="all")
                carry_out(on.store, walk.everything())
                findings += walk.findings
                walks += 1
                if walks % 5 == 0:
                    client.cancel(dice.choice(jobs).id)
                if walks == 20:
                    workers[0].terminate()
                if walks == 60:
                    on.kill(workers[1])
                    on.start("work")
        oracle = on.oracle(with_jobs=False)

    assert findings == []
    assert walks >= 10
    assert oracle["breaches"] == 0


SETTINGS = {"poll_min_s": 0.2, "poll_max_s": 0.4}


def test_the_service_walks_without_holding_the_loop(settings: Settings, async_store: AsyncStore) -> None:
    loop = Auditor(async_store, settings)

    async def start_and_stop() -> None:
        loop.start()
        await asyncio.sleep(0)
        await loop.stop()

    asyncio.run(start_and_stop())
