"""Sends a job's slash command, or presses its button: all is at hand before the permit, then one request goes out."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import SecretStr

from dispatcher.errors import AccountRejected, UpstreamUnavailable
from dispatcher.leases import Permit
from dispatcher.models import Account, Job
from dispatcher.plan import pieces
from dispatcher.requests import Button
from dispatcher.settings import Settings
from dispatcher.uploads import Upload
from workers.upstream.discord.commands import AttachmentIndex, Command, CommandBook, Commands, command_named, filled_in
from workers.upstream.discord.memo import Memo
from workers.upstream.discord.presses import Press, found_press
from workers.upstream.discord.refusals import NAME, CommandOutdated
from workers.upstream.discord.rest import LINKS_MAX, Rest
from workers.upstream.discord.uploads import Attached, Uploader

T = TypeVar("T")

START_BUDGET_S = 2.0
"""From the permit to the first byte."""
END_BUDGET_S = 20.0
"""From the permit to the last byte of the answer."""

_APPLICATION_COMMAND = 2


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a submission needs beside its permit; of one preparation: uploads may expire, buttons may change.

    Args:
        user_id: as whom it will be sent.
        files: what Discord has been sent for it, by the field of the request.
        press: the button to press; None for a slash command.
    """

    user_id: int
    files: Mapping[str, Attached] = field(default_factory=dict)
    press: Press | None = None


class Sender:
    """Turns jobs into interactions.

    Args:
        settings: names of commands and options, the session id.
        rest: the endpoints.
        uploader: sends files.
        open_secret: gives an account's token.
    """

    def __init__(
        self, settings: Settings, rest: Rest, uploader: Uploader, open_secret: Callable[[Account], SecretStr]
    ) -> None:
        self._rest = rest
        self._uploader = uploader
        self._application_id = settings.discord_application_id
        self._open_secret = open_secret
        self._names = settings.discord_commands
        self._option_names = settings.discord_options
        self._session_id = settings.discord_session_id or secrets.token_hex(16)
        self._book = CommandBook(settings, rest)
        self._user_ids: Memo[int] = Memo()

    def command_name(self, job: Job) -> str:
        """The slash command of a job's kind; of no meaning for a button."""
        return self._names.get(job.kind, job.kind)

    def token(self, account: Account) -> str:
        """Return an account's token.

        Raises:
            AccountRejected: it cannot be a token; a header made of it would not be one.
            SecretError: it is sealed with a key that this worker has not.
        """
        token = self._open_secret(account).get_secret_value()
        if not (token.isascii() and token.isprintable() and token.strip() == token != ""):
            raise AccountRejected(NAME, "the stored token holds characters that no token has; register it again")
        return token

    async def user_id(self, token: str) -> int:
        """Return whose token it is; asked once. Raises as ``Rest.user_id``."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        return await self._user_ids.get(digest, lambda: self._rest.user_id(token))

    async def prepare(self, account: Account, job: Job) -> Prepared:
        """Fetch all that the submission will need, and refuse what cannot be sent, before a permit is asked for.

        Files are sent last, when nothing else stands against the submission.

        Raises:
            AccountRejected, RequestRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld: nothing was
                sent.
            StorageUnavailable: a file of the job cannot be read.
            SecretError: as ``token``.
        """
        token = self.token(account)
        user_id = await self.user_id(token)
        if job.kind == Button.kind:
            found = found_press(self._rest, token, account.channel, job, application_id=self._application_id)
            prepared = Prepared(user_id, press=await found)
            await self._rest.await_turn_to_interact(token)
            return prepared
        commands = await self._book.read(token, account.server)
        self._options(command_named(commands, self.command_name(job)), job)
        files = {
            name: await self._uploader.upload(token, account.channel, upload, name=name)
            for name, upload in uploads_in(job.request).items()
        }
        await self._rest.await_turn_to_interact(token)
        return Prepared(user_id, files)

    async def check(self, account: Account) -> None:
        """Read, anew, all that a submission and its following up would need; returns when the account could work.

        Raises:
            AccountRejected: it could not.
            RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld: nothing was learned about it.
            SecretError: as ``token``.
        """
        token = self.token(account)
        await self._rest.user_id(token)
        await self._rest.open_channel(token, account.channel)
        await self._book.fresh(token, account.server)

    async def fresh_links(self, account: Account, urls: Sequence[str]) -> dict[str, str]:
        """Return fresh links to attachments by the old ones, in as many calls as that needs.

        Raises:
            AccountRejected, RequestRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld.
            SecretError: as ``token``.
        """
        token, fresh = self.token(account), dict[str, str]()
        for piece in pieces(urls, LINKS_MAX):
            fresh |= await self._rest.refreshed_links(token, piece)
        return fresh

    async def send(
        self, permit: Permit, job: Job, prepared: Prepared, *, nonces: tuple[str, str], on_sent: Callable[[], None]
    ) -> None:
        """Send what was prepared, with the account as it stands at the permit; returns when Discord took it.

        A command that Discord calls outdated was certainly not run: the index is read and the command sent once more,
        within the same budget, under the second of its ``nonces``: what a repeat of one does is unknown. ``on_sent`` is
        called when a request has left.

        Raises:
            SubmitUnknown: it may run.
            UpstreamError: it certainly does not run.
        """
        token = self.token(permit.account)
        first, second = nonces
        if prepared.press is not None:
            await self._interact(token, permit, self._payload(permit, prepared.press.payload(), first), on_sent)
            return
        try:
            await self._run(token, permit, job, prepared, nonce=first, on_sent=on_sent)
        except CommandOutdated:
            await self._run(token, permit, job, prepared, nonce=second, on_sent=on_sent)

    async def _run(
        self, token: str, permit: Permit, job: Job, prepared: Prepared, *, nonce: str, on_sent: Callable[[], None]
    ) -> None:
        """Send the slash command once; an index that is outdated is not used again by anybody."""
        guild = permit.account.server
        commands = await _in_time(self._book.read(token, guild), permit.asked_s + START_BUDGET_S)
        try:
            await self._interact(token, permit, self._command(permit, commands, job, prepared, nonce), on_sent)
        except CommandOutdated:
            self._book.forget(guild, commands)
            raise

    async def _interact(self, token: str, permit: Permit, payload: dict[str, Any], on_sent: Callable[[], None]) -> None:
        start_by_s, end_by_s = permit.asked_s + START_BUDGET_S, permit.asked_s + END_BUDGET_S
        await self._rest.interact(token, payload, start_by_s=start_by_s, end_by_s=end_by_s, on_sent=on_sent)

    def _payload(self, permit: Permit, what: dict[str, Any], nonce: str) -> dict[str, Any]:
        return {
            "guild_id": permit.account.server,
            "channel_id": permit.account.channel,
            "session_id": self._session_id,
            "nonce": nonce,
            **what,
        }

    def _command(self, permit: Permit, commands: Commands, job: Job, prepared: Prepared, nonce: str) -> dict[str, Any]:
        command = command_named(commands, self.command_name(job))
        data = {
            "version": command.version,
            "id": command.id,
            "name": command.own_name,
            "type": command.type,
            "options": self._options(command, job),
            "attachments": [
                {"id": str(index), "filename": file.filename, "uploaded_filename": file.uploaded_filename}
                for index, file in enumerate(prepared.files.values())
            ],
        }
        what = {"type": _APPLICATION_COMMAND, "application_id": command.application_id, "data": data}
        return self._payload(permit, what, nonce)

    def _options(self, command: Command, job: Job) -> list[dict[str, Any]]:
        given = {name: value for name, value in job.request.items() if name != "maxJobs" and value is not None}
        given |= {name: AttachmentIndex(index) for index, name in enumerate(uploads_in(job.request))}
        return filled_in(command, {self._option_names.get(name, name): value for name, value in given.items()})


def uploads_in(request: Mapping[str, Any]) -> dict[str, Upload]:
    """Return the files that a job's request names, by field, in its order."""
    named = {name: value for name, value in request.items() if isinstance(value, dict) and "object" in value}
    return {name: Upload.model_validate(value) for name, value in named.items()}


async def _in_time(reading: Coroutine[Any, Any, T], by_s: float) -> T:
    """Wait for what is almost always known already; a permit is not spent on waiting."""
    try:
        async with asyncio.timeout(by_s - time.monotonic()):
            return await reading
    except TimeoutError:
        message = "the command index did not come within the permit's time"
        raise UpstreamUnavailable(NAME, message, sent=False) from None
