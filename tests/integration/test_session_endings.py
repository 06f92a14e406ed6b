"""How a delivery's end is shown by RQ."""

from __future__ import annotations

from tests.support.deliveries import RQ, eventually


def test_a_jobs_own_failure_is_one_line_without_a_traceback_and_is_not_retried(rq: RQ) -> None:
    with rq.worker():
        [delivery] = rq.hand_off("outcome1")
        eventually(lambda: rq.failed == [delivery])

        assert rq.failure(delivery) == "Outcome: the bot said no"
        assert rq.client.hget(f"{rq.prefix}:job:{delivery}", "retries_left") == "0"
        assert not rq.running
        assert rq.queued == 0


def test_a_fault_of_ours_is_failed_with_its_traceback(rq: RQ) -> None:
    with rq.worker() as worker:
        [delivery] = rq.hand_off("broken1")
        eventually(lambda: rq.failed == [delivery])

        assert rq.failure(delivery).startswith("Traceback (most recent call last):")
        assert rq.failure(delivery).rstrip().endswith("ZeroDivisionError: a fault of ours")
        assert not rq.running
        assert worker.poll() is None


def test_a_lost_lease_is_no_failure_because_its_job_has_a_newer_delivery(rq: RQ) -> None:
    with rq.worker():
        [delivery] = rq.hand_off("lost1")
        eventually(lambda: rq.finished == [delivery])

        assert not rq.failed
        assert not rq.running


def test_a_coroutine_cancelled_from_within_is_a_failure(rq: RQ) -> None:
    with rq.worker():
        [delivery] = rq.hand_off("cancelled1")
        eventually(lambda: rq.failed == [delivery])

        assert rq.failure(delivery).rstrip().endswith("CancelledError: cancelled from within")
        assert not rq.running
