from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.errors import CallHeld
from workers.upstream.discord.rhythm import (
    UNTOLD_S,
    Awaited,
    Bounds,
    Took,
    next_look_beside_events_s,
    next_look_s,
    pause_after_s,
)

DEFAULT = Bounds(min_s=3, max_s=30)
SENT = Awaited(100, is_unanswered=True)


def answered(sent_s: float) -> Awaited:
    return Awaited(sent_s, is_unanswered=False)


def test_the_first_look_comes_soon_after_a_submission() -> None:
    assert next_look_s(last_s=None, jobs=[SENT], bounds=DEFAULT) == pytest.approx(100.3)


def test_a_submission_pulls_the_next_look_forward_but_not_onto_the_last() -> None:
    assert next_look_s(last_s=99.9, jobs=[SENT], bounds=DEFAULT) == pytest.approx(100.4)
    assert next_look_s(last_s=98, jobs=[SENT], bounds=DEFAULT) == pytest.approx(100.3)


def test_while_an_answer_is_awaited_looks_are_a_second_apart() -> None:
    assert next_look_s(last_s=100.3, jobs=[SENT], bounds=DEFAULT) == pytest.approx(101.3)


def test_a_floor_below_a_second_holds_for_answers_too() -> None:
    quick = Bounds(min_s=0.2, max_s=30)

    assert next_look_s(last_s=100.3, jobs=[SENT], bounds=quick) == pytest.approx(100.5)


@pytest.mark.parametrize(("age_s", "pause_s"), [(1, 3), (30, 3), (60, 6), (200, 20), (300, 30), (9000, 30)])
def test_the_pause_is_a_tenth_of_the_youngest_jobs_age_within_the_bounds(age_s: float, pause_s: float) -> None:
    due_s = next_look_s(last_s=1000, jobs=[answered(1000 - age_s)], bounds=DEFAULT)

    assert due_s - 1000 == pytest.approx(pause_s)


def test_a_job_taken_over_is_looked_at_at_once() -> None:
    assert next_look_s(last_s=None, jobs=[answered(100)], bounds=DEFAULT) == 100


@pytest.mark.parametrize(
    ("age_s", "pause_s"),
    [(1, 29), (10, 20), (27, 3), (28, 3), (30, 6), (60, 6), (90, 6), (100, 6), (250, 16), (9000, 30)],
)
def test_where_durations_are_known_looks_begin_when_the_first_of_the_kind_end(age_s: float, pause_s: float) -> None:
    job = Awaited(1000 - age_s, is_unanswered=False, took=Took(early_s=30, late_s=90))

    assert next_look_s(last_s=1000, jobs=[job], bounds=DEFAULT) - 1000 == pytest.approx(pause_s)


def test_an_answer_is_awaited_as_ever_where_durations_are_known() -> None:
    job = Awaited(100, is_unanswered=True, took=Took(early_s=30, late_s=90))

    assert next_look_s(last_s=None, jobs=[job], bounds=DEFAULT) == pytest.approx(100.3)


def test_a_block_of_any_length_is_slept_through() -> None:
    assert pause_after_s(CallHeld("discord", "told so", wait_s=590, is_address=True), 1, DEFAULT) == 590


def test_while_events_come_a_channel_that_nobody_needs_listed_is_listed_at_the_ceiling() -> None:
    assert next_look_beside_events_s(last_s=1000, jobs=[], bounds=DEFAULT) == 1030


@pytest.mark.parametrize(("sent_s", "due_s"), [(1010, 1010 + UNTOLD_S), (990, 1000 + UNTOLD_S), (1029, 1030)])
def test_an_answer_that_events_did_not_bring_in_time_is_looked_for(sent_s: float, due_s: float) -> None:
    job = Awaited(sent_s, is_unanswered=True)

    assert next_look_beside_events_s(last_s=1000, jobs=[job], bounds=DEFAULT) == due_s


def test_who_must_see_what_came_before_it_is_shown_a_list_as_if_no_events_came() -> None:
    job = answered(1010)

    due_s = next_look_beside_events_s(last_s=1000, jobs=[job], bounds=DEFAULT)

    assert due_s == next_look_s(last_s=1000, jobs=[job], bounds=DEFAULT)


JOBS = st.builds(
    Awaited,
    sent_s=st.floats(0, 1e6),
    is_unanswered=st.booleans(),
    took=st.none() | st.builds(lambda early_s, more_s: Took(early_s, early_s + more_s), *[st.floats(0, 1e4)] * 2),
)


@given(jobs=st.lists(JOBS, min_size=1, max_size=5), last_s=st.none() | st.floats(0, 1e6))
def test_of_many_jobs_the_one_that_needs_it_first_decides(jobs: list[Awaited], last_s: float | None) -> None:
    each = [next_look_s(last_s=last_s, jobs=[job], bounds=DEFAULT) for job in jobs]

    assert next_look_s(last_s=last_s, jobs=jobs, bounds=DEFAULT) == min(each)


@given(job=JOBS, age_s=st.floats(0, 1e5), min_s=st.floats(0.01, 10))
def test_two_looks_are_never_closer_than_the_smallest_floor(job: Awaited, age_s: float, min_s: float) -> None:
    last_s = job.sent_s + age_s

    due_s = next_look_s(last_s=last_s, jobs=[job], bounds=Bounds(min_s=min_s, max_s=30))

    assert due_s >= last_s + min(min_s, 0.5) * 0.999


@given(job=JOBS, age_s=st.floats(0, 1e5))
def test_no_pause_is_longer_than_the_ceiling(job: Awaited, age_s: float) -> None:
    last_s = job.sent_s + age_s

    assert next_look_s(last_s=last_s, jobs=[job], bounds=DEFAULT) <= last_s + DEFAULT.max_s + 1e-6
