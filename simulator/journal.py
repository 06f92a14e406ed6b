"""What gateway sessions hear: every change of a message, and what became of each interaction."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Any

from simulator import messages
from simulator.accounts import user_id_of

if TYPE_CHECKING:
    from simulator.accounts import Accounts
    from simulator.cdn import Cdn
    from simulator.channels import Change, Message
    from simulator.job import Job
    from simulator.sessions import Sessions
    from simulator.snowflake import Snowflakes

_ASKED_MAX = 100_000
ANSWER_TIME_S = 3.0
"""A bot that has not answered an interaction by then has failed it."""
_TIMED_OUT = 2


class Journal:
    """Tells sessions what happens in the channels that their users can see.

    A user sees a channel if an account of the user's was declared for it, or once the user has sent a command there.
    """

    def __init__(self, sessions: Sessions, accounts: Accounts, cdn: Cdn, snowflakes: Snowflakes) -> None:
        self._sessions = sessions
        self._accounts = accounts
        self._cdn = cdn
        self._snowflakes = snowflakes
        self._members: defaultdict[str, set[str]] = defaultdict(set)
        self._nonces: OrderedDict[str, tuple[str, str | None]] = OrderedDict()
        self._changes: dict[Message, Change] = {}
        self._deferred: dict[Job, str] = {}

    def begin(self, job: Job, *, opens_modal: bool) -> None:
        """An interaction was delivered to the bot."""
        user_id = job.user["id"]
        self._members[job.channel_id].add(user_id)
        while len(self._nonces) >= _ASKED_MAX:
            self._nonces.popitem(last=False)
        self._nonces[job.interaction_id] = (user_id, job.nonce)
        self._tell_user(job, "INTERACTION_CREATE", {})
        if opens_modal:
            self._tell_user(job, "INTERACTION_MODAL_CREATE", messages.modal_json(job))

    def defer_unseen(self, job: Job) -> None:
        """The bot thinks, for its user's eyes only."""
        message_id = self._deferred[job] = str(self._snowflakes.issue())
        body = messages.message_json(job, int(message_id), "", flags=messages.LOADING | messages.EPHEMERAL)
        self._tell_user(job, "INTERACTION_SUCCESS", {})
        place = {"guild_id": job.server_id, "nonce": job.nonce}
        self._sessions.publish([job.user["id"]], "MESSAGE_CREATE", {**body, **place})

    def end_unseen(self, job: Job, *, late_s: float) -> None:
        """A job ended of which no message can be read: by an ephemeral one, or by none (``late_s`` after its start)."""
        if job.directive.outcome == "ephemeral":
            self._refuse_unseen(job)
            return
        wait_s = max(0.0, ANSWER_TIME_S - late_s)
        failure = {"reason_code": _TIMED_OUT}
        asyncio.get_running_loop().call_later(wait_s, self._tell_user, job, "INTERACTION_FAILURE", failure)

    def _refuse_unseen(self, job: Job) -> None:
        deferred = self._deferred.pop(job, None)
        if deferred is not None:
            body = messages.ephemeral_json(job, int(deferred))
            edited = {**messages.edit_of(job, body["content"]), "flags": messages.EPHEMERAL}
            self._sessions.publish([job.user["id"]], "MESSAGE_UPDATE", {**body, **edited})
            return
        self._tell_user(job, "INTERACTION_SUCCESS", {})
        body = messages.ephemeral_json(job, self._snowflakes.issue())
        self._sessions.publish([job.user["id"]], "MESSAGE_CREATE", {**body, "nonce": job.nonce})

    def note(self, change: Change, message: Message) -> None:
        """Take a message's change in. Changes of one moment are one event, as one request of the bot's is."""
        if not self._changes:
            asyncio.get_running_loop().call_soon(self._publish)
        earlier = self._changes.get(message)
        self._changes[message] = "MESSAGE_CREATE" if (earlier, change) == _BORN_AND_EDITED else change

    def _publish(self) -> None:
        changes, self._changes = self._changes, {}
        for message, change in changes.items():
            channel_id = message.body["channel_id"]
            users = self._viewers(channel_id)
            if not self._sessions.is_anybody_there(users):
                continue
            place = {"channel_id": channel_id, "guild_id": self._accounts.server_of(channel_id)}
            if change == "MESSAGE_DELETE":
                self._sessions.publish(users, change, {"id": str(message.id), **place})
                continue
            body = json.loads(message.rendered(self._cdn))
            if change == "MESSAGE_CREATE":
                body |= self._answered(body)
            self._sessions.publish(users, change, {**body, **place})

    def _answered(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first message of an answer ends its interaction well, and carries its nonce."""
        metadata = body.get("interaction_metadata") or {}
        asked = self._nonces.pop(metadata.get("id", ""), None)
        if asked is None:
            return {}
        user_id, nonce = asked
        self._sessions.publish([user_id], "INTERACTION_SUCCESS", {"id": metadata["id"], "nonce": nonce})
        return {"nonce": nonce}

    def _viewers(self, channel_id: str) -> set[str]:
        account = self._accounts.of_channel(channel_id)
        declared = {user_id_of(account.token)} if account else set()
        return declared | self._members.get(channel_id, set())

    def _tell_user(self, job: Job, name: str, more: dict[str, Any]) -> None:
        self._sessions.publish([job.user["id"]], name, {"id": job.interaction_id, "nonce": job.nonce, **more})


_BORN_AND_EDITED = ("MESSAGE_CREATE", "MESSAGE_UPDATE")
