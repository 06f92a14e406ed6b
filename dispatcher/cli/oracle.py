"""`dispatcher up --simulator`: the simulator's oracle learns each account's limit, to judge us by it.

An account is declared as it is stored: a raised limit before, so that nothing is judged by the old one, and a lowered
one after. It goes over HTTP to 127.0.0.1, for the simulator shares nothing with what it judges.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, command, open_async_store
from dispatcher.errors import AccountNotFound
from dispatcher.log import get_logger
from dispatcher.models import Account
from dispatcher.plan import carry_out_async
from dispatcher.registration import Registration
from dispatcher.secrets import keys_for
from dispatcher.settings import Settings

ENDPOINT_VARIABLE = "DISPATCHER_SIMULATOR_URL"
"""Where the simulator listens: `up` tells its children so, and a compose file its services."""
TIMEOUT_S = 5.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Oracle:
    """The simulator that listens at ``url``."""

    url: str

    async def declare(self, *, channel: str, server: str, secret: SecretStr, max_jobs: int) -> None:
        """Tell it an account and its limit; one that does not listen just now is told again when it starts."""
        body = {"token": secret.get_secret_value(), "server": server, "channel": channel, "max_jobs": max_jobs}
        try:
            await asyncio.to_thread(self._post, body)
        except OSError as error:
            log.warning("simulator was not told of an account", channel=channel, reason=str(error))

    def _post(self, body: dict[str, object]) -> None:
        request = urllib.request.Request(  # noqa: S310 (http on this machine)
            f"{self.url}/sim/accounts", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 (as above)
            answer.read()

    @asynccontextmanager
    async def storing(
        self, store: AsyncStore, accounts: Accounts, user: int, given: Registration
    ) -> AsyncIterator[None]:
        """Declare an account around the block that stores it."""
        stored = await _stored(store, accounts, user, given.channel)
        owner = await store.do(command("HGET", store.keys.of("channels"), given.channel, read=_as_it_is))
        if stored is not None and given.max_jobs > stored.max_jobs:
            await self._declare_stored(accounts, stored.model_copy(update={"max_jobs": given.max_jobs}))
        elif owner is None:
            await self.declare(channel=given.channel, server=given.server, secret=given.secret, max_jobs=given.max_jobs)
        try:
            yield
        finally:
            in_force = await _stored(store, accounts, user, given.channel)
            if in_force is not None:
                await self._declare_stored(accounts, in_force)

    async def declare_all(self, settings: Settings) -> None:
        """Declare every account of the store."""
        store = open_async_store(str(settings.redis_url), settings.namespace)
        accounts = Accounts(settings, keys_for(settings))
        try:
            pools = await store.do(command("SMEMBERS", store.keys.of("pools"), read=sorted))
            for user in sorted({int(pool.partition(":")[0]) for pool in pools}):
                for account in await carry_out_async(store, accounts.list(user=user)):
                    await self._declare_stored(accounts, account)
        finally:
            await store.close()

    async def _declare_stored(self, accounts: Accounts, account: Account) -> None:
        await self.declare(
            channel=account.channel,
            server=account.server,
            secret=accounts.open_secret(account),
            max_jobs=account.max_jobs,
        )


def _as_it_is(reply: str | None) -> str | None:
    return reply


async def _stored(store: AsyncStore, accounts: Accounts, user: int, channel: str) -> Account | None:
    try:
        return await store.do(accounts.get(user=user, channel=channel))
    except AccountNotFound:
        return None
