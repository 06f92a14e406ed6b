from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.upstream.discord.rhythm import Bounds, next_look_s

DEFAULT = Bounds(min_s=3, max_s=30)


def test_the_first_look_comes_soon_after_a_submission() -> None:
    assert next_look_s(last_s=None, unanswered_s=100, youngest_s=100, bounds=DEFAULT) == pytest.approx(100.3)


def test_a_submission_pulls_the_next_look_forward_but_not_onto_the_last() -> None:
    assert next_look_s(last_s=99.9, unanswered_s=100, youngest_s=100, bounds=DEFAULT) == pytest.approx(100.4)
    assert next_look_s(last_s=98, unanswered_s=100, youngest_s=100, bounds=DEFAULT) == pytest.approx(100.3)


def test_while_an_answer_is_awaited_looks_are_a_second_apart() -> None:
    assert next_look_s(last_s=100.3, unanswered_s=100, youngest_s=100, bounds=DEFAULT) == pytest.approx(101.3)


def test_a_floor_below_a_second_holds_for_answers_too() -> None:
    quick = Bounds(min_s=0.2, max_s=30)

    assert next_look_s(last_s=100.3, unanswered_s=100, youngest_s=100, bounds=quick) == pytest.approx(100.5)


@pytest.mark.parametrize(("age_s", "pause_s"), [(1, 3), (30, 3), (60, 6), (200, 20), (300, 30), (9000, 30)])
def test_the_pause_is_a_tenth_of_the_youngest_jobs_age_within_the_bounds(age_s: float, pause_s: float) -> None:
    due_s = next_look_s(last_s=1000, unanswered_s=None, youngest_s=1000 - age_s, bounds=DEFAULT)

    assert due_s - 1000 == pytest.approx(pause_s)


def test_a_job_taken_over_is_looked_at_at_once() -> None:
    assert next_look_s(last_s=None, unanswered_s=None, youngest_s=100, bounds=DEFAULT) == 100


@given(
    last_s=st.floats(0, 1e6),
    unanswered_s=st.none() | st.floats(0, 1e6),
    age_s=st.floats(0, 1e5),
    min_s=st.floats(0.01, 10),
)
def test_two_looks_are_never_closer_than_the_smallest_floor(
    last_s: float, unanswered_s: float | None, age_s: float, min_s: float
) -> None:
    bounds = Bounds(min_s=min_s, max_s=30)

    due_s = next_look_s(last_s=last_s, unanswered_s=unanswered_s, youngest_s=last_s - age_s, bounds=bounds)

    assert due_s >= last_s + min(min_s, 0.5) * 0.999
