from __future__ import annotations

from typing import Any

import pytest
from pydantic import SecretStr

from dispatcher.accounts import Accounts
from dispatcher.connection import AsyncStore, Store
from dispatcher.errors import AccountConflict, AccountNotFound, RequestInvalid, SecretError
from dispatcher.jobs import Jobs
from dispatcher.options import Options
from dispatcher.plan import carry_out, carry_out_async
from dispatcher.requests import CreateSingle
from dispatcher.secrets import SecretKeys
from dispatcher.settings import Settings
from tests.support.api import CHANNEL, OTHER_CHANNEL, SERVER, discord_token, new_key_text


def put(store: Store, accounts: Accounts, channel: str = CHANNEL, **changes: Any) -> str:
    """Register an account of user 1 and return the version of its secret."""
    given: dict[str, Any] = {
        "user": 1,
        "server": SERVER,
        "secret": SecretStr(discord_token()),
        "max_jobs": 3,
        **changes,
    }
    return store.do(accounts.put(channel=channel, **given))


def submit(store: Store, settings: Settings, number: int = 1, *, channel: str | None = None) -> list[str]:
    """Accept jobs of user 1 and return their ids."""
    jobs = Jobs(settings)
    requests = [CreateSingle(prompt=f"job {index}", style="Anime") for index in range(number)]
    return [store.do(jobs.submit(request, Options(channel=channel))).id for request in requests]


def handed_over(store: Store) -> int:
    """Count the deliveries in RQ's queue."""
    return int(store.client.llen(store.keys.of("rq", "queue", "pixverse")))


def test_a_registered_account_reads_back_with_its_secret_sealed_and_masked(store: Store, accounts: Accounts) -> None:
    put(store, accounts)

    account = store.do(accounts.get(user=1, channel=CHANNEL))

    assert (account.user, account.channel, account.server, account.max_jobs) == (1, CHANNEL, SERVER, 3)
    assert account.state == "active"
    assert account.masked == f"MTE…secured…{discord_token()[-3:]}"
    assert accounts.open_secret(account).get_secret_value() == discord_token()


def test_no_key_in_redis_holds_a_secret_in_the_clear(store: Store, accounts: Accounts) -> None:
    put(store, accounts)

    hashes = [key for key in store.client.scan_iter(f"{store.keys.namespace}:*") if store.client.type(key) == "hash"]
    assert store.keys.account("1:discord", CHANNEL) in hashes
    assert discord_token() not in repr([store.client.hgetall(key) for key in hashes])


def test_an_account_copied_to_another_channel_does_not_open(store: Store, accounts: Accounts) -> None:
    put(store, accounts)
    account = store.do(accounts.get(user=1, channel=CHANNEL))

    for stolen in (account.model_copy(update={"channel": OTHER_CHANNEL}), account.model_copy(update={"user": 2})):
        with pytest.raises(SecretError, match="does not open"):
            accounts.open_secret(stolen)


def test_posting_again_updates_and_keeps_the_version_of_an_unchanged_secret(store: Store, accounts: Accounts) -> None:
    first = put(store, accounts)

    second = put(store, accounts, max_jobs=5, server="99")

    account = store.do(accounts.get(user=1, channel=CHANNEL))
    assert second == first == account.secret_version
    assert (account.max_jobs, account.server) == (5, "99")
    assert accounts.open_secret(account).get_secret_value() == discord_token()


def test_a_new_secret_has_a_new_version_and_frees_the_old_one(store: Store, accounts: Accounts) -> None:
    first = put(store, accounts)

    second = put(store, accounts, secret=SecretStr(discord_token("B")))
    put(store, accounts, OTHER_CHANNEL)

    account = store.do(accounts.get(user=1, channel=CHANNEL))
    assert second != first
    assert accounts.open_secret(account).get_secret_value() == discord_token("B")


def test_the_secret_of_another_channel_is_refused_by_the_channel_that_has_it(store: Store, accounts: Accounts) -> None:
    put(store, accounts)

    with pytest.raises(AccountConflict) as raised:
        put(store, accounts, OTHER_CHANNEL)

    assert str(raised.value) == f"Channel {CHANNEL} configuration has same discord value"


def test_the_secret_of_another_user_is_refused_without_telling_where_it_is(store: Store, accounts: Accounts) -> None:
    put(store, accounts, user=2)

    with pytest.raises(AccountConflict) as raised:
        put(store, accounts, OTHER_CHANNEL)

    assert str(raised.value) == "Configuration of another user has same discord value"


def test_a_channel_belongs_to_one_user(store: Store, accounts: Accounts) -> None:
    put(store, accounts, user=2)

    with pytest.raises(AccountConflict) as raised:
        put(store, accounts, secret=SecretStr(discord_token("B")))

    assert str(raised.value) == f"Channel {CHANNEL} is registered by another user"


def test_the_duplicate_check_survives_a_new_key(store: Store, settings: Settings) -> None:
    old, new = new_key_text("k1"), new_key_text("k2")
    put(store, Accounts(settings, SecretKeys.parse(old)))

    with pytest.raises(AccountConflict):
        put(store, Accounts(settings, SecretKeys.parse(f"{new},{old}")), OTHER_CHANNEL)


def test_posting_again_under_a_new_key_moves_the_secret_to_it(store: Store, settings: Settings) -> None:
    old, new = new_key_text("k1"), new_key_text("k2")
    put(store, Accounts(settings, SecretKeys.parse(old)))
    put(store, Accounts(settings, SecretKeys.parse(f"{new},{old}")))

    retired = Accounts(settings, SecretKeys.parse(new))

    account = store.do(retired.get(user=1, channel=CHANNEL))
    assert retired.open_secret(account).get_secret_value() == discord_token()
    put(store, retired)
    with pytest.raises(AccountConflict):
        put(store, retired, OTHER_CHANNEL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"secret": SecretStr("")}, "Required param discord is missing or empty"),
        ({"server": " "}, "Required param server is missing or empty"),
        ({"max_jobs": 0}, "Required param maxJobs is missing or empty"),
        ({"max_jobs": 11}, "Required param maxJobs 11 can't be more that 10"),
        ({"channel": "123"}, "Required param channel (123) is not valid Discord channel id"),
    ],
)
def test_put_keeps_the_rules_for_every_caller(
    store: Store, accounts: Accounts, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestInvalid) as raised:
        put(store, accounts, **changes)

    assert str(raised.value) == message


def test_a_list_has_the_users_own_accounts_by_channel_with_used_slots(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, OTHER_CHANNEL, secret=SecretStr(discord_token("B")), max_jobs=1)
    put(store, accounts, max_jobs=1)
    put(store, accounts, "1300000000000000000", user=2, secret=SecretStr(discord_token("C")))
    submit(store, settings, 2)

    listed = carry_out(store, accounts.list(user=1))

    assert [(account.channel, account.used) for account in listed] == [(CHANNEL, 1), (OTHER_CHANNEL, 1)]
    assert carry_out(store, accounts.show(user=1, channel=CHANNEL)) == listed[0]


async def test_plans_are_the_same_for_asyncio(store: Store, async_store: AsyncStore, accounts: Accounts) -> None:
    put(store, accounts)

    assert await carry_out_async(async_store, accounts.list(user=1)) == carry_out(store, accounts.list(user=1))
    await carry_out_async(async_store, accounts.remove(user=1, channel=CHANNEL))
    with pytest.raises(AccountNotFound):
        await carry_out_async(async_store, accounts.remove(user=1, channel=CHANNEL))
    assert await carry_out_async(async_store, accounts.list(user=1)) == []


def test_another_users_account_is_not_found(store: Store, accounts: Accounts) -> None:
    put(store, accounts, user=2)

    with pytest.raises(AccountNotFound):
        store.do(accounts.get(user=1, channel=CHANNEL))
    with pytest.raises(AccountNotFound):
        carry_out(store, accounts.remove(user=1, channel=CHANNEL))
    for stop in (accounts.pause, accounts.resume):
        with pytest.raises(AccountNotFound):
            store.do(stop(user=1, channel=CHANNEL))


def test_raising_max_jobs_grants_waiting_jobs_in_the_same_step(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, max_jobs=1)
    submit(store, settings, 5)
    before = handed_over(store)

    put(store, accounts, max_jobs=4)

    assert (before, handed_over(store)) == (1, 4)
    assert store.do(accounts.used(user=1, channel=CHANNEL)) == 4


def test_lowering_max_jobs_drains(store: Store, settings: Settings, accounts: Accounts) -> None:
    put(store, accounts, max_jobs=3)
    jobs = submit(store, settings, 4)

    put(store, accounts, max_jobs=1)

    used = [store.do(accounts.used(user=1, channel=CHANNEL))]
    for job in jobs[:3]:  # each frees its slot at once: nothing was submitted yet
        store.do(Jobs(settings).cancel(job))
        used.append(store.do(accounts.used(user=1, channel=CHANNEL)))
    assert used == [3, 2, 1, 1]  # the last one ended, and the waiting job has its slot
    assert handed_over(store) == 4


def test_a_removed_account_is_unseen_at_once_while_its_slots_drain(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, max_jobs=2)
    first, second = submit(store, settings, 2)

    carry_out(store, accounts.remove(user=1, channel=CHANNEL))

    with pytest.raises(AccountNotFound):
        store.do(accounts.get(user=1, channel=CHANNEL))
    assert carry_out(store, accounts.list(user=1)) == []
    assert store.do(accounts.used(user=1, channel=CHANNEL)) == 2
    store.do(Jobs(settings).cancel(first))
    store.do(Jobs(settings).cancel(second))
    assert not store.client.exists(store.keys.account("1:discord", CHANNEL))
    put(store, accounts, user=2)


def test_a_channel_posted_again_while_it_drains_counts_its_old_jobs(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, max_jobs=2)
    submit(store, settings, 2)
    carry_out(store, accounts.remove(user=1, channel=CHANNEL))

    put(store, accounts, max_jobs=3)
    submit(store, settings, 2)

    assert store.do(accounts.used(user=1, channel=CHANNEL)) == 3
    assert handed_over(store) == 3


def test_the_secret_of_a_removed_account_is_free_for_another_channel(store: Store, accounts: Accounts) -> None:
    put(store, accounts)
    carry_out(store, accounts.remove(user=1, channel=CHANNEL))

    put(store, accounts, OTHER_CHANNEL)

    assert store.client.hlen(store.keys.of("secrets")) == 1


def test_removal_fails_every_job_pinned_to_the_account_however_many(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, max_jobs=1)
    submit(store, settings, 301, channel=CHANNEL)

    carry_out(store, accounts.remove(user=1, channel=CHANNEL))

    assert store.client.zcard(store.keys.of("jobs", "1", "failed")) == 300
    assert store.client.zcard(store.keys.of("pending", "1:discord", CHANNEL)) == 0


def test_a_paused_account_is_granted_nothing_until_it_resumes(
    store: Store, settings: Settings, accounts: Accounts
) -> None:
    put(store, accounts, max_jobs=2)
    assert store.do(accounts.pause(user=1, channel=CHANNEL)) == "active"
    submit(store, settings, 3)
    while_paused = handed_over(store)

    before = store.do(accounts.resume(user=1, channel=CHANNEL))

    assert (before, while_paused, handed_over(store)) == ("paused", 0, 2)


def test_a_disabled_account_shows_its_reason_and_a_new_secret_revives_it(store: Store, accounts: Accounts) -> None:
    put(store, accounts)
    store.do(accounts.disable(user=1, channel=CHANNEL, reason="401 from Discord"))
    put(store, accounts)
    stopped = store.do(accounts.get(user=1, channel=CHANNEL))

    put(store, accounts, secret=SecretStr(discord_token("B")))

    assert (stopped.state, stopped.reason) == ("disabled", "401 from Discord")
    assert store.do(accounts.get(user=1, channel=CHANNEL)).state == "active"
