"""Discord's endpoints that a user of a bot needs, each one method. Errors are those of ``dispatcher.errors``.

Each call waits for its turn among those of all workers, and tells them what the answer says of limits.

Source: docs/upstream.md, "Endpoints"; checked by tests/integration/test_discord_run.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote

import httpx
import stamina
from pydantic_core import from_json

from dispatcher.errors import (
    AccountRejected,
    RateLimited,
    StoreUnavailable,
    SubmitUnknown,
    UpstreamError,
    UpstreamUnavailable,
)
from workers.upstream.discord import limits
from workers.upstream.discord.clock import UpstreamClock
from workers.upstream.discord.refusals import NAME, error_of, error_of_press, error_of_refresh, still_prepared
from workers.upstream.pacing import WAIT_IN_PLACE_S, Pacing, Route
from workers.upstream.wire import Wire

MESSAGE_COMPONENT = 3
"""The type of an interaction that presses a button."""
LINKS_MAX = 50
"""Links that Discord refreshes at once."""
PAGE_MAX = 100


class Rest:
    """Requests with a user's token.

    Args:
        api_url: with the version: ``https://discord.com/api/v9``.
        wire: the way there.
        clock: told of every ``Date`` that Discord sends.
        pacing: asked before every call, told of every answer.
    """

    def __init__(self, api_url: str, wire: Wire, clock: UpstreamClock, pacing: Pacing) -> None:
        self._api_url = api_url.rstrip("/")
        self._wire = wire
        self._clock = clock
        self._pacing = pacing

    async def close(self) -> None:
        """End what goes on beside the calls; none is under way."""
        await self._pacing.close()

    async def user_id(self, token: str) -> int:
        """Return whose token it is (``GET /users/@me``).

        Raises:
            AccountRejected: the token is not valid.
            RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld: not now; short troubles were waited out.
        """
        me = await self._insist(token, limits.ME, "/users/@me")
        if not isinstance(me, dict) or not str(me.get("id")).isdecimal():
            raise UpstreamUnavailable(NAME, "the description of the account came in an unknown shape")
        return int(me["id"])

    async def command_index(self, token: str, guild: str) -> Any:
        """Return all slash commands of a server; one that Discord still prepares (202) is asked for again.

        Raises:
            AccountRejected: the account is no member of the server.
            RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld: as ``user_id``.
        """
        path = f"/guilds/{quote(guild, safe='')}/application-command-index"
        return await self._insist(token, limits.index_route(guild), path)

    async def messages(self, token: str, channel: str, *, limit: int = PAGE_MAX, **cursor: int) -> list[dict[str, Any]]:
        """Return one page of messages, newest first; ``cursor`` is one of after, before, around. One attempt.

        Raises:
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld.
        """
        route = limits.messages_route(channel)
        page = await self._get(token, route, f"/channels/{channel}/messages", limit=limit, **cursor)
        if not isinstance(page, list) or not all(isinstance(m, dict) and str(m.get("id")).isdecimal() for m in page):
            raise UpstreamUnavailable(NAME, f"the messages of channel {channel} came in an unknown shape")
        return page

    async def message(self, token: str, channel: str, message_id: int) -> dict[str, Any] | None:
        """Return one message; None where there is none (any more). One attempt.

        Users may not ask for one message: it is looked for around its own id.

        Raises:
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked.
        """
        page = await self.messages(token, channel, limit=1, around=message_id)
        return next((message for message in page if message["id"] == str(message_id)), None)

    async def open_upload(self, token: str, channel: str, *, filename: str, size_bytes: int) -> tuple[str, str]:
        """Announce a file (``POST /channels/{id}/attachments``): where its bytes go, and its name there. One attempt.

        Raises:
            RequestRejected: the file is not taken.
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked.
        """
        announced = {"files": [{"id": "0", "filename": filename, "file_size": size_bytes}]}
        path = f"/channels/{channel}/attachments"
        ask = partial(self._wire.ask, self._api_url + path, headers=_login(token), json=announced)
        opened = await self._heard(token, limits.attachments_route(channel), path, ask)
        match opened:
            case {"attachments": [{"upload_url": str(url), "upload_filename": str(name)}]}:
                return url, name
            case _:
                raise UpstreamUnavailable(NAME, "the answer to an announced file came in an unknown shape")

    async def refreshed_links(self, token: str, urls: Sequence[str]) -> dict[str, str]:
        """Return fresh links to attachments by the old ones (``POST /attachments/refresh-urls``). One attempt.

        Args:
            token: any account's that may see them.
            urls: at most ``LINKS_MAX``; what is no attachment's of Discord's comes back as it was, or is left out.

        Raises:
            AccountRejected, RequestRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld.
        """
        path = "/attachments/refresh-urls"
        ask = partial(self._wire.ask, self._api_url + path, headers=_login(token), json={"attachment_urls": list(urls)})
        match await self._heard(token, limits.LINKS, path, ask, meaning=error_of_refresh):
            case {"refreshed_urls": [*pairs]}:
                return dict(link for pair in pairs if (link := _fresh_link(pair)))
            case _:
                raise UpstreamUnavailable(NAME, "fresh links came in an unknown shape")

    async def open_channel(self, token: str, channel: str) -> None:
        """Return if the channel's messages can be read, and it is no archived thread.

        Raises:
            AccountRejected: they cannot, or it is.
            RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld: as ``user_id``.
        """
        await self._insist(token, limits.messages_route(channel), f"/channels/{channel}/messages", limit=1)
        described = await self._insist(token, limits.channel_route(channel), f"/channels/{channel}")
        thread = described.get("thread_metadata") if isinstance(described, dict) else None
        if isinstance(thread, dict) and thread.get("archived"):
            raise AccountRejected(NAME, "the thread is archived; open it again")

    async def last_message_id(self, token: str, channel: str) -> int | None:
        """Return the channel's newest message as its description names it, readable or not, deleted or not."""
        described = await self._get(token, limits.channel_route(channel), f"/channels/{channel}")
        last = described.get("last_message_id") if isinstance(described, dict) else None
        if last and not str(last).isdecimal():
            raise UpstreamUnavailable(NAME, f"the description of channel {channel} came in an unknown shape")
        return int(last) if last else None

    async def await_turn_to_interact(self, token: str) -> None:
        """Wait, before the permit, until an interaction may be sent: within the permit's time nothing may wait.

        Raises:
            CallHeld: that is longer than is waited for on a slot.
        """
        await self._pacing.turn(token, limits.INTERACTIONS, pace=limits.UNPACED, leaves=False)

    async def gateway_url(self, token: str) -> str:
        """Return where the gateway says that it is (``GET /gateway``). One attempt.

        Raises:
            AccountRejected, RateLimited, UpstreamUnavailable, UpstreamBlocked, CallHeld.
        """
        found = await self._get(token, limits.GATEWAY, "/gateway")
        if not isinstance(found, dict) or not isinstance(found.get("url"), str):
            raise UpstreamUnavailable(NAME, "the gateway's address came in an unknown shape")
        url: str = found["url"]
        return url

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
            CallHeld: it was not sent: since its turn somebody was told to wait.
            UpstreamError: else it certainly does not run; see ``refusals.RULES``.
        """
        await self._is_clear(token, start_by_s)
        sent_s = time.monotonic()
        response = await self._wire.submit(
            f"{self._api_url}/interactions",
            headers=_login(token),
            json=payload,
            start_by_s=start_by_s,
            end_by_s=end_by_s,
            on_sent=on_sent,
        )
        self._clock.hear(response.headers.get("date"), sent_s=sent_s)
        meaning = error_of_press if payload.get("type") == MESSAGE_COMPONENT else error_of
        error = None if response.is_success else meaning(response)
        await self._pacing.hear(token, limits.INTERACTIONS, limits.heard_from(limits.INTERACTIONS, response, error))
        if error is None:
            return
        if isinstance(error, UpstreamUnavailable):
            raise SubmitUnknown(NAME, str(error)) from error
        raise error

    async def _is_clear(self, token: str, start_by_s: float) -> None:
        """Return if the submission may leave now; whoever cannot be asked in the permit's time does not send it."""
        try:
            async with asyncio.timeout(start_by_s - time.monotonic()):
                await self._pacing.clear(token, limits.INTERACTIONS)
        except (TimeoutError, StoreUnavailable):
            message = "the permit ran out before it was known that the request may leave"
            raise UpstreamUnavailable(NAME, message, sent=False) from None

    async def _insist(self, token: str, route: Route, path: str, **params: int) -> Any:
        """GET what is needed before a submission, past short troubles."""
        async for attempt in stamina.retry_context(on=worth_waiting, attempts=4, timeout=30.0):
            with attempt:
                return await self._get(token, route, path, **params)
        raise AssertionError("stamina ends with a value or an error")

    async def _get(self, token: str, route: Route, path: str, **params: int) -> Any:
        read = partial(self._wire.read, self._api_url + path, headers=_login(token), params=params)
        return await self._heard(token, route, path, read)

    async def _heard(
        self,
        token: str,
        route: Route,
        path: str,
        ask: Callable[[], Coroutine[Any, Any, httpx.Response]],
        *,
        meaning: Callable[[httpx.Response], UpstreamError] = error_of,
    ) -> Any:
        """Ask in turn, and return what the answer holds; raises what it means where it is no success."""
        await self._pacing.turn(token, route)
        sent_s = time.monotonic()
        response = await ask()
        self._clock.hear(response.headers.get("date"), sent_s=sent_s)
        error = None if response.is_success else meaning(response)
        await self._pacing.hear(token, route, limits.heard_from(route, response, error))
        if response.status_code == httpx.codes.ACCEPTED:
            raise still_prepared(response)
        if error is not None:
            raise error
        try:
            return from_json(response.content)
        except ValueError as error:
            raise UpstreamUnavailable(NAME, f"an answer that is no JSON ({path})") from error


def _fresh_link(pair: Any) -> tuple[str, str] | None:
    match pair:
        case {"original": str(old), "refreshed": str(new)}:
            return old, new
        case _:
            return None


def _login(token: str) -> dict[str, str]:
    return {"Authorization": token}


def worth_waiting(error: Exception) -> bool | float:
    """Say whether (or how long, in seconds) to wait before asking again."""
    if isinstance(error, RateLimited):
        return error.retry_after_s if error.retry_after_s <= WAIT_IN_PLACE_S else False
    return isinstance(error, UpstreamUnavailable)
