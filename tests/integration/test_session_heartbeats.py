"""Heartbeats: the worker's own entry and what it runs stay known to RQ, and nothing that ended comes back."""

from __future__ import annotations

from tests.support.deliveries import RQ, eventually


def test_a_workers_entry_that_the_store_lost_is_made_anew(rq: RQ) -> None:
    with rq.worker("--worker-beat-s", "0.05"):
        [name] = rq.workers
        rq.client.delete(f"{rq.prefix}:workers", f"{rq.prefix}:workers:pixverse", f"{rq.prefix}:worker:{name}")

        eventually(lambda: rq.workers == [name])

        assert rq.client.hget(f"{rq.prefix}:worker:{name}", "queues") == "pixverse"
        assert rq.client.ttl(f"{rq.prefix}:worker:{name}") > 0


def test_heartbeats_keep_what_runs_out_of_the_sweepers_reach_and_revive_nothing(rq: RQ) -> None:
    wip = f"{rq.prefix}:wip:pixverse"
    with rq.worker("--worker-beat-s", "0.02", "--execution-beat-s", "0.02"):
        rq.hand_off("hold1")
        [(_, execution, _)] = eventually(rq.started)
        entry = f"hold1-1:{execution}"
        granted_s = rq.client.zscore(wip, entry)
        assert granted_s is not None

        rq.hand_off(*(f"quick{number}" for number in range(300)))
        eventually(lambda: len(rq.finished) == 300)
        eventually(lambda: (rq.client.zscore(wip, entry) or 0) > granted_s)

        seconds, _ = rq.client.time()
        assert (rq.client.zscore(wip, entry) or 0) > seconds + 3500
        assert rq.client.ttl(f"{rq.prefix}:execution:{entry}") > 3500
        eventually(lambda: list(rq.client.scan_iter(f"{rq.prefix}:execution:*")) == [f"{rq.prefix}:execution:{entry}"])


def test_only_what_is_due_is_kept_alive(rq: RQ) -> None:
    with rq.worker("--worker-beat-s", "0.02", "--execution-beat-s", "1000"):
        [name] = rq.workers
        rq.hand_off("hold1")
        eventually(rq.started)
        executions, birth = f"{rq.prefix}:worker:{name}:executions", f"{rq.prefix}:worker:{name}"
        assert rq.client.delete(executions)

        beats: set[str] = set()

        def have_come() -> bool:
            beats.add(rq.client.hget(birth, "last_heartbeat"))
            return len(beats) > 5

        eventually(have_come)
        assert not rq.client.exists(executions)
