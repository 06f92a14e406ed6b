"""Accounts in Redis: register, read, list, stop, remove; and the one place where their secrets are opened.

A change is live: the script that stores it also grants from it, and the next submission reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from dispatcher.connection import Call, command
from dispatcher.errors import AccountConflict, AccountNotFound, StoreReplyError
from dispatcher.keys import Keys, pool_of
from dispatcher.models import Account, AccountState
from dispatcher.plan import Plan
from dispatcher.registration import read_named, read_registration
from dispatcher.replies import entropy, hash_of, milliseconds
from dispatcher.requests import DISCORD, checked_name
from dispatcher.secrets import SecretKeys, mask, new_version
from dispatcher.settings import Settings

_NOW = command("TIME", read=milliseconds)


class Accounts:
    """The accounts of one upstream in one store.

    Args:
        settings: name the store's keys and times.
        secret_keys: seal and open secrets.
        upstream: whose accounts; an entry point's name in ``dispatcher.upstreams``.

    Raises:
        RequestInvalid: no upstream can be called that.
    """

    def __init__(self, settings: Settings, secret_keys: SecretKeys, upstream: str = DISCORD) -> None:
        self.settings = settings
        self.upstream = checked_name("upstream", upstream)
        self.keys = Keys(settings.namespace)
        self.secret_keys = secret_keys
        self.ttl_ms = int(settings.lease_ttl_s * 1000)
        self.keep_s = int(settings.jobs_keep_days * 86_400)

    def put(
        self,
        *,
        user: int,
        channel: str,
        server: str = "",
        secret: SecretStr,
        max_jobs: int,
        daily_cap: int | None = None,
    ) -> Call[str]:
        """Create or update an account; waiting jobs are granted its slots in the same step.

        Args:
            user: whose account.
            channel: where it takes jobs; of another upstream than Discord, the account's name, unique over the store.
            server: the channel's server; only Discord's have one.
            secret: the upstream's token.
            max_jobs: how many jobs at once.
            daily_cap: its own number of submissions a UTC day, 0 for no cap; None leaves it as it is.

        Returns:
            The version of the secret now in force; it changes when the secret does.

        Raises:
            RequestInvalid: a value is not acceptable, in the contract's words.
            AccountConflict (when the reply is read): the channel is another user's, or another channel has the secret.
        """
        noun = "discord" if self.upstream == DISCORD else "secret"
        given = {noun: secret.get_secret_value(), "server": server, "channel": channel, "maxJobs": max_jobs}
        account = (read_registration if self.upstream == DISCORD else read_named)(given, channel=channel)
        pool = self._pool(user)
        version = new_version()
        args = (
            entropy(),
            self.ttl_ms,
            user,
            pool,
            account.channel,
            account.server,
            self.secret_keys.seal(account.secret, account=f"{pool}:{channel}", version=version),
            mask(account.secret),
            self.secret_keys.digest(account.secret),
            account.max_jobs,
            version,
            "" if daily_cap is None else daily_cap,
        )

        def read(reply: Any) -> str:
            match reply:
                case ["created" | "updated", str(in_force)]:
                    return in_force
                case ["foreign"]:
                    raise AccountConflict(f"Channel {channel} is registered by another user")
                case ["duplicate", str(holder), str(its_pool)] if its_pool == pool:
                    raise AccountConflict(f"Channel {holder} configuration has same {noun} value")
                case ["duplicate", _, _]:
                    raise AccountConflict(f"Configuration of another user has same {noun} value")
                case _:
                    raise StoreReplyError("account_put", reply)

        return Call("account_put", args, read)

    def get(self, *, user: int, channel: str) -> Call[Account]:
        """Read one account.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """

        def read(reply: Any) -> Account:
            account = read_living_account(reply)
            if account is None:
                raise AccountNotFound(channel)
            return account

        return command("HGETALL", self.keys.account(self._pool(user), channel), read=read)

    def used(self, *, user: int, channel: str) -> Call[int]:
        """Count the slots held on the channel, those of a deleted account that drains included."""
        return command("ZCARD", self.keys.of("slots", self._pool(user), channel), read=int)

    def show(self, *, user: int, channel: str) -> Plan[Account]:
        """Read one account with the slots it uses.

        Raises:
            AccountNotFound: this user has no account on the channel.
        """
        account, used, now_ms = yield [
            self.get(user=user, channel=channel),
            self.used(user=user, channel=channel),
            _NOW,
        ]
        shown: Account = account.shown_at(now_ms, used=used)
        return shown

    def list(self, *, user: int) -> Plan[Sequence[Account]]:
        """Read all accounts of a user with the slots they use, by channel."""
        pool = self._pool(user)
        (channels,) = yield [command("SMEMBERS", self.keys.of("accounts", pool), read=sorted)]
        accounts = yield [
            command("HGETALL", self.keys.account(pool, channel), read=read_living_account) for channel in channels
        ]
        now_ms, *used = yield [_NOW, *(self.used(user=user, channel=channel) for channel in channels)]
        return [
            account.shown_at(now_ms, used=count)
            for account, count in zip(accounts, used, strict=True)
            if account is not None  # removed since its channel was read
        ]

    def remove(self, *, user: int, channel: str) -> Plan[None]:
        """Remove an account: unseen at once, running jobs drain, waiting ones pinned to it fail.

        Raises:
            AccountNotFound: this user has no account on the channel.
        """
        first = True
        while True:
            (verdict,) = yield [self._remove_once(self._pool(user), channel)]
            if verdict == "missing" and first:
                raise AccountNotFound(channel)
            if verdict != "more":
                return
            first = False

    def _remove_once(self, pool: str, channel: str) -> Call[str]:
        def read(reply: Any) -> str:
            match reply:
                case ["ok", "0"]:
                    return "done"
                case ["ok", "1"]:
                    return "more"
                case ["missing"]:
                    return "missing"
                case _:
                    raise StoreReplyError("account_remove", reply)

        return Call("account_remove", (self.keep_s, pool, channel), read)

    def pause(self, *, user: int, channel: str, reason: str = "paused by its owner") -> Call[AccountState]:
        """Submit nothing more on the account until :meth:`resume`; what is submitted goes on. Returns the state before.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """
        return self._state(user, channel, "paused", reason)

    def drain(self, *, user: int, channel: str, reason: str = "drained by its owner") -> Call[AccountState]:
        """Grant nothing more; what holds a slot is still submitted and ends, then the account is paused.

        Returns the state before.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """
        return self._state(user, channel, "draining", reason)

    def resume(self, *, user: int, channel: str) -> Call[AccountState]:
        """Make the account active again and grant from it in the same step. Returns the state before.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """
        return self._state(user, channel, "active", "")

    def disable(self, *, user: int, channel: str, reason: str) -> Call[AccountState]:
        """Stop the account with the reason that its owner reads; a new secret or :meth:`resume` revives it.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """
        return self._state(user, channel, "disabled", reason)

    def _state(self, user: int, channel: str, state: AccountState, reason: str) -> Call[AccountState]:
        args = (entropy(), self.ttl_ms, self._pool(user), channel, state, reason)

        def read(reply: Any) -> AccountState:
            match reply:
                case ["ok", "active" | "paused" | "draining" | "disabled" as before]:
                    return before  # type: ignore[no-any-return]  # one of those just matched
                case ["missing"]:
                    raise AccountNotFound(channel)
                case _:
                    raise StoreReplyError("account_state", reply)

        return Call("account_state", args, read)

    def _pool(self, user: int) -> str:
        return pool_of(user, self.upstream)

    def open_secret(self, account: Account, *, upstream: str | None = None) -> SecretStr:
        """Open the secret of an account as a claim or a permit gave it, a guest's own included.

        Of another upstream than this one's, where one is named.

        Raises:
            SecretError: it was sealed under a key that is not configured, or for another account or version.
        """
        name = f"{pool_of(account.user, upstream or self.upstream)}:{account.channel}"
        return self.secret_keys.open(account.sealed, account=name, version=account.secret_version)


def read_account(reply: Any) -> Account | None:
    """Read an account's hash; None if there is none. One that was deleted and only drains is read, too."""
    stored = hash_of(reply)
    return Account.model_validate(stored) if stored else None


def read_living_account(reply: Any) -> Account | None:
    """Read an account's hash; None if there is none, it was deleted and only drains, or guests visit its channel."""
    account = read_account(reply)
    return account if account and account.state != "deleted" and not account.visit else None
