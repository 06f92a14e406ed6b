"""The key schema, as data: every key in Redis, its type, and whether it must have a time to live.

All keys share one hash tag (setting ``namespace``), so that every script may touch any of them on a cluster too.
``docs/redis-schema.md`` tells what each means; after each test on Redis every key must match a row here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

KeyType = Literal["hash", "set", "zset", "string", "stream", "list"]
Life = Literal["kept", "ttl", "ttl_when_final"]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One row of the schema: ``pattern`` follows the namespace; ``<name>`` stands for one id."""

    pattern: str
    type: KeyType
    life: Life
    meaning: str

    def matches(self, key: str) -> bool:
        """Say whether the key, without its namespace, is of this row."""
        # A caller's own key may be any text.
        pattern = self.pattern.replace("<pool>", r"\d+:\w+").replace("<key>", "(?s:.+)")
        return re.fullmatch(re.sub(r"<\w+>", r"[^:]+", pattern), key) is not None


SCHEMA: tuple[KeyRule, ...] = (
    KeyRule("job:<job>", "hash", "ttl_when_final", "the durable record of a job"),
    KeyRule("jobs:<user>", "zset", "kept", "all jobs of a user, by creation ms"),
    KeyRule("jobs:<user>:<status>", "zset", "kept", "jobs of a user in one status, by creation ms"),
    KeyRule("pending:<pool>", "zset", "kept", "jobs waiting for any account, by priority and sequence"),
    KeyRule("pending:<pool>:<channel>", "zset", "kept", "jobs waiting for that account"),
    KeyRule("pools", "set", "kept", "pools that ever had an account or a job"),
    KeyRule("accounts:<pool>", "set", "kept", "channels of the pool"),
    KeyRule("guests:<pool>", "set", "kept", "channels of the pool that guests visit, without an account"),
    KeyRule("account:<pool>:<channel>", "hash", "kept", "one account: server, sealed secret, max_jobs, state"),
    KeyRule("channels", "hash", "kept", "channel to the pool that owns it"),
    KeyRule("secrets", "hash", "kept", "HMAC of a secret to the channel that holds it"),
    KeyRule("slots:<pool>:<channel>", "zset", "kept", "the slot counter: jobs that hold a slot, by grant ms"),
    KeyRule("free:<pool>", "zset", "kept", "channels with room, by used slots"),
    KeyRule("submitting:<pool>:<channel>", "zset", "kept", "jobs submitted and not yet answered, by submission ms"),
    KeyRule("lease:<job>", "hash", "kept", "a job's claim to a slot"),
    KeyRule("expiry", "zset", "kept", "leases by soft expiry ms"),
    KeyRule("deadlines", "zset", "kept", "jobs by the next instant at which their time is up"),
    KeyRule("suspected:<pool>", "zset", "kept", "accounts that cool by suspicion, by the ms at which they return"),
    KeyRule("orphaned", "set", "kept", "deleted accounts (<pool>:<channel>) whose pinned jobs are not all ended yet"),
    KeyRule("checks", "zset", "kept", "disabled accounts by the ms of their next check"),
    KeyRule("check:<pool>:<channel>", "hash", "ttl", "the last check of an account: asked, verdict"),
    KeyRule("links:<job>", "hash", "ttl", "the last refresh of the links to a job's files: asked, verdict, links"),
    KeyRule(
        "callbacks", "zset", "kept", "the outbox: jobs whose reply_url is to be called, by the ms of the next attempt"
    ),
    KeyRule("callbacks_dead", "zset", "kept", "jobs whose callback was given up, by the ms at which it was"),
    KeyRule("callback:<job>", "hash", "ttl", "the callback of a job that waits or was given up: id, attempts, error"),
    KeyRule("due", "zset", "kept", "cooling accounts by the ms at which they return"),
    KeyRule("fence", "string", "kept", "the last fencing token"),
    KeyRule("epoch", "string", "kept", "identity of the server that wrote last"),
    KeyRule("learning", "string", "ttl", "nothing is granted while it lives; why"),
    KeyRule("learning_ms", "string", "kept", "how long that lasts"),
    KeyRule("clean", "string", "kept", "the last server was stopped with no lease out"),
    KeyRule("sequence", "string", "kept", "the last sequence number of a submission"),
    KeyRule("events", "stream", "kept", "hints for waiters, trimmed"),
    KeyRule("claimed:<pool>:<remote>", "string", "ttl", "which job an upstream's id belongs to"),
    KeyRule("idempotency:<user>:<key>", "string", "ttl", "idempotency key to job and request digest"),
    KeyRule("users", "hash", "kept", "user number to name and creation"),
    KeyRule("profile:<user>", "hash", "kept", "what a user says of itself: name, reply_url"),
    KeyRule("tokens", "hash", "kept", "id of an API token to its digest, user and creation"),
    KeyRule("identity:<digest>", "string", "ttl", "which upstream user a secret logs in as"),
    KeyRule("blocked:<upstream>:<digest>", "string", "ttl", "no call with the secret: until ms, why"),
    KeyRule("blocked:<upstream>:<digest>:<route>:<major>", "string", "ttl", "no call of the route: until ms, why"),
    KeyRule("shut:<upstream>:<egress>", "string", "ttl", "no call from the address: until ms, why"),
    KeyRule("pace:<upstream>:<egress>", "string", "ttl", "until which us the calls of an address are paid for"),
    KeyRule("pace:<upstream>:<digest>:<route>:<major>", "string", "ttl", "as before, of a route with a secret"),
    KeyRule("bucket_of:<upstream>:<digest>:<route>", "string", "ttl", "the bucket that a route counts in"),
    KeyRule("bucket:<upstream>:<digest>:<bucket>:<major>", "hash", "ttl", "calls left in a bucket, and until when"),
    KeyRule("invalid:<upstream>:<egress>", "zset", "ttl", "refused calls of an address in the last ten minutes, by ms"),
    KeyRule("look:<digest>:<channel>", "hash", "ttl", "who reads a channel now, and what the last list showed"),
    KeyRule("look_needs:<digest>:<channel>", "hash", "ttl", "worker to the message from which on it needs all"),
    KeyRule("look_messages:<digest>:<channel>", "hash", "ttl", "the bots' messages of the last list"),
    KeyRule("took:<pool>:<command>", "list", "ttl", "how long the latest jobs took, in ms"),
    KeyRule("session:<digest>", "hash", "ttl", "who keeps a token's gateway session: owner, number; or closed"),
    KeyRule("fate:<digest>:<interaction>", "hash", "ttl", "what a token's session told of an interaction"),
    KeyRule("nonce:<digest>:<nonce>", "string", "ttl", "which interaction was told under a nonce"),
    KeyRule("schema", "string", "kept", "version of this schema"),
)


def rule_for(key: str, namespace: str) -> KeyRule | None:
    """Return the schema's row for a full key; None if it has none (RQ's own keys are not ours to list)."""
    bare = key.removeprefix(f"{namespace}:")
    return next((rule for rule in SCHEMA if rule.matches(bare)), None)


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names for Python's reads; transitions build theirs in ``lua/_base.lua``."""

    namespace: str

    def of(self, *parts: str) -> str:
        """Join the parts under the namespace."""
        return ":".join((self.namespace, *parts))

    def job(self, job_id: str) -> str:
        """Key of a job's record."""
        return self.of("job", job_id)

    def lease(self, job_id: str) -> str:
        """Key of a job's lease."""
        return self.of("lease", job_id)

    def account(self, pool: str, channel: str) -> str:
        """Key of an account."""
        return self.of("account", pool, channel)


def pool_of(user: int, upstream: str) -> str:
    """Name the pool: the accounts of one user for one upstream kind."""
    return f"{user}:{upstream}"
