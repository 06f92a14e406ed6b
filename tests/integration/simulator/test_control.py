"""The controls and the oracle, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from simulator.process import running
from tests.support.player import NO_TLS, SERVER_ID, Player, oracle_of, wait_for

if TYPE_CHECKING:
    pass


def declare(player: Player, limit: int | None) -> None:
    player.control("accounts", token=player.token, server=SERVER_ID, channel=player.channel_id, max_jobs=limit)


def test_a_breach_is_counted_against_the_declared_limit_as_it_stands(player: Player) -> None:
    declare(player, 2)
    for number in (1, 2):
        player.create(f"{number} [[sim seconds=60]]")
    within = player.account()["breaches"]

    player.create("3 [[sim seconds=60]]")
    declare(player, 4)
    player.create("4 [[sim seconds=60]]")

    assert within == 0
    assert {name: player.account()[name] for name in ("limit", "running", "peak", "accepted", "breaches")} == {
        "limit": 4,
        "running": 4,
        "peak": 4,
        "accepted": 4,
        "breaches": 1,
    }


@pytest.mark.parametrize("outcome", ["completed", "failed", "deleted", "silent", "ephemeral"])
def test_an_ended_job_is_running_no_more(player: Player, outcome: str) -> None:
    declare(player, 1)
    player.create(f"a cat [[sim outcome={outcome} seconds=0.4 ack=0]]")
    running_then = player.account()["running"]

    wait_for(lambda: player.account()["running"] == 0 or None)
    player.create("another [[sim seconds=60]]")

    assert running_then == 1
    assert (player.account()["breaches"], player.account()["peak"]) == (0, 1)


def test_the_same_submission_on_two_accounts_is_a_duplicate(player: Player) -> None:
    before = oracle_of(player.url)["totals"]["duplicates"]
    with Player(player.url) as other:
        for submitter in (player, other):
            submitter.create("the very same [[sim seconds=0]]")

    assert oracle_of(player.url)["totals"]["duplicates"] - before == 1


def test_a_resubmission_after_a_refusal_or_a_failure_is_no_duplicate(player: Player) -> None:
    before = oracle_of(player.url)["totals"]["duplicates"]
    for directive in ("submit=429", "outcome=failed seconds=0"):
        player.control("next", directive=directive, channel=player.channel_id)

    player.create("tried again")
    player.create("tried again")
    player.finished_job()
    player.create("tried again")

    assert oracle_of(player.url)["totals"]["duplicates"] - before == 0
    assert player.account()["accepted"] == 2


def test_a_waiting_directive_is_for_submissions_without_one(player: Player) -> None:
    player.control("next", directive="outcome=failed seconds=0", count=1, channel=player.channel_id)

    player.create("with its own [[sim seconds=0]]")
    own = player.finished_job()
    player.create("without")
    directed = player.finished_job()

    assert (own["outcome"], directed["outcome"]) == ("completed", "failed")
    assert directed["prompt"] == "without"


def test_a_waiting_directive_is_not_used_up_by_a_refused_form(player: Player) -> None:
    player.control("next", directive="outcome=failed seconds=0", channel=player.channel_id)

    player.send(player.interaction("create_single", {"prompt": "no style"}))
    player.create("with a style")

    assert player.finished_job()["outcome"] == "failed"


@pytest.mark.parametrize(
    ("path", "body", "fault"),
    [
        ("next", {"directive": "outcom=failed"}, "unknown key 'outcom'"),
        ("next", {"directive": "", "count": 0}, "count must be"),
        ("next", {"directive": "", "cuont": 2}, "unknown field cuont"),
        ("next", {"directive": "", "channel": "general"}, "channel must be a Discord id"),
        ("accounts", {"token": "t", "server": "1", "channel": 5, "max_jobs": 1}, "channel must be a Discord id"),
        ("accounts", {"token": "", "server": "1", "channel": "5", "max_jobs": 1}, "token must be"),
        ("accounts", {"token": "t", "server": "1", "channel": "5", "max_jobs": "1"}, "max_jobs must be"),
        ("reset", {"everything": True}, "unknown field everything"),
    ],
)
def test_a_mistaken_control_is_refused_with_its_reason(url: str, path: str, body: dict[str, Any], fault: str) -> None:
    answer = httpx.post(f"{url}/sim/{path}", json=body, verify=NO_TLS)

    assert answer.status_code == 400
    assert fault in answer.json()["error"]


def test_bumped_versions_outdate_the_index_read_before(player: Player) -> None:
    version = httpx.post(f"{player.url}/sim/versions/bump", verify=NO_TLS).json()["version"]

    outdated = player.create("a cat [[sim seconds=0]]")
    with Player(player.url) as fresh:
        accepted = fresh.create("a cat, again [[sim seconds=0]]")

        assert {command["version"] for command in fresh.commands.values()} == {version}
    assert (outdated.status_code, accepted.status_code) == (400, 204)


def test_requests_are_counted_by_kind(player: Player) -> None:
    before = oracle_of(player.url)["requests"]
    for _ in range(3):
        player.messages()
    player.create("a cat [[sim seconds=0]]")
    after = oracle_of(player.url)["requests"]

    assert {kind: after[kind] - before[kind] for kind in after if after[kind] != before[kind]} == {
        "messages": 3,
        "interactions": 1,
    }


def test_the_list_of_jobs_can_be_left_out(url: str) -> None:
    verdict = httpx.get(f"{url}/sim/oracle", params={"jobs": "0"}, verify=NO_TLS).json()

    wanted = ["accounts", "breaches", "requests", "session_overlaps", "sessions", "totals", "troubles"]
    assert sorted(verdict) == wanted


def test_a_reset_drops_jobs_and_messages_and_keeps_declared_limits() -> None:
    with running() as url, Player(url) as player:
        declare(player, 2)
        player.control("next", directive="outcome=failed", count=5)
        player.create("shown [[sim ack=0 seconds=60]]")
        wait_for(lambda: player.messages() or None)

        player.control("reset")

        assert player.messages() == []
        assert player.account() == {
            "limit": 2,
            "running": 0,
            "peak": 0,
            "accepted": 0,
            "breaches": 0,
            "refused": {},
        }
        assert player.jobs() == []
        player.control("next", directive="seconds=0")
        player.create("directed anew")
        assert player.finished_job()["outcome"] == "completed"

        player.control("reset", accounts=True)
        assert oracle_of(url)["accounts"] == {}
