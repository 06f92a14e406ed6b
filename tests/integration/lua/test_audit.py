"""audit: jobs, leases, slots, free sets and deliveries against each other; each fault is made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dispatcher.audit import MEANINGS
from dispatcher.connection import Store
from dispatcher.leases import REDELIVERIES_MAX
from tests.support.fleet import PAST_MS, Fleet
from tests.support.snapshot import breaches, snapshot

STATES = ["P", "R", "C", "S", "U", "A", "D", "F"]
POOL = "1:discord"


class Hospital(Fleet):
    """A fleet that is broken on purpose, and examined."""

    def examine(self, *items: tuple[str, str, str], repairs: str = "none") -> list[list[str]]:
        """What is found about these things; None named: about all jobs and channels there are."""
        named = [part for item in items or self.all() for part in item]
        learning, findings = self.run(
            "audit", self.seed(), self.times.ttl_ms, repairs, self.times.strike_ms, REDELIVERIES_MAX, *named
        )
        assert learning == self.store.client.exists(self.key("learning"))
        assert {kind for kind, *_ in findings} <= set(MEANINGS)
        told: list[list[str]] = findings
        return told

    def all(self) -> list[tuple[str, str, str]]:
        """Every job and channel of the pool."""
        keys = [key.removeprefix(self.key("")) for key in self.store.client.scan_iter(self.key("*"))]
        jobs = {name.partition(":")[2] for name in keys if name.startswith(("job:", "lease:"))}
        channels = {name.rpartition(":")[2] for name in keys if name.startswith(("account:", "slots:"))}
        channels |= set(self.hash("channels"))
        return [*(("job", "", job) for job in sorted(jobs)), *(("channel", POOL, name) for name in sorted(channels))]

    def kinds(self, *items: tuple[str, str, str]) -> set[str]:
        """The kinds of what is found."""
        return {kind for kind, *_ in self.examine(*items)}

    def repair(self) -> set[tuple[str, str]]:
        """Repair all that can be: kinds and outcomes."""
        return {(kind, outcome) for kind, *_, outcome in self.examine(repairs="all")}

    def lapse(self, job: str) -> None:
        """The lease expired long ago, and nobody has looked."""
        self.store.client.zadd(self.key("expiry"), {job: PAST_MS})


@pytest.fixture
def ward(store: Store) -> Hospital:
    """A fleet that may be left ill."""
    return Hospital(store)


@pytest.fixture
def fleet(ward: Hospital) -> Iterator[Hospital]:
    """A fleet that must be well at the end."""
    yield ward
    assert not breaches(snapshot(ward.store), lost=ward.lost)
    assert ward.examine() == []


def world(fleet: Hospital, *states: str) -> None:
    """A job in each state, one on each channel; the one in P finds all of them full or paused."""
    for state in states:
        channel = f"c{state}"
        fleet.put(channel)
        if state == "P":
            fleet.stand(channel, "paused")
        fleet.bring(f"j{state}", state, channel=channel, deadline_ms=fleet.times.ttl_ms)


# --- sound stores ------------------------------------------------------------------------------------------


def test_a_sound_store_has_no_findings_whatever_states_its_jobs_are_in(fleet: Hospital) -> None:
    world(fleet, *STATES)

    assert fleet.examine() == []
    assert fleet.examine(("listed", "1:started", "jA"), ("pending", f"{POOL}:cP", "jP"), ("pending", POOL, "jA")) == []
    before = snapshot(fleet.store)
    assert fleet.examine(repairs="all") == []
    assert snapshot(fleet.store).values == before.values


def test_what_is_gone_is_no_finding(fleet: Hospital) -> None:
    names = [("job", "", "gone"), ("channel", POOL, "gone"), ("pending", POOL, "gone"), ("listed", "1:created", "gone")]

    assert fleet.examine(*names) == []


def test_more_slots_than_a_lowered_limit_are_no_finding(fleet: Hospital) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2", "j3"):
        fleet.bring(job, "A")
    fleet.put("c1", 1)

    assert fleet.examine() == []


def test_a_delivery_on_its_way_to_a_worker_is_no_finding(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "R")
    fleet.lose("j1")

    assert fleet.examine(repairs="all") == []


def test_an_expired_lease_that_a_reaper_will_see_is_no_finding(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.zadd(fleet.key("expiry"), {"j1": fleet.now_ms() - 1000})

    assert fleet.examine(repairs="all") == []


def test_a_delivery_that_waits_long_in_the_queue_is_no_finding(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "R")
    fleet.lapse("j1")

    assert fleet.examine(repairs="all") == []


def test_a_cooling_that_has_just_ended_is_no_finding(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S")
    fleet.handback("j1", cool_ms=60_000)
    assert fleet.examine() == []
    fleet.end_cooling("c1")

    assert fleet.examine(repairs="all") == []


def test_a_poisoned_job_that_drains_without_an_expiry_is_no_finding(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.store.client.hset(fleet.key("job", "j1"), "redeliveries", REDELIVERIES_MAX)
    fleet.strike_twice("j1")
    assert fleet.state("j1") == "D"

    assert fleet.examine(repairs="all") == []


# --- slot without lease ------------------------------------------------------------------------------------


def test_a_slot_without_a_lease_is_freed_and_granted(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.store.client.zadd(fleet.key("slots", POOL, "c1"), {"ghost": fleet.now_ms()})
    fleet.store.client.zrem(fleet.key("free", POOL), "c1")
    fleet.submit("waits")
    assert fleet.kinds() == {"slot_without_lease"}
    assert fleet.used("c1") == ["ghost"]

    assert fleet.repair() == {("slot_without_lease", "repaired")}
    assert fleet.used("c1") == ["waits"]
    assert fleet.again_changes_nothing() == [0, []]


def test_a_second_slot_of_a_job_that_runs_elsewhere_is_freed(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "A")
    fleet.put("c2")
    fleet.store.client.zadd(fleet.key("slots", POOL, "c2"), {"j1": fleet.now_ms()})
    fleet.store.client.zrem(fleet.key("free", POOL), "c2")

    assert fleet.repair() == {("slot_without_lease", "repaired")}
    assert (fleet.used("c1"), fleet.used("c2"), fleet.free()) == (["j1"], [], ["c2"])


@pytest.mark.parametrize("state", ["S", "U", "A", "D"])
def test_a_slot_whose_job_may_run_upstream_is_held_until_its_time_is_over(ward: Hospital, state: str) -> None:
    ward.put("c1")
    ward.bring("j1", state)
    ward.store.client.delete(ward.key("lease", "j1"))

    assert ("slot_without_lease", "reported") in ward.repair()
    assert ward.used("c1") == ["j1"]

    ward.pass_deadline("j1")
    assert ("slot_without_lease", "repaired") in ward.repair()
    assert (ward.used("c1"), ward.free()) == ([], ["c1"])


def test_the_slot_of_a_job_that_was_handed_back_is_freed(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.bring("j1", "S", deadline_ms=600_000)
    fleet.stand("c1", "paused")
    fleet.handback("j1")
    fleet.store.client.zadd(fleet.key("slots", POOL, "c1"), {"j1": fleet.now_ms()})

    assert fleet.repair() == {("slot_without_lease", "repaired")}
    assert (fleet.used("c1"), fleet.pending()) == ([], ["j1"])


def test_the_last_slot_of_a_deleted_account_ends_its_drain(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.store.client.zadd(fleet.key("slots", POOL, "c1"), {"ghost": fleet.now_ms()})
    fleet.remove("c1")
    assert fleet.account("c1")

    fleet.repair()

    assert not fleet.account("c1")


# --- lease without slot ------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["R", "C", "S", "U", "A", "D"])
def test_a_lease_without_a_slot_gets_it_back(fleet: Hospital, state: str) -> None:
    fleet.put("c1")
    fleet.bring("j1", state)
    before = snapshot(fleet.store).settled()
    fleet.store.client.zrem(fleet.key("slots", POOL, "c1"), "j1")
    fleet.store.client.zadd(fleet.key("free", POOL), {"c1": 0})
    assert fleet.kinds() == {"lease_without_slot"}

    [[kind, *_, outcome]] = fleet.examine(("job", "", "j1"), repairs="all")
    assert (kind, outcome) == ("lease_without_slot", "repaired")
    assert snapshot(fleet.store).settled() == before
    assert fleet.again_changes_nothing() == [0, []]


def test_a_slot_is_restored_even_above_the_limit(ward: Hospital) -> None:
    ward.put("c1")
    ward.bring("j1", "A")
    ward.store.client.zrem(ward.key("slots", POOL, "c1"), "j1")
    ward.store.client.zadd(ward.key("free", POOL), {"c1": 0})
    ward.submit("j2")
    assert ward.channel("j2") == "c1"

    ward.repair()

    assert ward.used("c1") == ["j1", "j2"]
    assert ward.kinds() == {"over_limit"}


# --- free membership ---------------------------------------------------------------------------------------


def test_a_channel_missing_from_the_free_set_is_put_back_and_granted(fleet: Hospital) -> None:
    fleet.put("c1")
    fleet.store.client.zrem(fleet.key("free", POOL), "c1")
    fleet.submit("waits")
    assert fleet.examine() == [["free_wrong", "", POOL, "c1", "used none, not 0", "reported"]]

    assert fleet.repair() == {("free_wrong", "repaired")}
    assert fleet.channel("waits") == "c1"


@pytest.mark.parametrize("repairs", ["free", "all"])
def test_a_channel_that_is_wrongly_free_is_taken_out(fleet: Hospital, repairs: str) -> None:
    fleet.put("c1")
    fleet.stand("c1", "paused")
    fleet.store.client.zadd(fleet.key("free", POOL), {"c1": 0, "never": 0})

    found = fleet.examine(("channel", POOL, "c1"), ("channel", POOL, "never"), repairs=repairs)

    assert [(kind, outcome) for kind, *_, outcome in found] == [("free_wrong", "repaired")] * 2
    assert fleet.free() == []


def test_a_wrong_number_of_used_slots_is_rebuilt(fleet: Hospital) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.store.client.zadd(fleet.key("free", POOL), {"c1": 0})

    assert fleet.repair() == {("free_wrong", "repaired")}
    assert fleet.score("c1", "free", POOL) == 1


def test_the_repair_of_what_is_derived_touches_nothing_else(ward: Hospital) -> None:
    ward.put("c1")
    ward.store.client.zadd(ward.key("slots", POOL, "c1"), {"ghost": ward.now_ms()})

    found = ward.examine(repairs="free")

    assert {(kind, outcome) for kind, *_, outcome in found} >= {
        ("slot_without_lease", "reported"),
        ("free_wrong", "repaired"),
    }
    assert ward.used("c1") == ["ghost"]


# --- lease without delivery --------------------------------------------------------------------------------


@pytest.mark.parametrize("has_expiry", [True, False])
def test_a_delivery_that_nobody_has_is_minted_anew(fleet: Hospital, has_expiry: bool) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "R")
    fleet.store.client.delete(fleet.queue_key)
    fleet.lapse("j1")
    if not has_expiry:
        fleet.store.client.zrem(fleet.key("expiry"), "j1")
    assert "lease_without_delivery" in fleet.kinds()

    assert ("lease_without_delivery", "suspected") in fleet.repair()
    assert fleet.repair() == set()
    fleet.lapse("j1")
    assert ("lease_without_delivery", "repaired") in fleet.repair()
    assert int(fleet.token("j1")) > int(old)
    assert fleet.queue() == [f"j1-{fleet.token('j1')}"]
    assert (fleet.state("j1"), fleet.record("j1")["redeliveries"]) == ("R", "1")
    assert fleet.again_changes_nothing() == [0, []]


def test_a_queued_delivery_whose_hash_is_lost_is_minted_anew(fleet: Hospital) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", "R")
    fleet.store.client.delete(fleet.key("rq", "job", f"j1-{old}"))

    assert fleet.repair() == {("lease_without_delivery", "repaired")}
    assert fleet.queue() == [f"j1-{fleet.token('j1')}"]
    assert fleet.token("j1") != old


@pytest.mark.parametrize(("state", "becomes"), [("C", "R"), ("S", "U"), ("U", "U"), ("A", "A"), ("D", "D")])
def test_a_silent_owner_is_struck_twice_before_another_gets_its_job(fleet: Hospital, state: str, becomes: str) -> None:
    fleet.put("c1")
    old = fleet.bring("j1", state)
    fleet.lapse("j1")
    assert {(kind, outcome) for kind, *_, outcome in fleet.examine()} == {("lease_without_delivery", "suspected")}
    assert "suspect" not in fleet.lease("j1")

    before_ms = fleet.now_ms()
    assert fleet.repair() == {("lease_without_delivery", "suspected")}
    assert fleet.token("j1") == old
    assert "suspect" in fleet.lease("j1")
    assert (fleet.score("j1", "expiry") or 0) >= before_ms + fleet.times.strike_ms

    fleet.lapse("j1")
    assert fleet.repair() == {("lease_without_delivery", "repaired")}
    assert (fleet.state("j1"), fleet.lease("j1")["execution"]) == (becomes, "")
    assert fleet.queue()[0] == f"j1-{fleet.token('j1')}"
    assert fleet.used("c1") == ["j1"]


def test_a_renewal_between_the_strikes_clears_them(fleet: Hospital) -> None:
    fleet.put("c1")
    token = fleet.bring("j1", "A")
    fleet.lapse("j1")
    fleet.repair()
    fleet.renew("j1")

    assert fleet.repair() == set()
    assert (fleet.token("j1"), "suspect" in fleet.lease("j1")) == (token, False)


def test_a_lease_whose_owner_renews_keeps_its_token_though_rq_lost_the_delivery(ward: Hospital) -> None:
    ward.put("c1")
    token = ward.bring("j1", "A")
    ward.store.client.delete(ward.key("rq", "job", f"j1-{token}"))

    assert ward.repair() == {("lease_without_delivery", "reported")}
    assert ward.token("j1") == token


def test_poison_is_left_to_the_reaper(ward: Hospital) -> None:
    ward.put("c1")
    token = ward.bring("j1", "R")
    ward.store.client.delete(ward.queue_key)
    ward.store.client.hset(ward.key("job", "j1"), "redeliveries", REDELIVERIES_MAX)
    ward.lapse("j1")

    assert ward.repair() == {("lease_without_delivery", "reported")}
    assert ward.token("j1") == token


@pytest.mark.parametrize("pin", ["", "c1"])
def test_nothing_is_repaired_or_delivered_while_the_store_learns(ward: Hospital, pin: str) -> None:
    ward.put("c1", 2)
    ward.bring("j1", "R", channel=pin)
    ward.store.client.delete(ward.queue_key)
    ward.lapse("j1")
    ward.store.client.zadd(ward.key("slots", POOL, "c1"), {"ghost": ward.now_ms()})
    ward.store.client.set(ward.key("learning"), 1, px=60_000)
    before = snapshot(ward.store).values

    assert ward.repair() == {("slot_without_lease", "reported"), ("free_wrong", "reported")}
    assert snapshot(ward.store).values == before
    ward.store.client.delete(ward.key("learning"))


# --- what is only told -------------------------------------------------------------------------------------

BREAKS: list[tuple[str, str, str, Any]] = [
    ("job_nowhere", "P", "ZREM", ("pending:1:discord:cP", "jP")),
    ("job_nowhere", "R", "DEL", ("lease:jR",)),
    ("job_waits_and_runs", "A", "ZADD", ("pending:1:discord:cA", 1, "jA")),
    ("final_job_waits", "F", "ZADD", ("pending:1:discord:cF", 1, "jF")),
    ("final_job_leased", "A", "HSET", ("job:jA", "status", "completed")),
    ("live_job_draining", "A", "HSET", ("lease:jA", "state", "D")),
    ("pending_misplaced", "P", "ZADD", ("pending:1:discord:cP", 1, "jP")),
    ("list_mismatch", "A", "ZADD", ("jobs:1:failed", 1, "jA")),
    ("list_mismatch", "A", "ZREM", ("jobs:1:started", "jA")),
    ("list_mismatch", "A", "ZREM", ("jobs:1", "jA")),
    ("list_mismatch", "A", "ZADD", ("jobs:1", 1, "jA")),
    ("record_unreadable", "P", "HDEL", ("job:jP", "score")),
    ("record_unreadable", "A", "HDEL", ("job:jA", "status")),
    ("record_life", "F", "PERSIST", ("job:jF",)),
    ("record_life", "A", "EXPIRE", ("job:jA", 1000)),
    ("lease_without_record", "A", "DEL", ("job:jA",)),
    ("lease_unreadable", "A", "HDEL", ("lease:jA", "channel")),
    ("lease_unreadable", "A", "HSET", ("lease:jA", "state", "X")),
    ("lease_unreadable", "A", "HDEL", ("lease:jA", "token")),
    ("expiry_missing", "A", "ZREM", ("expiry", "jA")),
    ("expiry_missing", "D", "ZREM", ("expiry", "jD")),
    ("expiry_without_lease", "F", "ZADD", ("expiry", 1, "jF")),
    ("deadline_missing", "A", "ZREM", ("deadlines", "jA")),
    ("deadline_missing", "D", "ZREM", ("deadlines", "jD")),
    ("deadline_missing", "P", "ZREM", ("deadlines", "jP")),
    ("deadline_stray", "F", "ZADD", ("deadlines", 1, "jF")),
    ("token_beyond_fence", "A", "SET", ("fence", 1)),
    ("over_limit", "A", "HSET", ("account:1:discord:cA", "max_jobs", 0, "updated_ms", 1)),
    ("submission_without_lease", "A", "ZADD", ("submitting:1:discord:cA", 1, "jA")),
    ("submission_without_lease", "S", "ZADD", ("submitting:1:discord:cS", 1, "ghost")),
    ("account_missing", "P", "DEL", ("account:1:discord:cP",)),
    ("account_unlisted", "P", "HDEL", ("channels", "cP")),
    ("account_unlisted", "P", "SREM", ("accounts:1:discord", "cP")),
    ("account_unreadable", "P", "HDEL", ("account:1:discord:cP", "max_jobs")),
    ("drain_unended", "P", "HSET", ("account:1:discord:cP", "state", "draining")),
    ("due_missing", "P", "HSET", ("account:1:discord:cP", "cooling_until_ms", 99_999_999_999_999)),
    ("check_mismatch", "P", "HSET", ("account:1:discord:cP", "state", "disabled", "revive", "check")),
    ("check_mismatch", "P", "ZADD", ("checks", 1, "1:discord:cP")),
]


@pytest.mark.parametrize(("kind", "state", "command", "words"), BREAKS)
def test_what_cannot_be_repaired_safely_is_told_and_not_touched(
    ward: Hospital, kind: str, state: str, command: str, words: tuple[Any, ...]
) -> None:
    world(ward, state)
    assert ward.examine() == []
    name, *rest = words
    ward.store.client.execute_command(command, ward.key(name), *rest)  # type: ignore[no-untyped-call]
    before = snapshot(ward.store).values

    found = ward.examine()

    assert kind in {told for told, *_ in found}
    assert all(outcome == "reported" for told, *_, outcome in found if told == kind)
    assert snapshot(ward.store).values == before


def test_repairing_leaves_alone_what_is_only_told(ward: Hospital) -> None:
    world(ward, "P", "A")
    ward.store.client.zrem(ward.key("deadlines"), "jA", "jP")
    ward.store.client.zrem(ward.key("pending", POOL, "cP"), "jP")
    ward.store.client.zrem(ward.key("expiry"), "jA")
    before = snapshot(ward.store).values

    assert {outcome for _, outcome in ward.repair()} == {"reported"}
    assert snapshot(ward.store).values == before


@pytest.mark.parametrize("name", ["token", "state", "pool", "channel"])
def test_an_unreadable_lease_is_one_fault(ward: Hospital, name: str) -> None:
    ward.put("c1")
    ward.bring("j1", "A")
    ward.store.client.hdel(ward.key("lease", "j1"), name)

    assert ward.repair() == {("lease_unreadable", "reported")}
    assert ward.used("c1") == ["j1"]


def test_a_line_and_a_list_without_records_are_told(ward: Hospital) -> None:
    ward.put("c1")
    ward.store.client.zadd(ward.key("pending", POOL), {"ghost": 1})
    ward.store.client.zadd(ward.key("pending", POOL, "c1"), {"ghost": 1})
    ward.store.client.zadd(ward.key("jobs", "1", "started"), {"ghost": 1})
    ward.store.client.zadd(ward.key("deadlines"), {"ghost": 1})
    items = [("pending", POOL, "ghost"), ("pending", f"{POOL}:c1", "ghost"), ("listed", "1:started", "ghost")]

    assert [(kind, where) for kind, _, where, *_ in ward.examine(*items, ("job", "", "ghost"))] == [
        ("pending_without_record", POOL),
        ("pending_without_record", f"{POOL}:c1"),
        ("listed_without_record", "1:started"),
        ("deadline_stray", ""),
    ]


def test_a_job_in_anothers_line_is_told(ward: Hospital) -> None:
    ward.put("c1")
    ward.bring("j1", "A")
    ward.store.client.zadd(ward.key("pending", POOL, "c1"), {"j1": 1})

    assert ward.kinds(("pending", f"{POOL}:c1", "j1")) == {"pending_misplaced"}


def test_a_key_of_a_wrong_type_keeps_nothing_else_from_being_judged(ward: Hospital) -> None:
    ward.put("c1")
    ward.bring("j1", "A")
    ward.store.client.set(ward.key("lease", "odd"), "text")
    ward.store.client.zrem(ward.key("deadlines"), "j1")

    found = ward.examine(("job", "", "odd"), ("job", "", "j1"))

    ward.store.client.delete(ward.key("lease", "odd"))
    assert [(kind, job) for kind, job, *_ in found] == [
        ("lease_without_record", "odd"),
        ("unreadable", "odd"),
        ("deadline_missing", "j1"),
    ]
    assert found[1][4].startswith("WRONGTYPE")


def test_a_channel_that_is_claimed_for_guests_without_any_is_told(ward: Hospital) -> None:
    ward.bring("j1", "R", channel="c1", own="token")
    visit = ward.account("c1")
    ward.cancel("j1")
    ward.store.client.hset(ward.key("account", POOL, "c1"), mapping=visit)  # type: ignore[arg-type]  # bytes or str
    ward.store.client.hset(ward.key("channels"), "c1", POOL)

    assert ward.kinds(("channel", POOL, "c1")) == {"visit_unended", "account_unlisted"}


def test_a_token_that_outlives_its_job_is_told(ward: Hospital) -> None:
    ward.bring("j1", "F", channel="c1", own="token")
    assert ward.examine() == []
    ward.store.client.hset(ward.key("job", "j1"), "own_sealed", "k1:token")

    assert ward.kinds() == {"token_kept"}
