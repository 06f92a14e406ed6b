"""Gateway sessions: who is told what, in which order, and what was missed while a session had no connection.

Events may be lost, repeated and reordered: Discord promises no more, and `Mischief` makes it happen on purpose.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.census import Census

How = Literal["drop", "duplicate", "reorder"]
HOWS: tuple[str, ...] = get_args(How)

REPLAY_MAX = 1000
"""Events that a session keeps for a resumption."""
SESSIONS_KEPT = 4
"""Of each user, with a connection or without."""
HELD_MAX_S = 1.0
"""A reordered event comes after the next one, or after that long where there is none."""

DISPATCH, RECONNECT, INVALID_SESSION = 0, 7, 9

Outbox = asyncio.Queue[str | int]
"""What a connection is to send: a payload, or the code to close with."""


def payload(op: int, data: Any, *, sequence: int | None = None, name: str | None = None) -> str:
    """Write one gateway payload."""
    return json.dumps({"op": op, "d": data, "s": sequence, "t": name}, separators=(",", ":"), ensure_ascii=False)


@dataclass(slots=True, eq=False)
class Session:
    """One identified session of a user; ``outbox`` is its connection's, None while it has none."""

    id: str
    user_id: str
    sequence: int = 0
    outbox: Outbox | None = None
    held: list[tuple[str, Any]] = field(default_factory=list)
    _replay: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=REPLAY_MAX))

    def dispatch(self, name: str, data: Any) -> None:
        """Give an event its sequence number, keep it for a resumption, and send it where there is a connection."""
        self.sequence += 1
        text = payload(DISPATCH, data, sequence=self.sequence, name=name)
        self._replay.append((self.sequence, text))
        if self.outbox is not None:
            self.outbox.put_nowait(text)

    def missed_since(self, sequence: int) -> list[str] | None:
        """Return the payloads after a sequence number; None where some of them are not kept any more."""
        if sequence < self.sequence and (not self._replay or self._replay[0][0] > sequence + 1):
            return None
        return [text for number, text in self._replay if number > sequence]


@dataclass(slots=True)
class Mischief:
    """What is done to the next ``count`` events of a name, or of any; to those of a user, or of all."""

    how: How
    count: int
    event: str | None
    user_id: str | None

    def strikes(self, name: str, user_id: str) -> bool:
        """Say whether this event is one of them, and count it."""
        if self.count <= 0 or self.event not in {None, name} or self.user_id not in {None, user_id}:
            return False
        self.count -= 1
        return True


class Sessions:
    """All sessions; the census counts those that are connected."""

    def __init__(self, census: Census) -> None:
        self._census = census
        self._sessions: dict[str, list[Session]] = {}
        self._mischief: list[Mischief] = []

    def identify(self, user_id: str, outbox: Outbox) -> Session:
        """Open a session."""
        session = Session(secrets.token_hex(16), user_id)
        kept = self._sessions.setdefault(user_id, [])
        kept.append(session)
        while len(kept) > SESSIONS_KEPT and (old := next((each for each in kept if each.outbox is None), None)):
            kept.remove(old)
        self._attach(session, outbox)
        self._census.of(user_id).identified += 1
        return session

    def resume(self, user_id: str, session_id: str, sequence: int, outbox: Outbox) -> Session | None:
        """Give a session another connection and send what it missed; None where it cannot be gone on with."""
        session = next((each for each in self._sessions.get(user_id, []) if each.id == session_id), None)
        missed = None if session is None else session.missed_since(sequence)
        if session is None or missed is None:
            return None
        self._attach(session, outbox)
        self._census.of(user_id).resumed += 1
        for text in missed:
            outbox.put_nowait(text)
        return session

    def detach(self, session: Session, outbox: Outbox, *, is_over: bool) -> None:
        """Take the connection away, unless another has taken its place; a session that is over is forgotten."""
        if session.outbox is not outbox:
            return
        session.outbox = None
        self._census.disconnect(session.user_id)
        if is_over:
            self._sessions[session.user_id].remove(session)

    def publish(self, user_ids: Iterable[str], name: str, data: Any) -> None:
        """Tell the sessions of these users of an event."""
        for user_id in set(user_ids):
            for session in self._sessions.get(user_id, ()):
                self._deliver(session, name, data)

    def is_anybody_there(self, user_ids: Iterable[str]) -> bool:
        """Say whether one of these users has a session."""
        return any(self._sessions.get(user_id) for user_id in user_ids)

    def send(self, item: str | int, user_id: str | None) -> int:
        """Send a payload, or close with a code: the connections of one user, or of all; returns how many."""
        connected = [each for kept in self._sessions.values() for each in kept if each.outbox is not None]
        told = [each for each in connected if user_id in {None, each.user_id}]
        for session in told:
            if session.outbox is not None:
                session.outbox.put_nowait(item)
        return len(told)

    def forget(self, user_id: str | None) -> None:
        """Keep no session for a resumption any more, of one user or of all; connected ones go on."""
        for owner, kept in self._sessions.items():
            if user_id in {None, owner}:
                kept[:] = [each for each in kept if each.outbox is not None]

    def disturb(self, mischief: Mischief) -> None:
        """Lose, repeat or reorder the next events."""
        self._mischief.append(mischief)

    def reset(self) -> None:
        """Do no more mischief; what is connected stays so."""
        self._mischief.clear()

    def _attach(self, session: Session, outbox: Outbox) -> None:
        if session.outbox is None:
            self._census.connect(session.user_id)
        else:
            session.outbox.put_nowait(4000)  # it had a connection that died unseen
        session.outbox = outbox

    def _deliver(self, session: Session, name: str, data: Any) -> None:
        struck = next((each for each in self._mischief if each.strikes(name, session.user_id)), None)
        match struck.how if struck else None:
            case "drop":
                return
            case "reorder":
                session.held.append((name, data))
                asyncio.get_running_loop().call_later(HELD_MAX_S, self._let_go, session)
                return
            case "duplicate":
                session.dispatch(name, data)
        session.dispatch(name, data)
        self._let_go(session)

    def _let_go(self, session: Session) -> None:
        held, session.held = session.held, []
        for name, data in reversed(held):
            session.dispatch(name, data)
