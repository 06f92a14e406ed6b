"""What a session tells: typed, and nothing of it to be relied on for what it does not say.

Events may be lost, repeated and reordered. So an event may bring a message or an interaction's fate; that something is
absent or gone is for a list to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dispatcher.log import get_logger

log = get_logger(__name__)


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Payload(_Told):
    """One payload: operation, data, sequence number, name."""

    op: int
    d: Any = None
    s: int | None = None
    t: str | None = None


class Hello(_Told):
    """The first payload."""

    heartbeat_interval: int = Field(gt=0)  # ms


class Ready(_Told):
    """A session is open."""

    session_id: str
    resume_gateway_url: str


class _Interaction(_Told):
    id: int
    nonce: str | None = None
    reason_code: int | None = None


class _Message(_Told):
    id: int
    channel_id: str
    nonce: str | int | None = None


@dataclass(frozen=True, slots=True)
class SessionUp:
    """Events come from now on; unless ``is_resumed``, some may have been missed before."""

    session_id: str
    is_resumed: bool


@dataclass(frozen=True, slots=True)
class SessionDown:
    """No events come until the next :class:`SessionUp`."""

    reason: str


@dataclass(frozen=True, slots=True)
class InteractionTold:
    """What became of one of our user's interactions. ``reason_code`` of a failure: 1 unknown, 2 no answer in time."""

    id: int
    nonce: str | None
    fate: Literal["created", "succeeded", "failed", "form"]
    reason_code: int | None = None


@dataclass(frozen=True, slots=True)
class MessageTold:
    """A message as it stands; ``raw`` is its JSON, of an edit perhaps in part. ``nonce``: of what it answers."""

    id: int
    channel: str
    raw: dict[str, Any]
    is_new: bool
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class MessageGone:
    """Discord says that a message was deleted; a list decides."""

    id: int
    channel: str


Event: TypeAlias = SessionUp | SessionDown | InteractionTold | MessageTold | MessageGone

_FATES: dict[str, Literal["created", "succeeded", "failed", "form"]] = {
    "INTERACTION_CREATE": "created",
    "INTERACTION_SUCCESS": "succeeded",
    "INTERACTION_FAILURE": "failed",
    "INTERACTION_MODAL_CREATE": "form",
}


def event_of(name: str | None, data: Any) -> Event | None:
    """Read a dispatch; None for what does not concern us, and, with a word in the log, for an unknown shape."""
    try:
        if name in _FATES:
            asked = _Interaction.model_validate(data)
            return InteractionTold(asked.id, asked.nonce, _FATES[name], asked.reason_code)
        if name in {"MESSAGE_CREATE", "MESSAGE_UPDATE"}:
            told = _Message.model_validate(data)
            nonce = None if told.nonce is None else str(told.nonce)
            return MessageTold(told.id, told.channel_id, data, name == "MESSAGE_CREATE", nonce)
        if name == "MESSAGE_DELETE":
            gone = _Message.model_validate(data)
            return MessageGone(gone.id, gone.channel_id)
    except ValidationError as error:
        log.warning("event in an unknown shape", gateway_event=name, reason=error.errors()[0]["msg"])
    return None
