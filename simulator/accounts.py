"""The logins that somebody declared: who may use which channel of which server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulator.snowflake import derived_id


@dataclass(frozen=True, slots=True)
class Account:
    """A declared login: a Discord token that takes jobs in one channel of one server."""

    token: str
    server_id: str
    channel_id: str


class Accounts:
    """Declared accounts by channel; declaring a channel again replaces its token and server."""

    def __init__(self) -> None:
        self._by_channel: dict[str, Account] = {}
        self._tokens: frozenset[str] = frozenset()

    def declare(self, account: Account) -> None:
        """Make an account known."""
        self._by_channel[account.channel_id] = account
        self._tokens = frozenset(known.token for known in self._by_channel.values())

    def forget(self) -> None:
        """Forget all accounts."""
        self._by_channel.clear()
        self._tokens = frozenset()

    def knows_token(self, token: str) -> bool:
        """Say whether an account was declared with this token."""
        return token in self._tokens

    def of_channel(self, channel_id: str) -> Account | None:
        """Return the account of a channel, or None."""
        return self._by_channel.get(channel_id)

    def server_of(self, channel_id: str) -> str:
        """Return the declared server of a channel, or one made up from its id."""
        account = self._by_channel.get(channel_id)
        return account.server_id if account else derived_id(f"server:{channel_id}")


@lru_cache(maxsize=4096)
def user_id_of(token: str) -> str:
    """Return the id of the user behind a token: any string is somebody's token, always the same somebody's."""
    return derived_id(f"user:{token}")


def user_json(user_id: str) -> dict[str, Any]:
    """Describe a user as messages do (the official ``UserResponse``)."""
    return {
        "id": user_id,
        "username": f"player{user_id[-6:]}",
        "avatar": None,
        "discriminator": "0",
        "public_flags": 0,
        "flags": 0,
        "banner": None,
        "accent_color": None,
        "global_name": f"Player {user_id[-6:]}",
        "avatar_decoration_data": None,
        "collectibles": None,
        "primary_guild": None,
    }
