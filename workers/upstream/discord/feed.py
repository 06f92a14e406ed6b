"""The one door for what is seen of a channel: through Redis, so that it is read once, however many workers watch it.

Everything is kept per :class:`Spot`, a channel as one token sees it. Three kinds of callers:

- **Watchers** ask (:meth:`Feed.ask`) when a look is due by their own jobs: all answers carry what others have read
  since. One of them at a time gets the turn to read (verdict ``read``), for as long as it asks again under the same
  name. It tells the list (:meth:`Feed.tell_list`) or its failure (:meth:`Feed.tell_trouble`), and every watcher takes
  it from Redis. When a reader dies or freezes its turn runs out after ``TURN_MS``, and whoever is due next reads;
  should the first wake, its list is refused. A second reader for a moment is harmless: to read changes nothing
  upstream, and of two lists the one whose turn is in force counts.
- **A source of events**, such as a gateway session in *some* process, tells messages as they come
  (:meth:`Feed.tell_messages`). They may be lost, repeated, out of order: an event brings a message and no absence, so
  the list stays the truth (:meth:`Feed.want_list` asks for one soon; :meth:`Feed.tell_fed` says that events come, so
  that lists are read at ``poll_max_s`` only).
- **Listeners** (:mod:`hints`) hear which spot has news. A hint that is lost costs time: watchers ask at their next due
  look all the same.

**When did a look begin?** A missing answer means "not started" only in a look that began late enough, so an instant may
be told too early, never too late. No clock says it: turns count up, and a watcher that was told turn 7 when it asked
knows that the list of turn 8 began after its question. Ages in milliseconds of Redis's clock serve the rhythm alone.

Everything expires by itself ``life_s`` after the last question.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import from_json

from dispatcher.connection import AsyncStore, Call
from dispatcher.errors import AccountRejected, StoreReplyError, UpstreamError
from dispatcher.replies import table
from workers.upstream.discord.messages import fingerprint, id_of, is_bots, trimmed
from workers.upstream.discord.refusals import NAME

TURN_MS = 5000
"""How long a reader that is not heard of is waited for; a living one says so three times in that time."""
_DIGEST_CHARACTERS = 32

Verdict = Literal["read", "busy", "newer", "paused", "idle", "ok", "stale"]


@dataclass(frozen=True, slots=True)
class Spot:
    """A channel as one token sees it; the token is known by a digest."""

    digest: str
    channel: str

    def __str__(self) -> str:
        return f"{self.digest}:{self.channel}"


def spot_of(token: str, channel: str) -> Spot:
    """Name the spot of a token and a channel."""
    return Spot(digest_of(token), channel)


def digest_of(token: str) -> str:
    """Name a token without telling it."""
    return hashlib.sha256(token.encode()).hexdigest()[:_DIGEST_CHARACTERS]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What Redis knows of a spot.

    Args:
        verdict: what follows for the caller; see the scripts.
        turn: number of the last turn that was granted; 0: none.
        version: goes up with each list, failure or event.
        listed: the turn that read the last list; 0: none yet.
        age_s: how long ago it began, roughly.
        since: it has all messages after this id.
        present: ids of all messages in it.
        troubled: the last turn that could not read; 0: none.
        trouble: why, as :func:`trouble_of` reads it.
        troubles: failures in a row.
        pause_s: for how long nobody may read.
        fed_s: for how long events are sure to come.
        wanted: a list of a later turn than this one is wanted.
        news: bots' messages that are newer than the version asked with, as Discord lists them, each with its version.
        prints: fingerprints of all messages kept; for a reader.
        read_since: for a reader: after which id it reads.
    """

    verdict: Verdict
    turn: int
    version: int
    listed: int
    age_s: float
    since: int
    present: frozenset[int]
    troubled: int
    trouble: str
    troubles: int
    pause_s: float
    fed_s: float
    wanted: int
    news: tuple[tuple[int, dict[str, Any]], ...]
    prints: Mapping[int, str]
    read_since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn to read: its name, the version that its reader has, after which id it reads, what is kept already."""

    name: str
    known: int
    since: int
    prints: Mapping[int, str]


class Feed:
    """The door of one worker.

    Args:
        store: where the workers of the fleet meet.
        worker: its name among them, another at each start.
        life_s: how long what is told of a spot is kept after the last question, in seconds.
    """

    def __init__(self, store: AsyncStore, *, worker: str, life_s: float) -> None:
        self.store = store
        self._worker = worker
        self._life_ms = int(life_s * 1000)

    async def ask(self, spot: Spot, *, known: int, since: int, name: str, turn: int) -> View:
        """Ask for the turn, or (without a name) for news only.

        Args:
            spot: what is watched.
            known: the version that the caller has; 0: nothing.
            since: its jobs need all messages after this id.
            name: of the turn that it wants; the same again keeps the turn.
            turn: the last one that it knows of.

        Raises:
            StoreUnavailable: nothing is known, and nobody may read.
        """
        args = (spot.digest, spot.channel, self._worker, known, str(since), self._life_ms, name, turn, TURN_MS)
        return await self.store.do(Call("look", args, _view))

    async def tell_list(self, spot: Spot, window: Iterable[dict[str, Any]], *, turn: Turn) -> View:
        """Tell all messages listed after ``turn.since``; raises as ``ask``."""
        listed = {id_of(raw): raw for raw in window}
        changed = (raw for raw in listed.values() if is_bots(raw) and turn.prints.get(id_of(raw)) != fingerprint(raw))
        return await self._tell(spot, turn, 0, ",".join(map(str, sorted(listed))), *_told(changed))

    async def tell_trouble(self, spot: Spot, error: UpstreamError, *, turn: Turn, pause_s: float) -> View:
        """Tell why the channel could not be read, and how long nobody is to try; raises as ``ask``."""
        return await self._tell(spot, turn, max(1, int(pause_s * 1000)), _written(error))

    async def tell_messages(self, spot: Spot, messages: Iterable[dict[str, Any]]) -> bool:
        """Tell messages that an event brought, whole as in a list; False where nobody watches, and nothing is kept."""
        return await self._tell_news(spot, 0, 0, *_told(raw for raw in messages if is_bots(raw)))

    async def tell_fed(self, spot: Spot, *, for_s: float) -> bool:
        """Tell that events of the spot come for so long; told again before that ends. False where nobody watches."""
        return await self._tell_news(spot, int(for_s * 1000), 0)

    async def want_list(self, spot: Spot) -> bool:
        """Have a list read that begins after this call, as soon as the floor between two lists allows."""
        return await self._tell_news(spot, 0, 1)

    async def _tell(self, spot: Spot, turn: Turn, pause_ms: int, told: str, *more: str) -> View:
        args: tuple[str | int, ...] = (
            spot.digest,
            spot.channel,
            turn.name,
            turn.known,
            self._life_ms,
            pause_ms,
            told,
            *more,
        )
        return await self.store.do(Call("looked", args, _view))

    async def _tell_news(self, spot: Spot, fed_ms: int, wants_list: int, *messages: str) -> bool:
        args: tuple[str | int, ...] = (spot.digest, spot.channel, fed_ms, wants_list, *messages)
        return await self.store.do(Call("look_news", args, _is_watched))


def trouble_of(view: View) -> UpstreamError:
    """Read what a reader, maybe in another process, could not do."""
    told = from_json(view.trouble)
    if told["is_rejected"]:
        return AccountRejected(NAME, told["reason"], needs_operator=told["needs_operator"])
    return UpstreamError(NAME, told["reason"])


def _written(error: UpstreamError) -> str:
    is_rejected = isinstance(error, AccountRejected)
    return json.dumps(
        {
            "is_rejected": is_rejected,
            "reason": error.reason if isinstance(error, AccountRejected) else str(error),
            "needs_operator": isinstance(error, AccountRejected) and error.needs_operator,
        }
    )


def _told(messages: Iterable[dict[str, Any]]) -> Iterator[str]:
    for raw in messages:
        yield str(id_of(raw))
        yield fingerprint(raw)
        yield json.dumps(trimmed(raw), separators=(",", ":"))


def _is_watched(reply: Any) -> bool:
    match reply:
        case ["ok"]:
            return True
        case ["unwatched"]:
            return False
        case _:
            raise StoreReplyError("look_news", reply)


def _view(reply: Any) -> View:
    match reply:
        case ["read" | "busy" | "newer" | "paused" | "idle" | "ok" | "stale" as verdict, [*told], [*news], [*prints]]:
            field = table(told)
        case _:
            raise StoreReplyError("look", reply)
    return View(
        verdict=verdict,
        turn=int(field["turn"]),
        version=int(field["version"]),
        listed=int(field["listed"]),
        age_s=int(field["age_ms"]) / 1000,
        since=int(field["since"] or 0),
        present=frozenset(int(message_id) for message_id in field["present"].split(",") if message_id),
        troubled=int(field["troubled"]),
        trouble=field["trouble"],
        troubles=int(field["troubles"]),
        pause_s=int(field["pause_ms"]) / 1000,
        fed_s=int(field["fed_ms"]) / 1000,
        wanted=int(field["wanted"]),
        news=tuple((int(changed), from_json(raw)) for changed, raw in zip(news[::2], news[1::2], strict=True)),
        prints={int(message_id): print_ for message_id, print_ in table(prints).items()},
        read_since=int(field.get("read_since", 0)),
    )
