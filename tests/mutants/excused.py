"""Mutants that no behaviour tells from the original, each with the reason.

By function and change, as ``tests.mutants.sampled`` prints them: their numbers move with the code. None of them is run,
and each counts as a survivor.
"""

from __future__ import annotations

_THREAD = "a register, a beat and a farewell come one after the other: on which pool's thread they run is no matter"
_SHUTDOWN = "what still waits for a thread gives up at once (`_abandoned`), and the interpreter's end waits for threads"
_CUT = "no reason of redis-py is as long as the cut"
_SHUT = "executor.shutdown(wait=False, cancel_futures=True)"
_ENDS = "await asyncio.gather(task, forced, return_exceptions=True)"
_RUN = "return await asyncio.get_running_loop().run_in_executor"
_SINCE = "if loop.time() - executions_beat_s"
_LEAVE, _BEAT, _UNLESS = "SessionWorker._leave", "SessionWorker._beat", "SessionWorker._unless_forced"


def _on_another_thread(executor: str, call: str) -> str:
    return f"await self._on(self.{executor}, self._presence.{call}) -> await self._on(None, self._presence.{call})"


def _cut_later(event: str) -> str:
    said = f'log.warning("{event}", reason=str(error)[:'
    return f"{said}200]) -> {said}201])"


EXCUSED: dict[tuple[str, str], str] = {
    ("SessionWorker.serve", _on_another_thread("_front_desk", "register")): _THREAD,
    (_BEAT, _on_another_thread("_finishers", "beat")): _THREAD,
    (_BEAT, _on_another_thread("_finishers", "beat_executions")): _THREAD,
    (_LEAVE, _on_another_thread("_front_desk", "deregister")): _THREAD,
    (
        "SessionWorker._on",
        f"{_RUN}(executor, call) -> {_RUN}(None, call)",
    ): _THREAD,
    **{
        ("SessionWorker.__init__", f"{name}=self._{name}, -> {name}=None,"): _THREAD
        for name in ("front_desk", "finishers")
    },
    ("Reaper.__init__", "self._is_more = False -> self._is_more = None"): "it is only asked whether it is true",
    ("SessionWorker._on_signal", "self.request_stop(signum) -> self.request_stop(None)"): (
        "request_stop has the parameter for signal.signal's sake, and does not read it"
    ),
    (
        _BEAT,
        f"{_SINCE} >= self._execution_beat_s: -> {_SINCE} > self._execution_beat_s:",
    ): "two instants of a clock of nanoseconds would have to be exactly that far apart",
    (_BEAT, _cut_later("worker heartbeat missed")): _CUT,
    (_LEAVE, _cut_later("worker not deregistered; RQ forgets it by itself")): _CUT,
    (_LEAVE, "await cancel_until_done(*parts, *self._cancels) -> await cancel_until_done(*parts, )"): (
        "the event loop's own end cancels them a moment later"
    ),
    **{
        (_LEAVE, f"{_SHUT} -> executor.shutdown({arguments})"): _SHUTDOWN
        for arguments in (
            "wait=None, cancel_futures=True",
            "wait=False, cancel_futures=None",
            "cancel_futures=True",
            "wait=False, ",
            "wait=True, cancel_futures=True",
            "wait=False, cancel_futures=False",
        )
    },
    (_UNLESS, f"{_ENDS} -> await asyncio.gather(forced, return_exceptions=True)"): (
        "the task is done by then, and neither of the two kinds of work raises"
    ),
    (_UNLESS, f"{_ENDS} -> await asyncio.gather(task, return_exceptions=True)"): (
        "the waiter is done by then: cancelled, or with nothing to say"
    ),
}
