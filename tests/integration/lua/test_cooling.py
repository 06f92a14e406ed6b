"""_cooling, the part: rests that only grow, repeats, suspects, and how a success ends all of it."""

from __future__ import annotations

import pytest

from tests.support.fleet import PAST_MS, Fleet

FIRST_MS = 10_000


def refused(fleet: Fleet, channel: str = "c1", *, cool_ms: int = 0, cools: str = "said") -> int:
    """A job of its own is refused by the account, after its last cool-down; the ms that the account rests."""
    began_ms = int(fleet.account(channel).get("cooling_began_ms", 0))
    while fleet.now_ms() <= began_ms:  # a grant in the very millisecond of a cool-down counts as before it
        pass
    job = f"j{len(fleet.listed())}"
    fleet.bring(job, "C", channel=channel)
    asked_at_ms = fleet.now_ms()
    fleet.handback(job, "why", cool_ms=cool_ms, cools=cools, requeues_max="")
    rest_ms = int(fleet.account(channel).get("cooling_until_ms", 0)) - asked_at_ms
    fleet.cancel(job)
    return rest_ms


def rest_after(fleet: Fleet, channel: str = "c1", *, cool_ms: int = 0, cools: str = "said") -> int:
    """As `refused`, and then the rest passes."""
    rest_ms = refused(fleet, channel, cool_ms=cool_ms, cools=cools)
    fleet.end_cooling(channel)
    fleet.store.client.zadd(fleet.key("suspected", fleet.pool), {channel: PAST_MS}, xx=True)
    fleet.dispatch()
    return rest_ms


def is_about(rest_ms: int, expected_ms: int) -> bool:
    """Whether it is the time or up to a quarter more; a little is lost to the clock between two calls."""
    return expected_ms <= rest_ms <= expected_ms * 1.25 + 2000


def complete(fleet: Fleet, channel: str = "c1") -> None:
    """A job of its own is submitted on the account, and completes."""
    job = f"j{len(fleet.listed())}"
    fleet.bring(job, "A", channel=channel)
    fleet.settle(job)


def test_a_guess_doubles_with_each_repeat_up_to_its_bound(fleet: Fleet) -> None:
    fleet.put("c1")

    rests = [rest_after(fleet) for _ in range(9)]

    expected = [10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000]
    assert [is_about(rest, least) for rest, least in zip(rests, expected, strict=False)] == [True] * 7
    assert all(900_000 <= rest <= 902_000 for rest in rests[7:])
    assert fleet.account("c1")["cooling_repeats"] == "9"


def test_what_the_upstream_asked_for_is_kept_in_full_and_believed_once(fleet: Fleet) -> None:
    fleet.put("c1")

    first, second, third = (rest_after(fleet, cool_ms=1500) for _ in range(3))

    assert 1500 <= first <= 1500 * 1.25 + 1000
    assert is_about(second, FIRST_MS)
    assert is_about(third, 2 * FIRST_MS)
    assert is_about(rest_after(fleet, cool_ms=3_600_000), 3_600_000)


@pytest.mark.parametrize("seed", [1, 2, 1_000_003, 2_147_483_646])
def test_chance_makes_a_rest_longer_and_never_shorter(fleet: Fleet, seed: int) -> None:
    fleet.put("c1")
    fleet.seed = lambda: seed

    assert is_about(refused(fleet, cool_ms=100_000), 100_000)


def test_accounts_refused_together_do_not_return_together(fleet: Fleet) -> None:
    for index in range(8):
        fleet.put(f"c{index}")

    rests = {refused(fleet, f"c{index}", cool_ms=10_000_000) // 10_000 for index in range(8)}

    assert len(rests) > 1


def test_refusals_within_one_cool_down_are_one_repeat(fleet: Fleet) -> None:
    fleet.put("c1", 3)
    for job in ("j1", "j2", "j3"):
        fleet.bring(job, "C")

    fleet.handback("j1", cools="said", requeues_max="")
    until_ms = int(fleet.account("c1")["cooling_until_ms"])
    fleet.handback("j2", cools="said", requeues_max="")

    assert (fleet.account("c1")["cooling_repeats"], int(fleet.account("c1")["cooling_until_ms"])) == ("1", until_ms)
    fleet.handback("j3", cool_ms=60_000, requeues_max="")
    assert (fleet.account("c1")["cooling_repeats"], fleet.account("c1")["cooling_cause"]) == ("1", "asked")
    assert int(fleet.account("c1")["cooling_until_ms"]) > until_ms


def test_a_late_refusal_of_what_was_sent_before_the_cool_down_is_no_repeat(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "A")
    fleet.bring("j2", "A")
    fleet.handback("j1", cools="said", requeues_max="")
    fleet.end_cooling("c1")

    fleet.handback("j2", cools="said", requeues_max="")

    assert fleet.account("c1")["cooling_repeats"] == "1"
    assert fleet.account("c1")["cooling_until_ms"] == str(PAST_MS)


def test_a_job_granted_before_and_submitted_after_a_cool_down_is_a_repeat(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("j1", "C")
    fleet.bring("j2", "C")
    fleet.handback("j1", cools="said", requeues_max="")
    fleet.end_cooling("c1")
    while fleet.now_ms() <= int(fleet.account("c1")["cooling_began_ms"]):
        pass
    fleet.mark_submitting("j2")

    fleet.handback("j2", cools="said", requeues_max="")

    assert fleet.account("c1")["cooling_repeats"] == "2"


def test_a_success_submitted_after_the_cool_down_began_ends_the_series(fleet: Fleet) -> None:
    fleet.put("c1")
    rest_after(fleet)
    rest_after(fleet)

    complete(fleet)

    assert "cooling_repeats" not in fleet.account("c1")
    assert is_about(refused(fleet), FIRST_MS)


@pytest.mark.parametrize("status", ["failed", "moderated"])
def test_only_a_success_ends_the_series(fleet: Fleet, status: str) -> None:
    fleet.put("c1")
    rest_after(fleet)

    fleet.bring("last", "A")
    fleet.settle("last", status)

    assert fleet.account("c1")["cooling_repeats"] == "1"


def test_a_success_submitted_before_the_cool_down_proves_nothing(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("before", "A")
    refused(fleet)

    fleet.settle("before")

    assert fleet.account("c1")["cooling_repeats"] == "1"


def test_a_reason_is_told_with_every_rest(fleet: Fleet) -> None:
    fleet.put("c1")

    refused(fleet, cools="suspected")

    account = fleet.account("c1")
    assert (account["cooling_cause"], account["cooling_reason"]) == ("suspected", "why")


def suspected(fleet: Fleet) -> list[str]:
    """The channels that rest by suspicion."""
    return fleet._members("suspected", fleet.pool)


@pytest.mark.parametrize(("accounts", "share", "allowed"), [(1, 0.3, 1), (10, 0.3, 3), (9, 0.3, 2), (10, 0.0, 1)])
def test_no_more_than_their_share_rests_by_suspicion_at_once(
    fleet: Fleet, accounts: int, share: float, allowed: int
) -> None:
    fleet.times = type(fleet.times)(suspicion_share=share)
    for index in range(accounts):
        fleet.put(f"c{index}")

    rests = [refused(fleet, f"c{index}", cools="suspected") for index in range(accounts)]

    assert [rest > 5000 for rest in rests] == [True] * allowed + [False] * (accounts - allowed)
    assert len(suspected(fleet)) == allowed
    assert all(0 <= rest <= 2000 for rest in rests[allowed:])
    assert [fleet.account(f"c{index}").get("cooling_repeats") for index in range(allowed, accounts)] == [None] * (
        accounts - allowed
    )


def test_only_active_accounts_make_up_the_share(fleet: Fleet) -> None:
    for index in range(10):
        fleet.put(f"c{index}")
    for index in range(4, 10):
        fleet.stand(f"c{index}", "paused")

    for index in range(2):
        refused(fleet, f"c{index}", cools="suspected")

    assert suspected(fleet) == ["c0"]


def test_who_has_returned_is_no_suspect_any_more(fleet: Fleet) -> None:
    for index in range(4):
        fleet.put(f"c{index}")

    rest_after(fleet, "c0", cools="suspected")

    assert refused(fleet, "c1", cools="suspected") > 5000
    assert suspected(fleet) == ["c1"]


def test_what_the_upstream_says_itself_is_no_suspicion(fleet: Fleet) -> None:
    for index in range(4):
        fleet.put(f"c{index}")
    fleet.put("c4", 2)
    fleet.bring("late", "C", channel="c4")

    rests = [refused(fleet, f"c{index}", cools=cools) for index, cools in enumerate(("said", "said", "suspected"))]
    rests.append(refused(fleet, "c3", cool_ms=20_000))

    assert [rest > 5000 for rest in rests] == [True] * 4
    assert suspected(fleet) == ["c2"]


def test_a_suspect_whose_upstream_names_a_time_is_none_any_more(fleet: Fleet) -> None:
    fleet.put("c1", 2)
    fleet.bring("late", "C")
    refused(fleet, cools="suspected")

    fleet.handback("late", cool_ms=60_000, requeues_max="")

    assert suspected(fleet) == []


def unanswered(fleet: Fleet, times: int) -> None:
    """So many submissions in a row lose their answer; each job then ends."""
    for _ in range(times):
        job = f"u{len(fleet.listed())}"
        fleet.bring(job, "U")
        fleet.settle(job, "failed")


def test_an_account_that_loses_three_answers_in_a_row_rests_by_suspicion(fleet: Fleet) -> None:
    fleet.put("c1")
    unanswered(fleet, 2)
    assert "cooling_until_ms" not in fleet.account("c1")

    unanswered(fleet, 1)

    account = fleet.account("c1")
    assert (account["cooling_cause"], account["cooling_reason"]) == (
        "suspected",
        "3 submissions in a row without an answer",
    )
    assert (fleet.free(), suspected(fleet)) == ([], ["c1"])


def test_the_next_lost_answer_makes_it_rest_longer(fleet: Fleet) -> None:
    fleet.put("c1")
    unanswered(fleet, 3)
    fleet.end_cooling("c1")
    fleet.store.client.zadd(fleet.key("suspected", fleet.pool), {"c1": PAST_MS})
    fleet.dispatch()
    began_ms = fleet.now_ms()

    unanswered(fleet, 1)

    assert is_about(int(fleet.account("c1")["cooling_until_ms"]) - began_ms, 2 * FIRST_MS)


@pytest.mark.parametrize("answer", ["accepted", "moderated", "refused"])
def test_an_answer_breaks_the_row(fleet: Fleet, answer: str) -> None:
    fleet.put("c1")
    unanswered(fleet, 2)

    fleet.bring("answered", "S")
    match answer:
        case "accepted":
            fleet.mark_accepted("answered")
            fleet.settle("answered", "failed")
        case "moderated":
            fleet.settle("answered", "moderated")
        case _:
            fleet.handback("answered")
            fleet.cancel("answered")
    unanswered(fleet, 2)

    assert "cooling_until_ms" not in fleet.account("c1")


def test_an_answer_found_by_looking_it_up_does_not_break_the_row(fleet: Fleet) -> None:
    fleet.put("c1")
    unanswered(fleet, 2)

    fleet.bring("found", "U")
    fleet.mark_accepted("found")

    assert (fleet.account("c1")["cooling_cause"], fleet.account("c1")["unknowns"]) == ("suspected", "3")


def test_a_submission_that_was_never_sent_does_not_break_the_row(fleet: Fleet) -> None:
    fleet.put("c1")
    unanswered(fleet, 2)

    fleet.bring("unsent", "S")
    fleet.handback("unsent", never_sent=True)

    assert fleet.account("c1")["unknowns"] == "2"


def test_a_refusal_while_the_account_rests_anyway_is_no_repeat(fleet: Fleet) -> None:
    fleet.put("c1", 2, daily_cap=1)
    fleet.bring("running", "A")
    fleet.bring("one-too-many", "C")
    fleet.mark_submitting("one-too-many")
    assert fleet.account("c1")["cooling_cause"] == "capped"

    fleet.handback("running", cools="said")

    assert "cooling_repeats" not in fleet.account("c1")
