"""Thousands of deliveries in one worker process, as RQ's own tools see them."""

from __future__ import annotations

from dispatcher import handoff
from tests.support.deliveries import RQ, clean, eventually

MANY = 1200


def test_one_process_runs_more_than_a_thousand_at_once_and_finalises_each_once(rq: RQ) -> None:
    with rq.worker():
        deliveries = rq.hand_off(*(f"hold{number}" for number in range(MANY)))
        eventually(lambda: len(rq.started()) == MANY)
        during = clean(rq.command("info", "--url", rq.redis_url).stdout)
        intermediate = rq.intermediate

        rq.release()
        eventually(lambda: len(rq.finished) == MANY and not rq.running)
        eventually(lambda: rq.states == ["idle"])
        after = clean(rq.command("info", "--url", rq.redis_url).stdout)

    assert f"pixverse     | 0, {MANY} executing, 0 finished, 0 failed" in during
    assert ": busy pixverse. jobs: 0 finished, 0 failed" in during
    assert "1 workers, 1 queues" in during
    assert intermediate == 0
    assert f"pixverse     | 0, 0 executing, {MANY} finished, 0 failed" in after
    assert f": idle pixverse. jobs: {MANY} finished, 0 failed" in after
    assert sorted(rq.finished) == sorted(deliveries)
    assert {rq.results(delivery) for delivery in deliveries} == {1}
    assert sorted(delivery for delivery, _, _ in rq.started()) == sorted(deliveries)
    assert not list(rq.client.scan_iter(f"{rq.prefix}:execution:*"))


def test_each_coroutine_knows_its_rq_execution_and_its_worker(rq: RQ) -> None:
    with rq.worker():
        rq.hand_off("hold1", "hold2")
        eventually(lambda: len(rq.started()) == 2)

        [name] = rq.workers
        wip = set(rq.client.zrange(f"{rq.prefix}:wip:{handoff.QUEUE}", 0, -1))

        assert {f"{delivery}:{execution}" for delivery, execution, _ in rq.started()} == wip
        assert {owner for _, _, owner in rq.started()} == {name}
        assert {rq.client.hget(f"{rq.prefix}:job:hold1-1", field) for field in ("worker_name", "status")} == {
            name,
            "started",
        }


def test_finished_and_failed_deliveries_live_as_long_as_the_hand_off_says(rq: RQ) -> None:
    with rq.worker():
        rq.hand_off("quick1", "outcome1")
        eventually(lambda: rq.finished and rq.failed)

    job = f"{rq.prefix}:job"
    assert 0 < rq.client.ttl(f"{job}:quick1-1") <= handoff.RESULT_TTL_S
    assert handoff.RESULT_TTL_S < rq.client.ttl(f"{job}:outcome1-1") <= handoff.FAILURE_TTL_S
    assert rq.client.ttl(f"{rq.prefix}:results:quick1-1") > 0
    assert rq.client.ttl(f"{rq.prefix}:results:outcome1-1") > 0


def test_no_more_run_than_the_worker_has_room_for(rq: RQ) -> None:
    with rq.worker("--capacity", "5"):
        rq.hand_off(*(f"hold{number}" for number in range(12)))
        eventually(lambda: len(rq.started()) == 5)
        eventually(lambda: rq.queued == 7)
        assert len(rq.running) == 5

        rq.release()
        eventually(lambda: len(rq.finished) == 12)


def test_an_id_queued_twice_runs_twice_and_leaves_nothing_behind(rq: RQ) -> None:
    rq.hand_off("hold1")
    rq.client.rpush(rq.queue_key, "hold1-1")

    with rq.worker():
        eventually(lambda: len(rq.started()) == 2)
        rq.release()
        eventually(lambda: not rq.running and rq.finished)

        assert len({execution for _, execution, _ in rq.started()}) == 2
        assert rq.intermediate == 0
