"""A whole upstream in one module: it ends each job with the text that it was given, on accounts of its own.

``tests/acceptance/test_another_upstream.py`` installs it as a distribution of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field, SecretStr

from dispatcher.connection import AsyncStore
from dispatcher.models import Account, Message
from dispatcher.requests import Request
from dispatcher.settings import Settings
from workers.upstream import Ended, Ledger, Outcome, Refused, Verdict


class Say(Request):
    """Have a text said."""

    kind: ClassVar[str] = "say"
    upstream: ClassVar[str] = "echo"

    text: Annotated[str, Field(min_length=1, max_length=100)]


class Echo:
    """Answers at once; a job that an owner before this one submitted has ended with it."""

    name = "echo"

    def __init__(self, settings: Settings, *, open_secret: Callable[[Account], SecretStr], store: AsyncStore) -> None:
        del settings, store
        self._open_secret = open_secret

    async def run(self, ledger: Ledger) -> Outcome:
        if ledger.step != "start":
            return Ended(status="failed", error="its worker died")
        permit = await ledger.submitting()
        ledger.sent()
        if self._open_secret(permit.account).get_secret_value() == "refused":
            return Refused(reason="the key is refused", disable="check")
        await ledger.accepted(ledger.job.id)
        text = ledger.job.request["text"]
        return Ended(status="completed", message=Message(messageId=ledger.job.id, content=text))

    async def check(self, account: Account) -> Verdict:
        is_refused = self._open_secret(account).get_secret_value() == "refused"
        return Verdict("rejected", "the key is refused") if is_refused else Verdict("ok")

    async def close(self) -> None:
        """Nothing is open."""
