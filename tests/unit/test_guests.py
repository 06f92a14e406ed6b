"""Guests: what a caller must give, and what becomes of the token."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.accounts import Accounts
from dispatcher.errors import RequestInvalid
from dispatcher.guests import Guest
from dispatcher.jobs import Jobs
from dispatcher.models import Account
from dispatcher.options import Options
from dispatcher.replies import table
from dispatcher.requests import CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings

KEYS = SecretKeys({"k1": bytes(32)})
CHANNEL = "333333333333333333"
TOKEN = "token-of-a-guest-who-is-here"


def invite(**changes: Any) -> Guest:
    given = {"user": 7, "channel": CHANNEL, "server": "1", "discord": TOKEN, "secret_keys": KEYS}
    return Guest.invite(**{**given, **changes})


def submitted(guest: Guest, **request: Any) -> tuple[Any, ...]:
    """The arguments of the script, from the namespace on."""
    jobs = Jobs(Settings(redis_url="redis://localhost"))
    return jobs.submit(CreateSingle(prompt="a cat", style="Realistic", **request), Options(user=7, guest=guest)).args


def test_the_token_is_opened_as_an_accounts_is() -> None:
    guest = invite()
    settings = Settings(redis_url="redis://localhost")
    account = Account(
        user=7,
        channel=guest.channel,
        server=guest.server,
        max_jobs=10,
        state="active",
        sealed=guest.sealed,
        masked=guest.masked,
        secret_version=guest.version,
    )

    assert Accounts(settings, KEYS).open_secret(account).get_secret_value() == TOKEN
    assert guest.masked == "tok…secured…ere"


def test_nothing_that_shows_a_guest_shows_its_token() -> None:
    assert TOKEN not in repr(invite())
    assert TOKEN not in str(submitted(invite()))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"discord": ""}, "Required param discord is missing or empty"),
        ({"server": None}, "Required param server is missing or empty"),
        ({"channel": ""}, "Required param channel is missing or empty"),
        ({"channel": "7"}, "Required param channel (7) is not valid Discord channel id"),
        ({"max_jobs": 11}, "Required param maxJobs 11 can't be more that 10"),
        ({"max_jobs": 0}, "Required param maxJobs is missing or empty"),
    ],
)
def test_what_is_missing_is_told_in_the_contracts_words(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestInvalid) as raised:
        invite(**changes)

    assert str(raised.value) == told


@pytest.mark.parametrize(("given", "limit"), [(None, 10), ("", 10), (3, 3), ("4", 4)])
def test_the_guests_limit_is_the_jobs(given: Any, limit: int) -> None:
    assert submitted(invite(max_jobs=given))[9] == limit


def test_a_requests_smaller_limit_is_the_jobs() -> None:
    assert submitted(invite(max_jobs=3), maxJobs=2)[9] == 2
    assert submitted(invite(max_jobs=3), maxJobs=5)[9] == 3


def test_a_guests_job_is_pinned_to_its_channel() -> None:
    assert Options(user=7, guest=invite()).channel == CHANNEL
    assert Options(user=7, guest=invite(), channel=CHANNEL).channel == CHANNEL


def test_a_guest_with_another_channel_or_of_another_user_is_refused() -> None:
    with pytest.raises(RequestInvalid, match="is not the guest's"):
        Options(user=7, guest=invite(), channel="444444444444444444")
    with pytest.raises(RequestInvalid, match="another user"):
        Options(user=8, guest=invite())


def test_with_another_token_it_is_another_request() -> None:
    one, same, other = submitted(invite()), submitted(invite()), submitted(invite(discord="another-token-of-a-guest"))

    assert one[13] == same[13]
    assert one[13] != other[13]


def test_the_record_holds_what_a_worker_needs() -> None:
    guest = invite()

    told = table([str(part) for part in submitted(guest)[16:]])

    assert told["own_sealed"] == guest.sealed
    assert (told["own_masked"], told["own_server"]) == (guest.masked, "1")
    assert (told["own_digest"], told["own_version"]) == (guest.digest, guest.version)
