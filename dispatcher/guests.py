"""Guests: jobs that come with a token of their own, and need no registered account."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dispatcher.keys import pool_of
from dispatcher.registration import read_registration
from dispatcher.requests import DISCORD, MAX_JOBS
from dispatcher.secrets import SecretKeys, mask, new_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A channel, and a Discord token that one job brings for it; the token is sealed as an account's is.

    ``max_jobs`` is how many jobs the channel may run at once for this one to begin; a registered account of the channel
    can only lower it.
    """

    user: int
    channel: str
    server: str
    sealed: str = field(repr=False)
    masked: str
    digest: str = field(repr=False)
    version: str
    max_jobs: int

    @classmethod
    def invite(
        cls, *, user: int, channel: Any, server: Any, discord: Any, max_jobs: Any = None, secret_keys: SecretKeys
    ) -> Guest:
        """Check what a caller gave, as it came, and seal the token.

        Args:
            user: whose job it will be; for no other can the token be opened.
            channel: where it takes the job; of a pressed button the other job's.
            server: the channel's.
            discord: the token.
            max_jobs: 1 to 10, or a text of that; None, or an empty text, is 10.
            secret_keys: seal the token.

        Raises:
            RequestInvalid: the first rule that fails, in the contract's words; no message shows the token.
        """
        most = MAX_JOBS if max_jobs in (None, "") else max_jobs
        given = {"discord": discord, "server": server, "channel": channel, "maxJobs": most}
        read = read_registration(given, channel=channel)
        version, pool = new_version(), pool_of(user, DISCORD)
        return cls(
            user=user,
            channel=read.channel,
            server=read.server,
            sealed=secret_keys.seal(read.secret, account=f"{pool}:{read.channel}", version=version),
            masked=mask(read.secret),
            digest=secret_keys.digest(read.secret),
            version=version,
            max_jobs=read.max_jobs,
        )

    def record_fields(self) -> list[str]:
        """Return the fields of the job's record, each before its value."""
        told = {"sealed": self.sealed, "masked": self.masked, "digest": self.digest, "version": self.version}
        return [part for name, value in {**told, "server": self.server}.items() for part in (f"own_{name}", value)]
