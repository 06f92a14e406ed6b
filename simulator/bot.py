"""The PixVerse bot: plays the life of each accepted job, from the first message to the last."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from simulator import messages
from simulator.channels import Message
from simulator.directives import Directive
from simulator.oracle import Submission
from simulator.places import Places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulator.cdn import Attachment, Cdn
    from simulator.channels import Channels
    from simulator.job import Job
    from simulator.journal import Journal
    from simulator.oracle import Oracle, Record
    from simulator.snowflake import Snowflakes

    Step = tuple[float, Callable[[], None]]
    """Seconds after acceptance, and what happens then."""


class Bot:
    """Runs any number of jobs at once, each on one timer.

    Args:
        channels: where messages are posted.
        cdn: makes the result files.
        oracle: is told when a job starts and ends.
        snowflakes: issue message and attachment ids.
        journal: is told of interactions, for those who listen on the gateway.

    Attributes:
        places: how many jobs of a user it runs at once.
    """

    def __init__(self, channels: Channels, cdn: Cdn, oracle: Oracle, snowflakes: Snowflakes, journal: Journal) -> None:
        self._channels = channels
        self._cdn = cdn
        self._oracle = oracle
        self._snowflakes = snowflakes
        self._journal = journal
        self._timers: dict[Job, asyncio.TimerHandle] = {}
        self._job_of_message: dict[int, Job] = {}
        self.places = Places()

    def accept(self, job: Job) -> None:
        """Take a job on. It runs to its end, whatever its user does."""
        opens_modal = job.press is not None and job.directive.modal
        message_id = job.press.message_id if job.press else None
        submission = Submission(
            job.channel_id, job.title, job.prompt, job.interaction_id, message_id=message_id, runs=not opens_modal
        )
        record = self._oracle.accept(submission)
        self._journal.begin(job, opens_modal=opens_modal)
        if opens_modal:
            self._oracle.finish(record, "modal")
        else:
            self._receive(job, record)

    def _receive(self, job: Job, record: Record) -> None:
        """Begin a job, or do with it what the bot does where its user has too many."""
        user_id = job.user["id"]
        match self.places.crowded(user_id):
            case None:
                self.places.take(user_id)
                self._begin(job, record, holds_place=True)
            case "queue":
                before = self.places.wait(user_id, partial(self._begin, job, record, holds_place=True))
                text = messages.queued_text(job, before)
                self._advance(job, iter([(job.directive.ack_s, partial(self._say, job, text))]), self._now_s())
            case outcome:
                ack_s = job.directive.ack_s
                job.directive = Directive(outcome=outcome, ack=ack_s, seconds=ack_s, written=frozenset({"ack"}))
                self._begin(job, record, holds_place=False)

    def _begin(self, job: Job, record: Record, *, holds_place: bool) -> None:
        if waiting := self._timers.pop(job, None):
            waiting.cancel()
        self._advance(job, self._life(job, record, holds_place=holds_place), self._now_s())

    def job_of(self, message_id: int) -> Job | None:
        """Return the job whose result a message shows."""
        return self._job_of_message.get(message_id)

    def clear(self) -> None:
        """Drop all jobs where they are."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self.places.clear()
        self._job_of_message.clear()

    def _advance(self, job: Job, steps: Iterator[Step], started: float) -> None:
        step = next(steps, None)
        if step is None:
            self._timers.pop(job, None)
            return
        delay_s, action = step

        def act() -> None:
            action()
            self._advance(job, steps, started)

        self._timers[job] = asyncio.get_running_loop().call_at(started + delay_s, act)

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    def _life(self, job: Job, record: Record, *, holds_place: bool) -> Iterator[Step]:
        """Yield what happens to a job, in order."""
        directive = job.directive
        if directive.defers_unseen:
            yield directive.ack_s, partial(self._journal.defer_unseen, job)
        if not (directive.is_unseen or directive.refuses_at_once):
            yield directive.ack_s, partial(self._open, job)
            parts = directive.progress + 1
            for part in range(1, parts):
                due_s = directive.ack_s + (directive.finish_s - directive.ack_s) * part / parts
                yield due_s, partial(self._report, job, 100 * part // parts)
        yield directive.finish_s, partial(self._finish, job, record, holds_place=holds_place)

    def _open(self, job: Job) -> None:
        if job.original:  # it waited for a place, and said so
            self._report(job, 0)
        elif job.edits_pressed:
            self._take_over_pressed(job)
        elif job.directive.loading and job.is_named:
            self._answer(job, "", flags=messages.LOADING)
        else:
            self._answer(job, messages.waiting_text(job))

    def _take_over_pressed(self, job: Job) -> None:
        """Answer in the pressed message from now on; what it shows stays where the press was only deferred."""
        if job.press is None:
            return
        job.original = self._channels.use(job.channel_id).message(job.press.message_id)
        if job.original and not job.directive.loading:
            job.original.edit(messages.edit_of(job, messages.waiting_text(job)))

    def _report(self, job: Job, percent: int) -> None:
        if job.original:
            job.original.edit(messages.edit_of(job, messages.progress_text(job, percent)))

    def _finish(self, job: Job, record: Record, *, holds_place: bool) -> None:
        outcome = job.directive.outcome
        attachments = self._make_results(job) if outcome == "completed" else ()
        if outcome == "deleted":
            self._withdraw(job)
        elif not job.directive.is_unseen:
            message = self._deliver(job)
            if job.directive.components == "v2":
                text = messages.final_text(job)
                message.edit(messages.v2_of(job, text, is_done=bool(attachments)), attachments)
            elif attachments:
                message.edit({"components": messages.buttons_of(job)}, attachments)
            if attachments:
                self._job_of_message[message.id] = job
        files = tuple({"filename": a.filename, "size": a.size_bytes, "sha256": a.sha256} for a in attachments)
        self._oracle.finish(record, outcome, files)
        if holds_place:
            self.places.leave(job.user["id"])
        if job.directive.is_unseen:
            self._journal.end_unseen(job, late_s=job.directive.finish_s)

    def _deliver(self, job: Job) -> Message:
        """Post or edit the final message, as the directive's ``result`` says."""
        text = messages.final_text(job)
        if job.original is None and job.edits_pressed:
            self._take_over_pressed(job)
        if job.directive.result == "message":
            self._report(job, 100)
            return self._post(job, messages.plain_json(job, self._snowflakes.issue(), text))
        if job.original is None:
            return self._answer(job, text)
        if job.directive.result == "followup":
            self._report(job, 100)
            return self._post(job, messages.followup_json(job, self._snowflakes.issue(), text, job.original.id))
        job.original.edit(messages.edit_of(job, text))
        return job.original

    def _say(self, job: Job, text: str) -> None:
        self._answer(job, text)

    def _answer(self, job: Job, text: str, *, flags: int = 0) -> Message:
        body = messages.message_json(job, self._snowflakes.issue(), text, flags=flags)
        job.original = self._post(job, body)
        return job.original

    def _post(self, job: Job, body: dict[str, Any]) -> Message:
        message = Message(int(body["id"]), body)
        self._channels.use(job.channel_id).post(message)
        return message

    def _withdraw(self, job: Job) -> None:
        if job.original:
            self._channels.use(job.channel_id).delete(job.original.id)

    def _make_results(self, job: Job) -> tuple[Attachment, ...]:
        return tuple(
            self._cdn.make_result(
                self._snowflakes.issue(), channel_id=job.channel_id, interaction_id=job.interaction_id, index=index
            )
            for index in range(1, job.file_count + 1)
        )
