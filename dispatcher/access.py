"""Who may call the HTTP API: users by number, and their bearer tokens ``user:<number>-<string>``.

A token is stored as its SHA-256 alone. A slow hash would protect what people choose; ours carry 192 bits of chance,
which no one finds by trying, and every request would pay for it. A token of a person's own choice (``--token``) is as
strong as its string.

A digest's first twelve hex digits are the token's id: what lists show and ``revoke`` takes. The token is looked up by
it, and the whole digest is then compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, SecretStr

from dispatcher.connection import Call, command
from dispatcher.errors import SettingsError, Unauthorized
from dispatcher.keys import Keys
from dispatcher.plan import Plan
from dispatcher.replies import hash_of
from dispatcher.settings import Settings

TOKEN_BYTES = 24
TOKEN_CHARACTERS = 256
ID_CHARACTERS = 12

_TOKEN = re.compile(r"user:(?P<user>[1-9][0-9]{0,8})-[\x21-\x7e]+")
_BEARER = re.compile(r"bearer +(?P<token>[\x21-\x7e]+) *", re.IGNORECASE)


class ApiToken(BaseModel):
    """A token as lists show it; ``name`` is its user's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    user: int
    name: str
    created: AwareDatetime


class ApiUser(BaseModel):
    """A user as it was registered, with its first token."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    created: AwareDatetime


class _StoredToken(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    user: int
    digest: str
    created: AwareDatetime


@dataclass(frozen=True, slots=True)
class _Presented:
    """A token of the right form, as its lookup needs it."""

    user: int
    digest: str

    @property
    def id(self) -> str:
        return self.digest[:ID_CHARACTERS]

    @classmethod
    def of(cls, text: str) -> _Presented | None:
        found = _TOKEN.fullmatch(text)
        if not found or len(text) > TOKEN_CHARACTERS:
            return None
        return cls(int(found["user"]), hashlib.sha256(text.encode()).hexdigest())


def new_token(user: int) -> SecretStr:
    """Make a token for the user, with 192 bits of chance."""
    return SecretStr(f"user:{user}-{secrets.token_urlsafe(TOKEN_BYTES)}")


class Access:
    """The users and tokens of one store."""

    def __init__(self, settings: Settings) -> None:
        keys = Keys(settings.namespace)
        self._users = keys.of("users")
        self._tokens = keys.of("tokens")

    def add(self, token: SecretStr, *, name: str | None = None) -> Plan[ApiToken]:
        """Register a token, and its user if new; adding it again changes nothing but the name, where one is given.

        Args:
            token: ``user:<number>-<string>``, from :func:`new_token` or of a person's own choice.
            name: what to call the user from now on; None keeps the name it has.

        Raises:
            SettingsError: the token has another form; the message does not show it.
        """
        given = _Presented.of(token.get_secret_value())
        if given is None:
            raise SettingsError(
                "A token has the form user:<number>-<string>: a number from 1 and visible ASCII characters, "
                f"{TOKEN_CHARACTERS} in all."
            )
        now, old_user, old_token = yield [
            command("TIME", read=_moment),
            command("HGET", self._users, given.user, read=_user),
            command("HGET", self._tokens, given.id, read=_token),
        ]
        created = old_token.created if old_token else now
        user = ApiUser(
            name=(old_user.name if old_user else "") if name is None else name,
            created=old_user.created if old_user else now,
        )
        stored = _StoredToken(user=given.user, digest=given.digest, created=created)
        yield [
            command("HSET", self._users, given.user, user.model_dump_json(), read=int),
            command("HSET", self._tokens, given.id, stored.model_dump_json(), read=int),
        ]
        return ApiToken(id=given.id, user=given.user, name=user.name, created=created)

    def list(self) -> Plan[Sequence[ApiToken]]:
        """Read all tokens, by user and age; of the tokens themselves only the ids."""
        users, tokens = yield [
            command("HGETALL", self._users, read=hash_of),
            command("HGETALL", self._tokens, read=hash_of),
        ]
        names = {number: ApiUser.model_validate_json(user).name for number, user in users.items()}
        shown = []
        for token_id, text in tokens.items():
            token = _StoredToken.model_validate_json(text)
            name = names.get(str(token.user), "")
            shown.append(ApiToken(id=token_id, user=token.user, name=name, created=token.created))
        return sorted(shown, key=lambda token: (token.user, token.created, token.id))

    def revoke(self, token_id: str) -> Call[bool]:
        """Remove a token by its id, from the next request on. False: there is none of that id."""
        return command("HDEL", self._tokens, token_id, read=bool)

    def user(self, user: int) -> Call[ApiUser]:
        """Read a user.

        Raises:
            Unauthorized: when the reply is read, if there is none of that number.
        """

        def read(reply: Any) -> ApiUser:
            stored = _user(reply)
            if stored is None:
                raise Unauthorized
            return stored

        return command("HGET", self._users, user, read=read)

    def authenticate(self, authorization: str | None) -> Call[int]:
        """Read the user number behind an ``Authorization: Bearer …`` header.

        Raises:
            Unauthorized: at once if the header is absent or has another form; when the reply is read if the token is
                not registered.
        """
        bearer = _BEARER.fullmatch(authorization or "")
        given = _Presented.of(bearer["token"]) if bearer else None
        if given is None:
            raise Unauthorized

        def read(reply: Any) -> int:
            stored = _token(reply)
            if stored is None or not hmac.compare_digest(stored.digest, given.digest):
                raise Unauthorized
            return stored.user

        return command("HGET", self._tokens, given.id, read=read)


def _moment(reply: Any) -> datetime:
    seconds, microseconds = map(int, reply)
    return datetime.fromtimestamp(seconds + microseconds / 1e6, UTC)


def _user(reply: Any) -> ApiUser | None:
    return ApiUser.model_validate_json(reply) if reply else None


def _token(reply: Any) -> _StoredToken | None:
    return _StoredToken.model_validate_json(reply) if reply else None
