"""Discord's endpoints that a user of a bot needs, each one method. Errors are those of ``dispatcher.errors``.

Source: docs/upstream.md, "Endpoints"; checked by tests/integration/test_discord_run.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx
import stamina
from pydantic_core import from_json

from dispatcher.errors import AccountRejected, RateLimited, SubmitUnknown, UpstreamUnavailable
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.refusals import NAME, error_of, still_prepared
from workers.upstream.wire import Wire

PAGE_MAX = 100
_WAIT_IN_PLACE_S = 10.0
"""A longer rate limit is not waited out on a slot."""


class Rest:
    """Requests with a user's token.

    Args:
        api_url: with the version: ``https://discord.com/api/v9``.
        wire: the way there.
        clock: told of every ``Date`` that Discord sends.
    """

    def __init__(self, api_url: str, wire: Wire, clock: UpstreamClock) -> None:
        self._api_url = api_url.rstrip("/")
        self._wire = wire
        self._clock = clock

    async def user_id(self, token: str) -> int:
        """Return whose token it is (``GET /users/@me``).

        Raises:
            AccountRejected: the token is not valid.
            RateLimited, UpstreamUnavailable, UpstreamBlocked: not now; short troubles were waited out.
        """
        me = await self._insist(token, "/users/@me")
        if not isinstance(me, dict) or not str(me.get("id")).isdecimal():
            raise UpstreamUnavailable(NAME, "the description of the account came in an unknown shape")
        return int(me["id"])

    async def command_index(self, token: str, guild: str) -> Any:
        """Return all slash commands of a server; one that Discord still prepares (202) is asked for again.

        Raises:
            AccountRejected: the account is no member of the server.
            RateLimited, UpstreamUnavailable, UpstreamBlocked: as ``user_id``.
        """
        return await self._insist(token, f"/guilds/{quote(guild, safe='')}/application-command-index")

    async def messages(self, token: str, channel: str, *, limit: int = PAGE_MAX, **cursor: int) -> list[dict[str, Any]]:
        """Return one page of messages, newest first; ``cursor`` is one of after, before. One attempt.

        Raises:
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked.
        """
        page = await self._get(token, f"/channels/{channel}/messages", limit=limit, **cursor)
        if not isinstance(page, list) or not all(isinstance(m, dict) and str(m.get("id")).isdecimal() for m in page):
            raise UpstreamUnavailable(NAME, f"the messages of channel {channel} came in an unknown shape")
        return page

    async def open_channel(self, token: str, channel: str) -> None:
        """Return if the channel's messages can be read, and it is no archived thread.

        Raises:
            AccountRejected: they cannot, or it is.
            RateLimited, UpstreamUnavailable, UpstreamBlocked: as ``user_id``.
        """
        await self._insist(token, f"/channels/{channel}/messages", limit=1)
        described = await self._insist(token, f"/channels/{channel}")
        thread = described.get("thread_metadata") if isinstance(described, dict) else None
        if isinstance(thread, dict) and thread.get("archived"):
            raise AccountRejected(NAME, "the thread is archived; open it again")

    async def last_message_id(self, token: str, channel: str) -> int | None:
        """Return the channel's newest message as its description names it, readable or not, deleted or not."""
        described = await self._get(token, f"/channels/{channel}")
        last = described.get("last_message_id") if isinstance(described, dict) else None
        return int(last) if last else None

    async def interact(
        self,
        token: str,
        payload: dict[str, Any],
        *,
        start_by_s: float,
        end_by_s: float,
        on_sent: Callable[[], None],
    ) -> None:
        """Send an interaction (``POST /interactions``); returns when Discord took it (204). Limits: ``Wire.submit``.

        Raises:
            SubmitUnknown: it may run: no answer, or a server error.
            UpstreamError: else it certainly does not run; see ``refusals.RULES``.
        """
        sent_s = time.monotonic()
        response = await self._wire.submit(
            f"{self._api_url}/interactions",
            headers={"Authorization": token},
            json=payload,
            start_by_s=start_by_s,
            end_by_s=end_by_s,
            on_sent=on_sent,
        )
        self._clock.hear(response.headers.get("date"), sent_s=sent_s)
        if response.is_success:
            return
        error = error_of(response)
        if isinstance(error, UpstreamUnavailable):
            raise SubmitUnknown(NAME, str(error)) from error
        raise error

    async def _insist(self, token: str, path: str, **params: int) -> Any:
        """GET what is needed before a submission, past short troubles."""
        async for attempt in stamina.retry_context(on=_worth_waiting, attempts=4, timeout=30.0):
            with attempt:
                return await self._get(token, path, **params)
        raise AssertionError("stamina ends with a value or an error")

    async def _get(self, token: str, path: str, **params: int) -> Any:
        sent_s = time.monotonic()
        response = await self._wire.read(self._api_url + path, headers={"Authorization": token}, params=params)
        self._clock.hear(response.headers.get("date"), sent_s=sent_s)
        if response.status_code == httpx.codes.ACCEPTED:
            raise still_prepared(response)
        if not response.is_success:
            raise error_of(response)
        try:
            return from_json(response.content)
        except ValueError as error:
            raise UpstreamUnavailable(NAME, f"an answer that is no JSON ({path})") from error


def _worth_waiting(error: Exception) -> bool | float:
    """Say whether (or how long, in seconds) to wait before asking again."""
    if isinstance(error, RateLimited):
        return error.retry_after_s if error.retry_after_s <= _WAIT_IN_PLACE_S else False
    return isinstance(error, UpstreamUnavailable)
