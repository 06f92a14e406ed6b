"""links_ask: have a worker fetch fresh links to a final job's files."""

from __future__ import annotations

import json

import pytest

from dispatcher.handoff import REFRESH_LINKS
from dispatcher.models import Message
from tests.support.fleet import Fleet
from tests.support.links import NEW, OLD, ask, completed, tell


def test_a_refresh_is_handed_to_rq_and_its_trace_dies_by_itself(fleet: Fleet) -> None:
    completed(fleet)
    before = fleet.record("j1")

    verdict, refresh_id = ask(fleet)

    assert verdict == "ok"
    assert refresh_id.startswith("links-j1-")
    assert fleet.queue().count(refresh_id) == 1
    assert json.loads(fleet.hash("rq", "job", refresh_id)["data"]) == [REFRESH_LINKS, None, [refresh_id], {}]
    assert 0 < fleet.store.client.ttl(fleet.key("rq", "job", refresh_id)) <= 86_400
    assert 0 < fleet.store.client.ttl(fleet.key("links", "j1")) <= 600
    assert fleet.record("j1") == before
    assert fleet.again_changes_nothing() == ["ok", refresh_id]


def test_who_waits_for_links_comes_before_the_jobs_that_wait_for_a_worker(fleet: Fleet) -> None:
    completed(fleet)
    fleet.bring("j2", "R")

    _, refresh_id = ask(fleet)

    assert fleet.queue()[0] == refresh_id


def test_a_refresh_without_an_answer_is_joined_until_it_is_old(fleet: Fleet) -> None:
    completed(fleet)
    first = ask(fleet)

    assert ask(fleet) == first
    assert ask(fleet, dead=("7", OLD)) == first
    assert ask(fleet, join_ms=0) != first


def test_known_links_are_told_again_without_a_worker(fleet: Fleet) -> None:
    completed(fleet)
    first = ask(fleet)
    tell(fleet, first[1], "7", NEW)

    assert ask(fleet, join_ms=0) == first
    assert ask(fleet, dead=("7", OLD), join_ms=0) == first
    assert fleet.hash("links", "j1")["url:7"] == NEW


def test_a_known_link_that_was_found_dead_is_asked_for_anew(fleet: Fleet) -> None:
    completed(fleet)
    first = ask(fleet)
    tell(fleet, first[1], "7", NEW)

    second = ask(fleet, dead=("7", NEW))

    assert second != first
    assert set(fleet.hash("links", "j1")) == {"id", "asked_ms"}
    assert fleet.again_changes_nothing() == second


def test_a_refusal_is_not_told_again(fleet: Fleet) -> None:
    completed(fleet)
    first = ask(fleet)
    tell(fleet, first[1], verdict="refused")

    assert ask(fleet) != first


@pytest.mark.parametrize("state", ["P", "A", "S"])
def test_a_job_that_has_not_ended_has_no_links_yet(fleet: Fleet, state: str) -> None:
    if state != "P":
        fleet.put("c1")
    fleet.bring("j1", state)
    queued = fleet.queue()

    assert ask(fleet) == ["not_final", fleet.status("j1")]
    assert fleet.queue() == queued
    assert fleet.hash("links", "j1") == {}


@pytest.mark.parametrize("status", ["failed", "moderated"])
def test_a_job_that_ended_in_any_way_may_have_files(fleet: Fleet, status: str) -> None:
    completed(fleet, status=status)

    assert ask(fleet)[0] == "ok"


@pytest.mark.parametrize("message", ["", Message(messageId="9").model_dump_json(), '{"messageId":"9"}'])
def test_a_job_without_files_is_told_so(fleet: Fleet, message: str) -> None:
    completed(fleet, message=message)

    assert ask(fleet) == ["empty"]
    assert not [delivery for delivery in fleet.queue() if delivery.startswith("links-")]


def test_a_job_that_is_gone_or_another_users_is_missing(fleet: Fleet) -> None:
    completed(fleet)

    assert ask(fleet, "j9") == ["missing"]
    assert ask(fleet, user=2) == ["missing"]
    assert not [delivery for delivery in fleet.queue() if delivery.startswith("links-")]
