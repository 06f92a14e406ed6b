"""From a sent interaction to the bot's answer: which message it is, or why none will come."""

from __future__ import annotations

import time

from dispatcher.log import get_logger
from workers.upstream import Ended, Ledger, Outcome
from workers.upstream.discord.brief import Brief
from workers.upstream.discord.fates import Fate
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.outcomes import outcome_said
from workers.upstream.discord.presses import FORM
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_TIMED_OUT = 2


class Finding:
    """Finds one job's answer.

    A session tells which interaction our nonce got: that is certain, and nothing is matched any more. A slash command's
    is claimed at once. A press's is claimed with its answer, for that may name no interaction, and is then known by its
    own id. Where nothing was told, the answer is matched (:mod:`matching`), among those not told of another's nonce.

    Events may be repeated, stale, out of order or lost. They end a job, and free its slot, only where that is sound:

    - *A form* is all that the bot answers an interaction with, and nothing runs until it is sent in, which nobody does.
    - *A failure* says that the bot has not answered in its three seconds; Discord takes no answer after that. Should
      the event be wrong, an answer that was seen or told outweighs it. It only means that a list which begins now, and
      shows no answer, says "not started" as one after ``absent_after_s`` does; such a list is read at once.
    - *An unlisted message*, which the user alone sees, ends the job where it refuses, by the bot's own word, and no
      answer was seen in the channel. Any other one shows that the bot answered, and is not followed: no list shows it.
      The absence of an answer means nothing any more then; the job waits, at most until its time is up.
    """

    def __init__(self, ledger: Ledger, watch: Watch, brief: Brief) -> None:
        self._ledger = ledger
        self._watch = watch
        self._brief = brief
        self.remote_id = int(ledger.lease.remote_id) if ledger.lease.remote_id else None
        """What the job is known by upstream: its interaction; or the message that answers a press and names none."""
        self.is_answered = brief.is_answered
        """Whether an answer was seen in the channel."""
        self._others: set[int] = set()
        self._fate: Fate | None = None
        self._absent_after_s = brief.absent_after_s
        self._has_failed = False
        self._is_taken = False

    async def take(self, look: Look) -> Outcome | Look:
        """Take in what is told and what is shown.

        Returns:
            How the job ended, if what was told ended it; else the look, with the reply that was claimed: an earlier
            look may have shown it, and none shows it twice.
        """
        fate = await self._watch.fate()
        if fate is not None and (outcome := await self._take_fate(fate)):
            return outcome
        if self.remote_id is None:
            await self._find(look)
        if self.remote_id is None and (reply := await self._find_unnamed(look)):
            return Look(look.started_s, (reply,), look.present | {reply.id}, look.is_list)
        return look

    async def absent(self, look: Look) -> Outcome | None:
        """Decide that a submission never started: only on a channel that was read, after its time to answer."""
        is_answered_unlisted = self._fate is not None and bool(self._fate.unlisted)
        if not look.is_list or look.started_s < self._absent_after_s or is_answered_unlisted:
            return None
        if not look.present and not await self._watch.is_readable():
            if self._watch.is_unanswered:
                job = self._ledger.job.id
                log.warning("channel shows no messages", job_id=job, channel_id=self._ledger.lease.channel)
            self._watch.is_unanswered = False  # nothing is waited for any more: look ever more rarely
            return None
        return Ended(status="failed", error=self._why_absent())

    async def saw(self, message: ChannelMessage) -> None:
        """Take in the first message that answers the job, or that is seen of it after another worker had it."""
        if self.remote_id is None:
            return
        if not self.is_answered:
            await self._ledger.accepted(str(self.remote_id), message.shown(self._brief.reading(message).percent))
        self.is_answered = True
        self._watch.answered(remote_id=self.remote_id, message_id=message.id)

    # --- What is told -------------------------------------------------------------------------------------

    async def _take_fate(self, fate: Fate) -> Outcome | None:
        if fate.id in self._others or self.remote_id not in (None, fate.id):
            return None
        if self.remote_id is None and self._brief.pressed is None and not await self._claim(fate.id):
            self._others.add(fate.id)  # matched by another job before this was told
            return None
        self._fate = fate
        if self.is_answered:
            return None
        for message in fate.unlisted:
            reading = self._brief.reading(message)
            if reading.says in {"busy", "moderated", "failed"} and await self._claim(fate.id):
                return outcome_said(message, reading)
        if fate.opens_form:
            what = f"button {self._ledger.job.button}" if self._brief.pressed else "the command"
            return Ended(status="failed", error=f"not started: {what} opens {FORM}")
        if fate.failed is not None and not fate.is_answered and not self._has_failed:
            self._has_failed = True
            self._absent_after_s = min(self._absent_after_s, time.monotonic())
            await self._watch.want_list()
        return None

    # --- What is shown ------------------------------------------------------------------------------------

    async def _find(self, look: Look) -> None:
        """Claim the first answer that may be ours; Redis knows which are others'."""
        for message in look.messages:
            answered = message.answers
            if answered is None or answered.id in self._others or not await self._may_be_ours(message, answered.id):
                continue
            if await self._claim(answered.id, message):
                return
            self._others.add(answered.id)

    async def _may_be_ours(self, message: ChannelMessage, interaction: int) -> bool:
        if self._fate is not None:
            return interaction == self._fate.id
        expected = self._brief.expected
        if expected is None or not expected.is_answer(message):
            return False
        return not await self._watch.is_anothers(interaction)

    async def _find_unnamed(self, look: Look) -> ChannelMessage | None:
        """Claim an answer to a press that names no interaction: a reply to the pressed message, or an edit of it.

        Where the bot named another press of that message, a reply that names none may be that one's result: never
        guess. Nor may an edit be another's: see :func:`presses.wait_for_others`.

        Returns:
            The reply that was claimed.
        """
        pressed, expected = self._brief.pressed, self._brief.expected
        if pressed is None or expected is None or look.started_s < self._brief.unnamed_after_s:
            return None
        page = await self._watch.before(max(look.present)) if look.present else []
        replies = [message for message in page if pressed.is_reply(message, expected)]
        if replies and not any(pressed.is_named_in(message) for message in page):
            for message in replies:
                if await self._claim(message.id, message):
                    return message
        itself = await self._watch.message(pressed.id)
        if itself is not None and pressed.is_edited(itself, self._brief.said(itself), expected):
            self._is_taken = not await self._claim(pressed.id, itself)
        return None

    async def _claim(self, remote_id: int, message: ChannelMessage | None = None) -> bool:
        """Take an interaction, or an answer, for the job's unless Redis knows that it is another job's."""
        shown = message.shown(self._brief.reading(message).percent) if message else None
        if self.remote_id != remote_id and not await self._ledger.accepted(str(remote_id), shown):
            return False
        self.remote_id = remote_id
        self._watch.named(remote_id)
        if message is not None:
            self.is_answered = True
            self._watch.answered(remote_id=remote_id, message_id=message.id)
        return True

    def _why_absent(self) -> str:
        if self._is_taken:
            return "ambiguous: the bot answered by editing the pressed message, which another press was answered by"
        if self._fate is not None and self._fate.is_answered:
            return "not started: the bot answered the submission with nothing that its channel shows"
        why = self._brief.why_absent
        if self._fate is not None and self._fate.failed is not None:
            in_time = " in time" if self._fate.failed == _TIMED_OUT else ""
            why = f"Discord, too, says that it did not answer{in_time}"
        return f"not started: the bot did not answer the submission in its channel; {why}".removesuffix("; ")
