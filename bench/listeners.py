"""How often each kind of listener hears of a job's end, and why; the service is killed on the way.

python -m bench.listeners
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.hook import Answer, Hook, answers, in_turn
from bench.stage import Stage, stage
from dispatcher import Client, CreateSingle

CALL_S = 3.0
SETTINGS = {
    "poll_min_s": 0.3,
    "poll_max_s": 0.6,
    "callback_allowed_networks": ["127.0.0.1/32"],
    "callback_timeout_s": CALL_S,
}
LOOK_S = 0.05
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """What a listener did, and how often it heard of the one job's end: under which `webhook-id`, and why so often."""

    listener: str
    heard: int
    expected: int
    ids: tuple[str, ...]
    seconds: float
    why: str


class Play:
    """A service, a worker, a client, and listeners that misbehave."""

    def __init__(self, on: Stage, client: Client, hooks: ExitStack) -> None:
        self._on = on
        self._client = client
        self._hooks = hooks
        self._service = on.start("run")
        on.start("work")
        on.add_accounts([4])

    def listener(self, answer: Answer | None = None) -> Hook:
        """Open one."""
        return self._hooks.enter_context(Hook(answer))

    def end_a_job(self, hook: Hook) -> str:
        """Run a job whose end the listener is to hear of; its id."""
        request = CreateSingle(prompt=f"for {hook.url} [[sim seconds=0.2 ack=0.1]]", style="Anime")
        job = self._client.enqueue(request, reply_url=f"{hook.url}/hook?ind=3")
        return self._client.wait(job.id, timeout_s=PATIENCE_S).id

    def attempts(self, job_id: str) -> int:
        """Calls that nobody heard, so far."""
        told = self._on.store.client.hget(self._on.store.keys.of("callback", job_id), "attempts")
        return int(str(told or 0))

    def kill_service(self) -> None:
        """SIGKILL the service and start another."""
        killed: subprocess.Popen[bytes] = self._service
        self._on.kill(killed)
        self._service = self._on.start("run")

    def is_over(self, job_id: str) -> bool:
        """Whether nothing of the job's callback is left to do."""
        return not self._on.store.client.exists(self._on.store.keys.of("callback", job_id))

    def judged(self, name: str, hook: Hook, job_id: str, *, expected: int, why: str, began_s: float) -> Case:
        """Wait until it is over, and tell."""
        until(lambda: self.is_over(job_id), f"{name}: the end")
        ids = Counter(hook.ids)
        told = tuple(f"{webhook_id.replace(job_id, '<job>')} x{count}" for webhook_id, count in ids.items())
        return Case(name, len(hook.heard), expected, told, round(time.monotonic() - began_s, 1), why)


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for it.

    Raises:
        TimeoutError: it did not come true.
    """
    end_s = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError(what)
        time.sleep(LOOK_S)


def answering(play: Play, status: int, why: str) -> Case:
    """A listener that answers, each time the same."""
    began_s, hook = time.monotonic(), play.listener(answers(status))
    return play.judged(f"answers {status}", hook, play.end_a_job(hook), expected=1, why=why, began_s=began_s)


def hanging(play: Play) -> Case:
    """One that takes the first call and never answers it."""
    began_s, hook = time.monotonic(), play.listener()
    hook.answer = in_turn(hook.hangs, answers(200))
    why = f"no answer in {CALL_S:g} s: again after 5 s"
    return play.judged("hangs, then answers", hook, play.end_a_job(hook), expected=2, why=why, began_s=began_s)


def dead(play: Play, *, is_killed: bool) -> Case:
    """One that refuses connections, and comes back; the service may be killed meanwhile."""
    began_s, hook = time.monotonic(), play.listener()
    hook.dies()
    job_id = play.end_a_job(hook)
    until(lambda: play.attempts(job_id), "an attempt")
    if is_killed:
        play.kill_service()
    hook.comes_back()
    name = "is dead, service SIGKILLed, is back" if is_killed else "is dead, then back"
    why = "the outbox is in the store: the next service goes on" if is_killed else "refused: again after 5 s"
    return play.judged(name, hook, job_id, expected=1, why=why, began_s=began_s)


def killed_in_the_call(play: Play) -> Case:
    """One that is being called when the service is killed."""
    began_s, hook = time.monotonic(), play.listener()
    hook.answer = in_turn(hook.hangs, answers(200))
    job_id = play.end_a_job(hook)
    until(lambda: hook.heard, "the call")
    play.kill_service()
    why = "nobody reported on the call: again after 60 s, same id"
    return play.judged("service SIGKILLed in the call", hook, job_id, expected=2, why=why, began_s=began_s)


def run(on: Stage) -> list[Case]:
    """Play all of them, one after the other."""
    with Client(on.settings.redis_url) as client, ExitStack() as hooks:
        play = Play(on, client, hooks)
        return [
            answering(play, 200, "heard"),
            answering(play, 500, "an answer is a delivery: many listeners answer 500 to what they took"),
            hanging(play),
            dead(play, is_killed=False),
            dead(play, is_killed=True),
            killed_in_the_call(play),
        ]


def table(cases: Sequence[Case]) -> str:
    """For people."""
    rows = [("listener", "heard", "webhook-id", "after s", "why")]
    rows += [(c.listener, str(c.heard), ", ".join(c.ids), f"{c.seconds:g}", c.why) for c in cases]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def is_acceptable(cases: Sequence[Case]) -> bool:
    """Whether each heard as often as it should have, always under the one id."""
    return all(case.heard == case.expected and len(case.ids) == 1 for case in cases)


def main() -> int:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="write JSON in place of the table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pxd-listeners-") as folder, stage(Path(folder), SETTINGS) as on:
        cases = run(on)
    print(json.dumps([asdict(case) for case in cases], indent=2) if given.json else table(cases))
    return 0 if is_acceptable(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
