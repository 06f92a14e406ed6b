"""From a sent interaction to its end: find the bot's first answer, follow it, say how it ended."""

from __future__ import annotations

import time
from dataclasses import dataclass

from dispatcher.errors import AccountRejected, UpstreamError
from dispatcher.log import get_logger
from dispatcher.models import Account
from workers.upstream import Ended, Ledger, Outcome, Refused
from workers.upstream.discord.matching import Expected, Pressed, plain_result
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.phrases import Phrasebook, Reading
from workers.upstream.discord.snowflake import born_ms
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_LOOKS_TO_BELIEVE_A_DELETION = 2
"""A list may come from a replica that lags; freeing a slot that still runs is what must never happen."""

_PLAIN_AGAIN_S = 10.0
"""How often a result that names no interaction is weighed again, although nothing that we see has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What a pursuit must know of its job.

    Args:
        files: how many videos or images make it complete.
        own_words: what the user wrote, which the bot may repeat; the first is the prompt, normalised.
        absent_after_s: monotonic instant after which a look without an answer means that there is none.
        expected: the answer to look for; None where the interaction is known.
        pressed: the message whose button was pressed; None for a slash command.
        unnamed_after_s: monotonic instant after which an answer to a press counts that names no interaction.
        why_absent: what an answer's absence probably means; '' if nothing is known of it.
        no_progress_s: how long nothing may change before the job's time is up.
        is_over: whether the job is final for its caller already.
        secret_version: of the token that reads the channel.
    """

    files: int
    own_words: tuple[str, ...]
    absent_after_s: float
    expected: Expected | None
    pressed: Pressed | None = None
    unnamed_after_s: float = 0
    why_absent: str = ""
    no_progress_s: float
    is_over: bool
    secret_version: str


class TokenReplaced(Exception):
    """The token that was refused is not the account's any more; ``account`` has the newer one."""

    def __init__(self, account: Account) -> None:
        self.account = account
        super().__init__(account.channel)


class Pursuit:
    """One job's way through its channel's looks."""

    def __init__(self, ledger: Ledger, watch: Watch, phrases: Phrasebook, brief: Brief) -> None:
        self._ledger = ledger
        self._watch = watch
        self._phrases = phrases
        self._brief = brief
        self._remote_id = int(ledger.lease.remote_id) if ledger.lease.remote_id else None
        self._own: set[int] = set()
        self._others: set[int] = set()
        self._user_id = 0
        self._missed = 0
        self._changed_s = time.monotonic()
        self._is_over = brief.is_over
        self._has_plain = False
        self._is_plain_due = False
        self._plain_prompts: dict[int, str] = {}
        self._plain_read_s = 0.0
        self.took_ms: int | None = None
        """How long the bot worked on the job that completed, on Discord's clock."""
        self._pressed_seen: ChannelMessage | None = None
        self._is_taken = False

    async def run(self) -> Outcome:
        """Follow the job to its end, however long that takes: the reaper, not this, knows when it is too long.

        Raises:
            TokenReplaced: begin again with that account's token; what was seen so far is on the ledger.
        """
        while True:
            try:
                look = await self._watch.next()
                outcome = await self._take(look)
            except AccountRejected as refusal:
                await self._look_for_new_token()
                await self._give_up_for_caller(f"its channel cannot be read any more: {refusal.reason}")
                continue
            except UpstreamError as error:
                log.warning("channel not read", job_id=self._ledger.job.id, reason=str(error))
                continue
            if outcome is not None:
                return outcome

    async def _look_for_new_token(self) -> None:
        """Stop for whoever can read on.

        Raises:
            TokenReplaced: the account has another token than the one that was refused.
        """
        account = await self._ledger.account_now()
        if account is not None and account.secret_version != self._brief.secret_version:
            raise TokenReplaced(account)

    async def _take(self, look: Look) -> Outcome | None:
        if self._remote_id is None:
            await self._find(look)
        if self._remote_id is None:
            await self._find_unnamed(look)
        if self._remote_id is None:
            return await self._absent(look)
        if self._brief.pressed is not None and self._remote_id == self._brief.pressed.id:
            look = await self._with_pressed(look, self._brief.pressed)
        outcome = await self._read(look) or await self._read_plain(look) or await self._deleted(look)
        if outcome is None:
            await self._mind_progress(look)
        return outcome

    async def _find(self, look: Look) -> None:
        """Claim the first answer that may be ours; Redis knows which are others'."""
        expected = self._brief.expected
        for message in look.messages:
            answered = message.answers
            if expected is None or answered is None or answered.id in self._others or not expected.is_answer(message):
                continue
            if await self._claim(answered.id, message):
                return
            self._others.add(answered.id)

    async def _find_unnamed(self, look: Look) -> None:
        """Claim an answer to a press that names no interaction: a reply to the pressed message, or an edit of it.

        Where the bot named another press of that message, a reply that names none may be that one's result: never
        guess.
        """
        pressed, expected = self._brief.pressed, self._brief.expected
        if pressed is None or expected is None or look.started_s < self._brief.unnamed_after_s:
            return
        page = await self._watch.before(max(look.present)) if look.present else []
        replies = [message for message in page if pressed.is_reply(message, expected)]
        if replies and not any(pressed.is_named_in(message) for message in page):
            for message in replies:
                if await self._claim(message.id, message):
                    return
        itself = await self._watch.message(pressed.id)
        if itself is not None and pressed.is_edited(itself, self._said(itself), expected):
            self._is_taken = not await self._claim(pressed.id, itself)

    async def _claim(self, remote_id: int, message: ChannelMessage) -> bool:
        """Take a message for the job's answer unless Redis knows that it is another job's."""
        if not await self._ledger.accepted(str(remote_id), message.shown(self._reading(message).percent)):
            return False
        self._remote_id = remote_id
        self._watch.answered(remote_id=remote_id, message_id=message.id)
        return True

    def _is_known_by_press(self) -> bool:
        """Whether its answer is an edit of the pressed message, which has no id of its own."""
        pressed = self._brief.pressed
        return pressed is not None and pressed.id == self._remote_id

    async def _with_pressed(self, look: Look, pressed: Pressed) -> Look:
        """Add the pressed message, which shows the job and is older than what a look covers."""
        message = await self._watch.message(pressed.id)
        if message is None:
            return look
        news = (message,) if message != self._pressed_seen else ()
        self._pressed_seen = message
        return Look(look.started_s, news, look.present | {message.id})

    async def _absent(self, look: Look) -> Outcome | None:
        """Decide that a submission never started: only on a channel that was read, after its time to answer."""
        if not look.is_list or look.started_s < self._brief.absent_after_s:
            return None
        if not look.present and not await self._watch.is_readable():
            if self._watch.is_unanswered:
                job = self._ledger.job.id
                log.warning("channel shows no messages", job_id=job, channel_id=self._ledger.lease.channel)
            self._watch.is_unanswered = False  # nothing is waited for any more: look ever more rarely
            return None
        if self._is_taken:
            error = "ambiguous: the bot answered by editing the pressed message, which another press was answered by"
            return Ended(status="failed", error=error)
        error = "not started: the bot did not answer the submission in its channel"
        return Ended(status="failed", error=f"{error}; {self._brief.why_absent}".removesuffix("; "))

    async def _read(self, look: Look) -> Outcome | None:
        """Take in the messages that name our interaction, or are its answer: the answer, its edits, its follow-ups."""
        for message in look.messages:
            named = message.answers
            if self._remote_id is None or self._remote_id not in (message.id, named.id if named else None):
                continue
            if not self._own:
                self._watch.answered(remote_id=self._remote_id, message_id=message.id)
            self._own.add(message.id)
            self._user_id = named.user.id if named else self._user_id
            self._changed_s = time.monotonic()
            reading = self._reading(message)
            if reading.says != "running":
                return self._end(message, reading)
            await self._ledger.progress(message.shown(reading.percent))
        return None

    async def _read_plain(self, look: Look) -> Outcome | None:
        """Look for a result that names no interaction; see :func:`matching.plain_result`."""
        prompt = self._brief.own_words[0]
        plain = (m for m in look.messages if m.author.bot and m.answers is None)
        self._has_plain = self._has_plain or any(self._phrases.prompt_in(message) == prompt for message in plain)
        prompts = {**self._watch.prompts(), self._remote_id or 0: prompt}
        if self._has_plain:
            # The end of an older job decides as well, and its message is none that this look shows.
            is_late = look.started_s - self._plain_read_s > _PLAIN_AGAIN_S
            self._is_plain_due = self._is_plain_due or bool(look.messages) or prompts != self._plain_prompts or is_late
        if not self._is_plain_due or not look.present or self._remote_id is None:
            return None
        self._plain_prompts, self._plain_read_s = prompts, look.started_s
        verdict = plain_result(
            await self._watch.before(max(look.present)),
            remote_id=self._remote_id,
            user_id=self._user_id,
            phrases=self._phrases,
            prompts=prompts,
        )
        self._is_plain_due = False
        if isinstance(verdict, ChannelMessage) and self._reading(verdict).says != "running":
            return self._end(verdict, self._reading(verdict))
        if verdict == "ambiguous":
            error = "ambiguous: jobs with the same prompt ran in one channel, and the bot's results do not name theirs"
            return Ended(status="failed", error=error)
        return None

    async def _deleted(self, look: Look) -> Outcome | None:
        """Notice that all messages of the job have gone from a list that covers them."""
        if self._own & look.present:
            self._missed = 0
            return None
        if not look.is_list:
            return None
        if not look.present and not await self._watch.is_readable():
            return None
        self._missed += 1
        if self._missed < _LOOKS_TO_BELIEVE_A_DELETION:
            return None
        return Ended(status="failed", error="the bot deleted its message")

    async def _mind_progress(self, look: Look) -> None:
        """Say once that nothing has changed for too long; the slot stays held while the bot may still work."""
        if look.started_s - self._changed_s > self._brief.no_progress_s:
            await self._give_up_for_caller(f"no progress for {self._brief.no_progress_s:g} s")

    async def _give_up_for_caller(self, error: str) -> None:
        """End the job for its caller, once; a submission without an answer stays undecided until its deadline."""
        if self._is_over or self._remote_id is None:
            return
        self._is_over = True
        await self._ledger.overdue(error)

    def _reading(self, message: ChannelMessage) -> Reading:
        reading = self._said(message)
        pressed = self._brief.pressed
        if pressed is not None and message.id == pressed.id and not pressed.is_changed(message, reading):
            return Reading("running")  # it still shows the result that it had before the press
        return reading

    def _said(self, message: ChannelMessage) -> Reading:
        return self._phrases.read(message, files=self._brief.files, own_words=self._brief.own_words)

    def _end(self, message: ChannelMessage, reading: Reading) -> Outcome:
        match reading.says:
            case "busy":
                return Refused(reason=f"the bot is busy: {reading.words}", cools="said")
            case "completed":
                if not self._is_known_by_press():
                    self.took_ms = message.told_ms - born_ms(self._remote_id or message.id)
                return Ended(status="completed", message=message.shown(reading.percent))
            case says:
                return Ended(
                    status="moderated" if says == "moderated" else "failed",
                    message=message.shown(reading.percent),
                    error=f"the bot says: {reading.words}",
                    error_details=message.text,
                    again=says == "failed",
                )
