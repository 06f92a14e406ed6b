"""From a sent interaction to its end: follow the bot's answer, once it is found, and say how the job ended."""

from __future__ import annotations

import time

from dispatcher.errors import AccountRejected, UpstreamError
from dispatcher.log import get_logger
from dispatcher.models import Account
from workers.upstream import Ended, Ledger, Outcome
from workers.upstream.discord.brief import Brief
from workers.upstream.discord.finding import Finding
from workers.upstream.discord.matching import Pressed, plain_result
from workers.upstream.discord.messages import ChannelMessage
from workers.upstream.discord.outcomes import outcome_said
from workers.upstream.discord.phrases import Reading
from workers.upstream.discord.snowflake import born_ms
from workers.upstream.discord.watch import Look, Watch

log = get_logger(__name__)

_LOOKS_TO_BELIEVE_A_DELETION = 2
"""A list may come from a replica that lags; freeing a slot that still runs is what must never happen."""

_PLAIN_AGAIN_S = 10.0
"""How often a result that names no interaction is weighed again, although nothing that we see has changed."""


class TokenReplaced(Exception):
    """The token that was refused is not the account's any more; ``account`` has the newer one.

    ``is_answered``: the old one was shown an answer to the job.
    """

    def __init__(self, account: Account, *, is_answered: bool = False) -> None:
        self.account = account
        self.is_answered = is_answered
        super().__init__(account.channel)


class Pursuit:
    """One job's way through its channel's looks."""

    def __init__(self, ledger: Ledger, watch: Watch, brief: Brief) -> None:
        self._ledger = ledger
        self._watch = watch
        self._brief = brief
        self._finding = Finding(ledger, watch, brief)
        self._own: set[int] = set()
        self._user_id = brief.expected.user_id if brief.expected else 0
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

    async def run(self) -> Outcome:
        """Follow the job to its end, however long that takes: the reaper, not this, knows when it is too long.

        Raises:
            TokenReplaced: begin again with that account's token; what else was seen is on the ledger.
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
            raise TokenReplaced(account, is_answered=self._finding.is_answered)

    async def _take(self, look: Look) -> Outcome | None:
        taken = await self._finding.take(look)
        if not isinstance(taken, Look):
            return taken
        look = taken
        if self._finding.remote_id is None:
            return await self._finding.absent(look)
        if self._brief.pressed is not None and self._is_known_by_press():
            look = await self._with_pressed(look, self._brief.pressed)
        outcome = await self._read(look) or await self._read_plain(look)
        if outcome is None:
            outcome = await (self._deleted(look) if self._finding.is_answered else self._finding.absent(look))
        if outcome is None:
            await self._mind_progress(look)
        return outcome

    def _is_known_by_press(self) -> bool:
        """Whether its answer is an edit of the pressed message, which has no id of its own."""
        pressed = self._brief.pressed
        return pressed is not None and pressed.id == self._finding.remote_id

    async def _with_pressed(self, look: Look, pressed: Pressed) -> Look:
        """Add the pressed message, which shows the job and is older than what a look covers."""
        message = await self._watch.message(pressed.id)
        if message is None:
            return look
        news = (message,) if message != self._pressed_seen else ()
        self._pressed_seen = message
        return Look(look.started_s, news, look.present | {message.id})

    async def _read(self, look: Look) -> Outcome | None:
        """Take in the messages that name our interaction, or are its answer: the answer, its edits, its follow-ups."""
        for message in look.messages:
            named = message.answers
            if self._finding.remote_id not in (message.id, named.id if named else None):
                continue
            if not self._own:
                await self._finding.saw(message)
            self._own.add(message.id)
            self._user_id = named.user.id if named else self._user_id
            self._changed_s = time.monotonic()
            reading = self._brief.reading(message)
            if reading.says != "running":
                return self._end(message, reading)
            await self._ledger.progress(message.shown(reading.percent))
        return None

    async def _read_plain(self, look: Look) -> Outcome | None:
        """Look for a result that names no interaction; see :func:`matching.plain_result`."""
        prompt = self._brief.own_words[0]
        plain = (m for m in look.messages if m.author.bot and m.answers is None)
        self._has_plain = self._has_plain or any(self._brief.phrases.prompt_in(message) == prompt for message in plain)
        prompts = {**self._watch.prompts(), self._finding.remote_id or 0: prompt}
        if self._has_plain:
            # The end of an older job decides as well, and its message is none that this look shows.
            is_late = look.started_s - self._plain_read_s > _PLAIN_AGAIN_S
            self._is_plain_due = self._is_plain_due or bool(look.messages) or prompts != self._plain_prompts or is_late
        if not self._is_plain_due or not look.present or self._finding.remote_id is None:
            return None
        self._plain_prompts, self._plain_read_s = prompts, look.started_s
        verdict = plain_result(
            await self._watch.before(max(look.present)),
            remote_id=self._finding.remote_id,
            user_id=self._user_id,
            phrases=self._brief.phrases,
            prompts=prompts,
        )
        self._is_plain_due = False
        if isinstance(verdict, ChannelMessage) and self._brief.reading(verdict).says != "running":
            return self._end(verdict, self._brief.reading(verdict))
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
            await self._watch.want_list()
            return None
        return Ended(status="failed", error="the bot deleted its message")

    async def _mind_progress(self, look: Look) -> None:
        """Say once that nothing has changed for too long; the slot stays held while the bot may still work."""
        if look.started_s - self._changed_s > self._brief.no_progress_s:
            await self._give_up_for_caller(f"no progress for {self._brief.no_progress_s:g} s")

    async def _give_up_for_caller(self, error: str) -> None:
        """End the job for its caller, once; a submission without an answer stays undecided until its deadline."""
        if self._is_over or self._finding.remote_id is None:
            return
        self._is_over = True
        await self._ledger.overdue(error)

    def _end(self, message: ChannelMessage, reading: Reading) -> Outcome:
        if reading.says != "completed":
            return outcome_said(message, reading)
        if not self._is_known_by_press():
            self.took_ms = message.told_ms - born_ms(self._finding.remote_id or message.id)
        return Ended(status="completed", message=message.shown(reading.percent))
