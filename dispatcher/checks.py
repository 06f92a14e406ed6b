"""Checks of accounts: a worker asks the upstream whether an account could work, without submitting anything.

An account that we disabled for a reason that a check can judge comes back by itself; see ``lua/_checks.lua``. Where an
upstream tells an account's balance, its check is the place to read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from dispatcher.connection import Call, command
from dispatcher.errors import AccountNotFound, AccountRejected, StoreReplyError
from dispatcher.handoff import subject_of
from dispatcher.keys import Keys, pool_of
from dispatcher.models import Revive
from dispatcher.replies import entropy, hash_of
from dispatcher.requests import DISCORD
from dispatcher.settings import Settings

Finding = Literal["ok", "rejected", "unclear"]
"""It could work; the upstream refuses it; nothing was learned about it."""

JOIN_MS = 30_000
"""A check that was asked for less long ago, and has no answer yet, is joined rather than repeated."""
KNOWN_S = 600
"""How long a check and its answer are kept."""
BATCH = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found. ``state`` is the account's after it."""

    finding: Finding
    reason: str
    state: str


def channel_of(check_id: str) -> str:
    """Read the channel out of a check's id, ``check-<channel>-<token>``.

    Raises:
        ValueError: it is not one of ours.
    """
    return subject_of(check_id, prefix="check-", noun="check")


class Checks:
    """The checks of one store; of one upstream's accounts, where they are asked for by name."""

    def __init__(self, settings: Settings, upstream: str = DISCORD) -> None:
        self.upstream = upstream
        self.keys = Keys(settings.namespace)
        self.ttl_ms = int(settings.lease_ttl_s * 1000)

    def ask(self, *, user: int, channel: str) -> Call[str]:
        """Have a worker check an account; returns the check's id.

        Raises (when the reply is read):
            AccountNotFound: this user has no account on the channel.
        """

        def read(reply: Any) -> str:
            match reply:
                case ["ok", str(check_id)]:
                    return check_id
                case ["missing"]:
                    raise AccountNotFound(channel)
                case _:
                    raise StoreReplyError("account_check", reply)

        return Call("account_check", (pool_of(user, self.upstream), channel, JOIN_MS, KNOWN_S, BATCH), read)

    def ask_due(self) -> Call[list[str]]:
        """Have workers check the disabled accounts whose time has come, 64 at most; returns the checks' ids."""

        def read(reply: Any) -> list[str]:
            match reply:
                case ["ok", *check_ids]:
                    return [str(check_id) for check_id in check_ids]
                case _:
                    raise StoreReplyError("account_check", reply)

        return Call("account_check", ("", "", JOIN_MS, KNOWN_S, BATCH), read)

    def answer(self, check_id: str, *, user: int, channel: str) -> Call[Checked | None]:
        """Read what a check found; None while it has no answer, or a later one took its place."""

        def read(reply: Any) -> Checked | None:
            told = hash_of(reply)
            finding = told.get("verdict")
            if told.get("id") != check_id or finding not in get_args(Finding):
                return None
            return Checked(finding, told["reason"], told["state"])  # type: ignore[arg-type]  # as just looked up

        return command("HGETALL", self.keys.of("check", pool_of(user, self.upstream), channel), read=read)

    def pool(self, channel: str) -> Call[str | None]:
        """Read which pool a channel belongs to; None if it is registered no more."""
        return command("HGET", self.keys.of("channels"), channel, read=lambda reply: reply)

    def tell(
        self, check_id: str, finding: Finding, reason: str, *, pool: str, secret_version: str, revive: Revive
    ) -> Call[str]:
        """Record what a check of that version of the secret found, and let the account follow.

        Returns:
            The state of the account now; 'missing' if it was removed.
        """
        channel = channel_of(check_id)
        args = (entropy(), self.ttl_ms, pool, channel, check_id, secret_version, finding, reason, revive)
        return Call("account_checked", args, _state)

    def reject(self, refusal: AccountRejected, *, pool: str, channel: str, secret_version: str) -> Call[str]:
        """Stop an account whose secret of that version the upstream refused, beside any job and any check.

        Returns:
            The state of the account now, unchanged where another secret is in force; 'missing' if it was removed.
        """
        revive: Revive = "operator" if refusal.needs_operator else "check"
        args = (entropy(), self.ttl_ms, pool, channel, "", secret_version, "rejected", refusal.reason, revive)
        return Call("account_checked", args, _state)


def _state(reply: Any) -> str:
    match reply:
        case ["ok", str(state)]:
            return state
        case ["missing"]:
            return "missing"
        case _:
            raise StoreReplyError("account_checked", reply)
