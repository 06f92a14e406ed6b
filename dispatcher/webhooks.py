"""The one door to addresses that callers name: a guarded, signed, bounded POST.

Whoever may submit a job may name an address. So only public ones are called, and what ``callback_allowed_networks``
adds: private, loopback, link-local and metadata addresses are refused, in every spelling, also behind a name. A name is
looked up once, all that it stands for is judged, and the connection goes to an address that was. No redirect is
followed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
from ssrfguard import Policy, SSRFGuardError
from ssrfguard.errors import BlockedAddressError, BlockedURLError
from ssrfguard.httpx import AsyncClient
from standardwebhooks import Webhook

from dispatcher.errors import CallbackRefused, CallbackUnanswered, SettingsError
from dispatcher.settings import Settings

ANSWER_MAX_BYTES = 64 * 1024
"""No more of an answer is read, and nothing of it is kept."""
LOOKUPS_MAX = 32
"""Names that are looked up at once. A look-up cannot be broken off: only its result is waited for no longer."""
_ALL_PORTS = frozenset(range(1, 65_536))


class Webhooks:
    """Posts to addresses that we have no reason to trust; two calls share nothing: no connection, no cookie.

    Raises:
        SettingsError: ``callback_allowed_networks`` names what cannot be allowed.
    """

    def __init__(self, settings: Settings) -> None:
        self._policy = _policy(settings.callback_allowed_networks)
        self._timeout_s = settings.callback_timeout_s
        secret = settings.callback_secret
        self._signer = Webhook(secret.get_secret_value()) if secret else None
        self._ssl_context = httpx.create_ssl_context()
        self._lookups = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="callback-lookup")

    async def post(self, url: str, webhook_id: str, body: str) -> int:
        """Post a body of JSON and return the status of the answer, whatever it is; within ``callback_timeout_s``.

        Raises:
            CallbackRefused: the address may not be called; no attempt will change that, only a setting.
            CallbackUnanswered: no HTTP response came.
        """
        status = 0
        with _failures_told():
            try:
                async with asyncio.timeout(self._timeout_s), self._client(await self._look_up(url)) as client:
                    headers = self._headers(webhook_id, body)
                    async with client.stream("POST", url, content=body.encode(), headers=headers) as answer:
                        status = answer.status_code
                        await _read_some(answer)
            except (httpx.TransportError, TimeoutError):
                if not status:
                    raise
        return status

    def close(self) -> None:
        """Stop looking names up."""
        self._lookups.shutdown(wait=False, cancel_futures=True)

    async def _look_up(self, url: str) -> list[Any]:
        """Look the URL's host up, once, off the event loop."""
        target = self._policy.check_url(url)

        def look_up() -> list[Any]:
            return socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)

        return await asyncio.get_running_loop().run_in_executor(self._lookups, look_up)

    def _client(self, found: list[Any]) -> AsyncClient:
        """A client for one call, which connects to what was found and to nothing else."""
        return AsyncClient(
            policy=self._policy,
            resolver=lambda *_: found,
            verify=self._ssl_context,
            trust_env=False,  # a proxy would look the name up itself
            follow_redirects=False,
            event_hooks={"response": [_forget_where_it_leads]},
            timeout=httpx.Timeout(
                self._timeout_s, connect=self._timeout_s / 2
            ),  # where one address hangs, another may not
        )

    def _headers(self, webhook_id: str, body: str) -> dict[str, str]:
        headers = {"content-type": "application/json", "user-agent": "pixverse-dispatcher", "webhook-id": webhook_id}
        if self._signer is None:
            return headers
        now = datetime.now(UTC)
        return headers | {
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(webhook_id, now, body),
        }


def _policy(networks: list[str]) -> Policy:
    try:
        return Policy(allowed_networks=tuple(networks), allowed_ports=_ALL_PORTS, allow_userinfo=True)  # type: ignore[arg-type]  # it reads text as well
    except ValueError as error:
        raise SettingsError(f"callback_allowed_networks cannot be used: {error}.") from error


async def _forget_where_it_leads(answer: httpx.Response) -> None:
    """Keep httpx from reading a redirect's target: one that it cannot read would count as no answer."""
    answer.headers.pop("location", None)


async def _read_some(answer: httpx.Response) -> None:
    """Let the listener finish a short answer; of a long one no more is heard."""
    size = 0
    async for piece in answer.aiter_raw():
        size += len(piece)
        if size > ANSWER_MAX_BYTES:
            return


@contextmanager
def _failures_told() -> Iterator[None]:
    """Map what the guard, httpx and the name look-up raise to our tree, without a word of the URL."""
    try:
        yield
    except (BlockedAddressError, BlockedURLError) as error:
        place = f"{error.address}: " if isinstance(error, BlockedAddressError) else ""
        raise CallbackRefused(f"{place}{error.reason}") from error
    except (SSRFGuardError, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise CallbackRefused(f"{type(error).__name__}") from error
    except TimeoutError as error:
        raise CallbackUnanswered("it took too long") from error
    except (httpx.TransportError, OSError) as error:
        raise CallbackUnanswered(f"{type(error).__name__}: {error}".rstrip(": ")) from error
