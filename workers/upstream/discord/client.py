"""The Discord upstream of one worker process: thousands of jobs, few connections, one poller a channel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import httpx
from pydantic import SecretStr

from dispatcher.checks import Checks
from dispatcher.connection import AsyncStore
from dispatcher.errors import AccountRejected, SecretError, StorageUnavailable, SubmitUnknown, UpstreamError
from dispatcher.log import get_logger
from dispatcher.models import Account, Job
from dispatcher.settings import Settings
from dispatcher.storage import Storage
from workers.upstream import Ended, Ledger, Outcome, PassedOn, Refused, Verdict
from workers.upstream.discord import snowflake
from workers.upstream.discord.brief import Brief
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.durations import Durations
from workers.upstream.discord.feed import Feed
from workers.upstream.discord.limits import limits_of
from workers.upstream.discord.matching import Expected, Pressed
from workers.upstream.discord.nonces import nonces_of
from workers.upstream.discord.observers import Observers
from workers.upstream.discord.outcomes import outcome_of
from workers.upstream.discord.phrases import Phrasebook, normalised
from workers.upstream.discord.presses import FORM, wait_for_others
from workers.upstream.discord.pursuit import Pursuit, TokenReplaced
from workers.upstream.discord.refusals import NAME
from workers.upstream.discord.rest import Rest
from workers.upstream.discord.rhythm import Bounds
from workers.upstream.discord.sender import END_BUDGET_S, START_BUDGET_S, Sender
from workers.upstream.discord.sources import Login, Source, Sources
from workers.upstream.discord.uploads import Uploader
from workers.upstream.discord.watch import Watch
from workers.upstream.pacing import Pacing
from workers.upstream.wire import Wire

log = get_logger(__name__)

FILES = {"create": 4, "create_single": 1, "animate": 1, "meme_face": 1, "button": 1}
"""How many videos each kind yields at least (some buttons do all four anew); others cannot be sent."""
SKEW_MS = 2000
"""How far an interaction's instant may lie outside its submission's: Discord's clock is known to half a second, or to
one and a half where what tells it was cached."""
UNNAMED_AFTER_S = 3.0
"""A bot must answer within that time: only then may an answer to a press be one that names no interaction."""
_ANSWER_LATEST_S = START_BUDGET_S + END_BUDGET_S
"""After that long, counted from the permit, no request of it can arrive any more."""


class Discord:
    """Drives the PixVerse bot as its user would. See :class:`workers.upstream.Upstream`.

    Args:
        settings: the Discord facts, the poll bounds and the time limits.
        open_secret: gives an account's token; a SecretError means that this worker lacks the key.
        store: where all workers of the fleet keep Discord's limits and share what they read.
        http: a client to use instead of our own; whoever made it closes it.
    """

    name = NAME

    def __init__(
        self,
        settings: Settings,
        *,
        open_secret: Callable[[Account], SecretStr],
        store: AsyncStore,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._settings = settings
        self._wire = Wire(NAME, http)
        self._clock = UpstreamClock()
        self._rest = rest = Rest(settings.discord_api_url, self._wire, self._clock, Pacing(store, limits_of(settings)))
        uploader = Uploader(rest, self._wire, Storage(settings.storage), settings.discord_upload_hosts)
        self._sender = Sender(settings, rest, uploader, open_secret)
        is_told = settings.observe == "gateway"
        bounds = Bounds(settings.poll_min_s, settings.poll_max_s)
        self._observers = Observers(rest, store, bounds, is_told=is_told)
        open_source = _relays(settings, rest, self._observers.feed) if is_told else None
        self._sources = Sources(open_source, idle_s=settings.discord_gateway_idle_s)
        self._durations = Durations(store)
        self._phrases = {command: Phrasebook(settings, command) for command in FILES}

    async def run(self, ledger: Ledger) -> Outcome:
        """Bring one job from ``ledger.step`` to its end.

        A job that was accepted and whose channel cannot be read any more (401, 403) is failed for its caller
        (``ledger.overdue``); its slot stays held, and the channel is tried again about once a minute.

        Raises:
            LeaseLost, JobReturned: from the ledger; there is nothing more to do.
            PassedOn: the job may run upstream, and this worker lacks the key of its account, or is older than its kind.
        """
        if ledger.job.kind not in FILES:
            raise PassedOn(f"this worker cannot send {ledger.job.kind}")
        if ledger.step == "start":
            return await self._start(ledger)
        if ledger.lease.remote_id is None and ledger.lease.submitted_ms is None:
            return Ended(status="failed", error="not started: it was never submitted")
        return await self._pursue(ledger, ledger.account, absent_after_s=None)

    async def check(self, account: Account) -> Verdict:
        """Ask whose token it is, whether its channel can be read, and whether its server has the bot's commands."""
        try:
            await self._sender.check(account)
        except AccountRejected as error:
            return Verdict("rejected", error.reason, needs_operator=error.needs_operator)
        except (UpstreamError, SecretError) as error:
            return Verdict("unclear", str(error))
        return Verdict("ok")

    async def refresh(self, account: Account, urls: Sequence[str]) -> dict[str, str]:
        """Return fresh links to results by the old ones; Discord's expire after about a day."""
        return await self._sender.fresh_links(account, urls)

    async def close(self) -> None:
        """Close connections; no call is under way."""
        await self._sources.close()
        await self._observers.close()
        await self._rest.close()
        await self._wire.close()

    async def _start(self, ledger: Ledger) -> Outcome:
        await wait_for_others(ledger)
        try:
            prepared = await self._sender.prepare(ledger.account, ledger.job)
        except (UpstreamError, SecretError) as error:
            return self._refusal(error)
        except StorageUnavailable as error:
            return Ended(status="failed", error=f"never submitted: its file cannot be read. {error}")
        permit = await ledger.submitting(upstream_user=str(prepared.user_id), upstream_clock=self._clock.now_ms)
        try:
            if permit.account.secret_version != ledger.account.secret_version:
                return Refused(reason="its account got another token", counted=False, never_sent=True)
            await self._sender.send(permit, ledger.job, prepared, nonces=_nonces(ledger), on_sent=ledger.sent)
            absent_after_s = time.monotonic() + self._settings.start_timeout_s
        except SubmitUnknown as lost:
            log.warning("submission unknown", job_id=ledger.job.id, channel_id=ledger.lease.channel, reason=str(lost))
            await ledger.unknown()
            absent_after_s = permit.asked_s + _ANSWER_LATEST_S + self._settings.start_timeout_s
        except (UpstreamError, SecretError) as error:
            return self._refusal(error)
        finally:
            ledger.sent()
        return await self._pursue(ledger, permit.account, absent_after_s=absent_after_s)

    async def _pursue(self, ledger: Ledger, account: Account, *, absent_after_s: float | None) -> Outcome:
        """Follow the job, with another token where the account got one and the old one is refused."""
        is_answered = _was_answered(ledger)
        while True:
            try:
                return await self._follow(ledger, account, is_answered=is_answered, absent_after_s=absent_after_s)
            except TokenReplaced as replaced:
                log.info("job goes on with another token", job_id=ledger.job.id, channel_id=account.channel)
                account, is_answered = replaced.account, is_answered or replaced.is_answered

    async def _follow(
        self, ledger: Ledger, account: Account, *, is_answered: bool, absent_after_s: float | None
    ) -> Outcome:
        try:
            token = self._sender.token(account)
        except (SecretError, AccountRejected) as error:
            raise PassedOn(str(error)) from error
        expected = None if ledger.lease.remote_id else await self._expected(ledger, account, token)
        absent_after_s = self._absent_after_s(ledger) if absent_after_s is None else absent_after_s
        pressed = _pressed(ledger.job)
        brief = Brief(
            phrases=self._phrases[_command_of(ledger.job)],
            files=FILES[ledger.job.kind],
            own_words=_own_words(ledger.job),
            absent_after_s=absent_after_s,
            pressed=pressed,
            unnamed_after_s=min(absent_after_s, time.monotonic() + UNNAMED_AFTER_S),
            why_absent=f"the button probably opened {FORM}" if pressed else "",
            expected=expected,
            is_answered=is_answered,
            no_progress_s=self._settings.no_progress_s,
            is_over=ledger.lease.state == "D",
            secret_version=account.secret_version,
        )
        took = await self._durations.of(ledger.lease.pool, self._sender.command_name(ledger.job))
        since_ms = expected.earliest_ms if expected else _accepted_ms(ledger, pressed) - SKEW_MS
        watch = Watch(
            self._observers.of(token, account.channel),
            since_id=snowflake.first_at(since_ms),
            sent_s=time.monotonic() - self._age_s(ledger, pressed),
            is_unanswered=not brief.is_answered,
            prompt=brief.own_words[0],
            took=took,
            ear=self._observers.ear(token, _nonces(ledger)),
        )
        login = Login(ledger.lease.pool, account.channel, account.secret_version)
        with self._sources.needed(token, login), watch:
            pursuit = Pursuit(ledger, watch, brief)
            outcome = await pursuit.run()
        if pursuit.took_ms is not None:
            command = self._sender.command_name(ledger.job)
            await self._durations.add(ledger.lease.pool, command, job=ledger.job.id, took_ms=pursuit.took_ms)
        return outcome

    def _age_s(self, ledger: Ledger, pressed: Pressed | None) -> float:
        """For how long a job that was accepted has run; 0 for another, whose answer may come at any moment."""
        if ledger.lease.remote_id is None:
            return 0.0
        return max(0.0, (self._clock.now_ms() - _accepted_ms(ledger, pressed)) / 1000)

    async def _expected(self, ledger: Ledger, account: Account, token: str) -> Expected:
        """Describe the answer that the submission will have."""
        reader = await self._user_id(ledger, account, token)  # whose answer tells Discord's clock
        sent_ms = _sent_ms(ledger)
        return Expected(
            user_id=int(ledger.lease.upstream_user or reader),
            command=self._sender.command_name(ledger.job),
            earliest_ms=sent_ms - SKEW_MS,
            latest_ms=sent_ms + int(_ANSWER_LATEST_S * 1000) + SKEW_MS,
            application_id=self._settings.discord_application_id,
            pressed=int(ledger.job.parent.messageId) if ledger.job.parent else None,
        )

    def _absent_after_s(self, ledger: Ledger) -> float:
        """The monotonic instant from which a submission of another process, now looked up, may be called absent."""
        age_s = max(0.0, (self._clock.now_ms() - _sent_ms(ledger) - SKEW_MS) / 1000)
        return time.monotonic() + _ANSWER_LATEST_S + self._settings.start_timeout_s - age_s

    async def _user_id(self, ledger: Ledger, account: Account, token: str) -> int:
        """Return whose token it is, however long Discord is away: the submission may run, and is not given up.

        Raises:
            TokenReplaced: it is refused, and the account has another one by now.
        """
        while True:
            try:
                return await self._sender.user_id(token)
            except UpstreamError as error:
                newer = await ledger.account_now() if isinstance(error, AccountRejected) else None
                if newer is not None and newer.secret_version != account.secret_version:
                    raise TokenReplaced(newer) from error
                log.warning("account not read", reason=str(error), pause_s=self._settings.poll_max_s)
                await asyncio.sleep(self._settings.poll_max_s)

    def _refusal(self, error: UpstreamError | SecretError) -> Outcome:
        """A worker without the key must not disable the account: another worker may have it."""
        if isinstance(error, SecretError):
            return Refused(reason=str(error), counted=False, cools="suspected")
        return outcome_of(error)


def _relays(settings: Settings, rest: Rest, feed: Feed) -> Callable[[str], Source]:
    """How the gateway's events of a token come to the feed."""
    from workers.upstream.discord.gateway.address import socket_url  # noqa: PLC0415 (its library is an extra)
    from workers.upstream.discord.gateway.relay import Relay  # noqa: PLC0415 (as before)

    return lambda token: Relay(
        feed,
        token,
        find=lambda: rest.gateway_url(token),
        check=partial(socket_url, api_url=settings.discord_api_url, hosts=settings.discord_gateway_hosts),
        checks=Checks(settings),
        retry_s=settings.discord_gateway_retry_s,
    )


def _sent_ms(ledger: Ledger) -> int:
    """When the permission to submit was asked for, by Discord's clock."""
    return ledger.lease.upstream_ms or ledger.lease.submitted_ms or 0


def _nonces(ledger: Ledger) -> tuple[str, str]:
    """By what names the submission went out, for whoever asks, in any worker."""
    return nonces_of(ledger.job.id, _sent_ms(ledger))


def _was_answered(ledger: Ledger) -> bool:
    """Whether the job's record shows an answer to this submission; an earlier attempt's is older than it."""
    return int(ledger.job.messageId or 0) >= int(ledger.lease.remote_id or 0) > 0


def _accepted_ms(ledger: Ledger, pressed: Pressed | None) -> int:
    """When what answers the job may have begun, by Discord's clock: its interaction, unless its answer is an edit."""
    remote_id = int(ledger.lease.remote_id or 0)
    return _sent_ms(ledger) if pressed and remote_id == pressed.id else snowflake.born_ms(remote_id)


def _pressed(job: Job) -> Pressed | None:
    """The message whose button a job presses; None for a slash command."""
    return Pressed(id=int(job.parent.messageId), files=frozenset(job.parent.files)) if job.parent else None


def _command_of(job: Job) -> str:
    """The kind of the command whose words the bot's messages repeat."""
    return job.parent.command if job.parent else job.kind


def _own_words(job: Job) -> tuple[str, ...]:
    """What the user wrote, normalised; the prompt first."""
    others = (job.request.get(field) for field in ("negative_prompt", "character"))
    prompt = job.parent.prompt if job.parent else job.prompt
    return (normalised(prompt or ""), *(normalised(str(words)) for words in others if words))
