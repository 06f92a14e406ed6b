"""What sessions tell of interactions, kept in Redis for the jobs that made them, in whatever worker those run.

An event may come before the request that it answers has returned, and the job may be followed by another worker than
the one that has the session, or by its successor. So what is told is kept under the interaction, and the interaction
under its nonce, for as long as a bot may answer one; nobody needs to wait for it. Hints say that there is news: they
may be lost, and a job asks again with each list that it is shown.

Also what our user does by hand is told. Its nonce is none of ours: no job takes such an interaction for its own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json

from dispatcher.connection import AsyncStore, Call, command
from dispatcher.errors import StoreReplyError
from dispatcher.replies import hash_of
from workers.upstream.discord.messages import ChannelMessage, id_of, parsed, trimmed

LIFE_MS = 15 * 60_000
"""For so long after an interaction its bot may answer it."""
HINT = "fate "
"""How hints of fates begin: ``fate <digest> <interaction> <nonce>``."""
_MESSAGE = "message:"

Told = Literal["created", "succeeded", "failed", "form"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is known of one interaction.

    Args:
        id: Discord's name for it.
        is_answered: the bot has answered it, by a message or a form.
        failed: the reason code of its failure (1 unknown, 2 no answer in time); None: none was told.
        opens_form: the bot answered with a form.
        unlisted: the bot's messages that its user alone sees and no list shows, as they stand.
    """

    id: int
    is_answered: bool = False
    failed: int | None = None
    opens_form: bool = False
    unlisted: tuple[ChannelMessage, ...] = ()


class Fates:
    """The door to them for one worker."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._ears: defaultdict[str, set[Ear]] = defaultdict(set)

    async def tell(self, digest: str, interaction: int, nonce: str | None, told: Told, reason: int = 0) -> None:
        """Tell what an event said of an interaction; raises StoreUnavailable."""
        is_failure = told == "failed"
        await self._tell(digest, interaction, nonce, told, reason if is_failure else "", "", 0, "")

    async def tell_unlisted(self, digest: str, interaction: int, nonce: str | None, raw: dict[str, Any]) -> None:
        """Tell a whole message that answers an interaction and that no list shows; raises StoreUnavailable."""
        text = json.dumps(trimmed(raw), separators=(",", ":"))
        for message in parsed([raw]):
            await self._tell(digest, interaction, nonce, "succeeded", "", id_of(raw), message.edited_ms or 0, text)

    async def interaction_of(self, digest: str, nonces: tuple[str, ...]) -> int | None:
        """Return which interaction was told of one of these nonces, however long the store is away."""
        keys = (self._store.keys.of("nonce", digest, nonce) for nonce in nonces)
        return await self._store.insist(command("MGET", *keys, read=_first))

    async def nonce_of(self, digest: str, interaction: int) -> str | None:
        """Return the nonce that was told of an interaction, however long the store is away."""
        key = self._store.keys.of("fate", digest, str(interaction))
        return await self._store.insist(command("HGET", key, "nonce", read=lambda reply: reply))

    async def of(self, digest: str, interaction: int) -> Fate:
        """Return all that was told of an interaction, however long the store is away."""
        key = self._store.keys.of("fate", digest, str(interaction))
        return await self._store.insist(command("HGETALL", key, read=lambda reply: _fate(interaction, hash_of(reply))))

    def ear(self, digest: str, nonces: tuple[str, ...]) -> Ear:
        """Return what a job hears by."""
        return Ear(self, digest, nonces)

    def hear(self, hint: str) -> None:
        """Pass a hint on to the job that it concerns, if that is here."""
        digest, interaction, nonce = hint.removeprefix(HINT).split(" ", 2)
        for ear in self._ears.get(digest, ()):
            if ear.is_meant(int(interaction), nonce):
                ear.hear()

    def enter(self, ear: Ear) -> None:
        """Let hints reach a job."""
        self._ears[ear.digest].add(ear)

    def leave(self, ear: Ear) -> None:
        """Let them reach it no more."""
        self._ears[ear.digest].discard(ear)
        if not self._ears[ear.digest]:
            del self._ears[ear.digest]

    async def _tell(self, digest: str, interaction: int, nonce: str | None, *told: str | int) -> None:
        args = (digest, str(interaction), nonce or "", LIFE_MS, *told)
        await self._store.do(Call("fate_told", args, _checked))


class Ear:
    """What one job hears of its own interaction.

    Args:
        fates: where it is told.
        digest: of the token.
        nonces: by which the job named its submission.
    """

    def __init__(self, fates: Fates, digest: str, nonces: tuple[str, ...]) -> None:
        self.digest = digest
        self.remote_id: int | None = None
        """The interaction that the job follows, once known."""
        self._fates = fates
        self._nonces = nonces
        self._wake: Callable[[], object] | None = None
        self._is_due = True
        self._told: int | None = None
        self._known: Fate | None = None

    def open(self, wake: Callable[[], object]) -> None:
        """Listen: ``wake`` is called now, for something may have been told already, and when there is news."""
        self._wake = wake
        self._fates.enter(self)
        wake()

    def close(self) -> None:
        """Listen no more."""
        self._fates.leave(self)

    def is_meant(self, interaction: int, nonce: str) -> bool:
        """Whether news of an interaction concern the job."""
        return nonce in self._nonces or interaction in (self._told, self.remote_id)

    def hear(self) -> None:
        """Take a hint."""
        self.ask_again()
        if self._wake is not None:
            self._wake()

    def ask_again(self) -> None:
        """Have Redis asked with the next :meth:`fate`: a hint may have been lost."""
        self._is_due = True

    async def fate(self) -> Fate | None:
        """Return what is known of the job's interaction; None while nobody told which that is."""
        if not self._is_due:
            return self._known
        self._is_due = False
        self._told = self._told or await self._fates.interaction_of(self.digest, self._nonces)
        interaction = self._told or self.remote_id
        if interaction is not None:
            self._known = await self._fates.of(self.digest, interaction)
        return self._known

    async def is_anothers(self, interaction: int) -> bool:
        """Whether an interaction was told under a nonce that is not the job's."""
        nonce = await self._fates.nonce_of(self.digest, interaction)
        return nonce is not None and nonce not in self._nonces


def _first(reply: list[str | None]) -> int | None:
    return next((int(interaction) for interaction in reply if interaction), None)


def _fate(interaction: int, told: dict[str, str]) -> Fate:
    raws = (from_json(text.partition(" ")[2]) for name, text in told.items() if name.startswith(_MESSAGE))
    return Fate(
        id=interaction,
        is_answered="succeeded" in told or "form" in told,
        failed=int(told["failed"]) if "failed" in told else None,
        opens_form="form" in told,
        unlisted=tuple(parsed(raws)),
    )


def _checked(reply: Any) -> None:
    if reply not in (["news"], ["known"]):
        raise StoreReplyError("fate_told", reply)
