"""answer: a submission's held answer is given. Until then whoever would have to wait again is ended instead."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.replies import table
from tests.support.fleet import FAR_MS, PAST_MS, Fleet

HELD_MS = 15_000


def held(fleet: Fleet, job: str = "j1", **options: Any) -> None:
    assert fleet.submit(job, mode="refuse", held_ms=HELD_MS, **options)[0] == "created"


def answer(fleet: Fleet, job: str = "j1") -> dict[str, str]:
    verdict, record = fleet.run("answer", job)
    assert verdict == "ok"
    return table(record)


def test_an_unknown_job_is_missing(fleet: Fleet) -> None:
    assert fleet.run("answer", "j1") == ["missing"]


def test_a_held_job_that_is_refused_everywhere_ends_and_its_key_is_free_again(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet, key="k", deadline_ms=FAR_MS)
    fleet.store.client.hset(fleet.key("job", "j1"), "reply_url", "http://listener")
    fleet.claim("j1")

    assert fleet.handback("j1", "busy", cool_ms=5000) == ["refused"]

    record = answer(fleet)
    assert (record["status"], fleet.pending(), fleet.used("c1")) == ("failed", [], [])
    assert 4000 < int(record["refused"].removeprefix("throttled ")) <= 5000 * 1.5
    assert fleet.store.client.exists(fleet.key("callbacks")) == 0
    fleet.end_cooling("c1")
    fleet.dispatch()
    assert fleet.submit("j2", mode="refuse", held_ms=HELD_MS, key="k", digest="another")[0] == "created"


def test_a_held_job_goes_to_another_account_first(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.put("c2")
    fleet.claim("j1")

    assert fleet.handback("j1", "busy", cools="said") == ["pending"]

    assert (fleet.state("j1"), fleet.lease("j1")["channel"], fleet.status("j1")) == ("R", "c2", "created")


def test_where_no_account_is_usable_any_more_the_caller_hears_that(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.claim("j1")

    assert fleet.handback("j1", "401", disable="operator") == ["refused"]

    assert answer(fleet)["refused"] == "unusable"


def test_the_gate_ends_a_held_job_that_it_sends_back(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.claim("j1")
    fleet.stand("c1", "paused")

    assert fleet.mark_submitting("j1") == ["pending", "account paused"]

    assert (answer(fleet)["refused"], fleet.status("j1"), fleet.pending()) == ("unusable", "failed", [])


def test_an_answered_job_waits_where_it_is_refused(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.claim("j1")

    assert answer(fleet)["status"] == "created"

    assert fleet.again_changes_nothing()[0] == "ok"
    assert fleet.handback("j1", "busy", cools="said") == ["pending"]
    assert (fleet.pending(), fleet.status("j1")) == (["j1"], "created")


def test_an_accepted_job_is_answered(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.claim("j1")
    fleet.mark_submitting("j1")
    fleet.mark_accepted("j1")

    assert fleet.handback("j1", "the bot is busy", cools="said", known="A", remote="remote-j1") == ["pending"]

    assert (fleet.pending(), fleet.status("j1")) == (["j1"], "created")


def test_a_job_whose_answer_was_never_given_waits_once_its_time_is_over(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet)
    fleet.claim("j1")
    fleet.store.client.hset(fleet.key("job", "j1"), "held_until_ms", PAST_MS)

    assert fleet.handback("j1", "busy", cools="said") == ["pending"]

    assert fleet.pending() == ["j1"]


@pytest.mark.parametrize("own", ["", "a-token"])
def test_a_pinned_held_job_that_is_refused_leaves_nothing_behind(fleet: Fleet, own: str) -> None:
    if not own:
        fleet.put("c1")
    held(fleet, pin="c1", limit=3, own=own)
    fleet.claim("j1")

    assert fleet.handback("j1", "busy", cool_ms=5000) == ["refused"]

    assert (fleet.pending("c1"), fleet.used("c1"), answer(fleet)["status"]) == ([], [], "failed")
    assert "own_sealed" not in fleet.record("j1")


def test_a_store_that_learns_may_have_lost_an_answer_and_ends_nobody(fleet: Fleet) -> None:
    fleet.put("c1")
    held(fleet, pin="c1")
    fleet.claim("j1")
    fleet.store.client.set(fleet.key("learning"), "a test", px=20_000)

    assert fleet.handback("j1", "to be tried again") == ["pending"]

    assert (fleet.status("j1"), fleet.pending("c1")) == ("created", ["j1"])
