"""Stopping: what runs is handed over, nothing new is taken, RQ's books are closed."""

from __future__ import annotations

import signal

from tests.support.deliveries import RQ, eventually

SOON_S = 20


def test_sigterm_hands_over_what_runs_closes_the_books_and_leaves_the_registry(rq: RQ) -> None:
    with rq.worker() as worker:
        deliveries = rq.hand_off(*(f"hold{number}" for number in range(200)))
        eventually(lambda: len(rq.started()) == 200)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert rq.told("stopped")[0] == "200"
    assert not rq.running
    assert sorted(rq.finished) == sorted(deliveries)
    assert not rq.failed
    assert rq.intermediate == 0
    assert not rq.workers


def test_a_stopping_worker_takes_nothing_new_not_even_what_it_handed_over(rq: RQ) -> None:
    with rq.worker() as worker:
        rq.hand_off("stubborn1")
        eventually(rq.started)
        worker.terminate()
        eventually(lambda: rq.told("stopped"))

        rq.hand_off("quick1", "quick2")
        rounds = len(rq.told("stopped"))
        eventually(lambda: len(rq.told("stopped")) > rounds + 2)
        rq.release()

        assert worker.wait(SOON_S) == 0
    assert rq.queued == 2
    assert rq.finished == ["stubborn1-1"]


def test_a_stop_in_the_middle_of_admission_leaves_each_delivery_queued_or_ended(rq: RQ) -> None:
    with rq.worker() as worker:
        rq.hand_off(*(f"hold{number}" for number in range(1500)))
        eventually(lambda: rq.queued < 1500)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert rq.queued + len(rq.finished) == 1500
    assert rq.intermediate == 0
    assert not rq.running


def test_a_full_worker_stops_without_waiting_for_room(rq: RQ) -> None:
    with rq.worker("--capacity", "2") as worker:
        rq.hand_off("hold1", "hold2", "hold3")
        eventually(lambda: len(rq.started()) == 2)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert rq.queued == 1
    assert len(rq.finished) == 2


def test_the_second_sigterm_ends_it_at_once(rq: RQ) -> None:
    with rq.worker() as worker:
        rq.hand_off("stubborn1", "stubborn2")
        eventually(lambda: len(rq.started()) == 2)
        worker.terminate()
        eventually(lambda: rq.told("stopped"))
        assert worker.poll() is None

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert not rq.running
    assert not rq.workers


def test_a_terminals_sigint_and_the_supervisors_sigterm_are_one_wish(rq: RQ) -> None:
    with rq.worker() as worker:
        rq.hand_off("stubborn1")
        eventually(rq.started)

        worker.send_signal(signal.SIGINT)
        eventually(lambda: rq.told("stopped"))
        worker.terminate()
        rounds = len(rq.told("stopped"))
        eventually(lambda: len(rq.told("stopped")) > rounds + 2)
        rq.release()

        assert worker.wait(SOON_S) == 0
    assert rq.finished == ["stubborn1-1"]


def test_a_hand_over_that_fails_leaves_the_deliveries_to_their_leases_and_the_worker_ends(rq: RQ) -> None:
    with rq.worker("--hand-over-fails") as worker:
        rq.hand_off("stubborn1", "stubborn2")
        eventually(lambda: len(rq.started()) == 2)

        worker.terminate()

        assert worker.wait(SOON_S) == 0
    assert not rq.running
    assert not rq.workers
