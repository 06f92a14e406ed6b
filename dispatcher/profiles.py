"""What users say of themselves: a name, and where their jobs are reported by default.

Source: contract §8.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from dispatcher.connection import Call, command
from dispatcher.keys import Keys
from dispatcher.replies import hash_of
from dispatcher.settings import Settings


class Profile(BaseModel):
    """One user's words; what was never said is empty. ``reply_url`` counts for jobs that name none."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    reply_url: str = ""


class Profiles:
    """The profiles of one store."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.namespace)

    def get(self, user: int) -> Call[Profile]:
        """Read a user's profile; an empty one where nothing was said."""

        def read(reply: Any) -> Profile:
            return Profile.model_validate(hash_of(reply))

        return command("HGETALL", self._key(user), read=read)

    def put(self, user: int, said: Profile) -> Call[None]:
        """Keep what was said: the fields that ``said`` was made with; the others stay as they are."""
        values = said.model_dump(exclude_unset=True)
        if not values:
            return command("PING", read=_nothing)
        return command("HSET", self._key(user), *(part for pair in values.items() for part in pair), read=_nothing)

    def _key(self, user: int) -> str:
        return self.keys.of("profile", str(user))


def _nothing(reply: Any) -> None:
    del reply
