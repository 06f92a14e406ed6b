"""What a caller may ask for: one frozen model a kind, checked as it is made.

Field names are the HTTP contract's (``docs/http-api.md``), also in Python.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from dispatcher.errors import RequestInvalid
from dispatcher.uploads import Upload, read_upload

Kind = Literal["create", "create_single", "animate", "meme_face", "button"]
"""Of Discord's requests."""
DISCORD = "discord"
GROUP = "dispatcher.requests"
"""Entry points by which other distributions declare requests of upstreams of their own."""

PROMPT_CHARACTERS = 512
BUTTON_CHARACTERS = 80
"""Discord's own bound on what stands on a button."""
JOB_ID_CHARACTERS = 255
MAX_JOBS = 10
MOTION_MAX = 10
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
SEED_MAX = 2_147_483_647
STYLES = ("Realistic", "Anime", "3D Animation")
ASPECT_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4")


def _one_of(*allowed: str) -> Any:
    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return AfterValidator(check)


def _absent_if_empty(value: Any) -> Any:
    """Clients of the contract send every field, empty where it has no value."""
    return None if value == "" else value


Prompt = Annotated[str, Field(min_length=1, max_length=PROMPT_CHARACTERS)]
OptionalPrompt = Annotated[
    Annotated[str, Field(max_length=PROMPT_CHARACTERS)] | None, BeforeValidator(_absent_if_empty)
]
Style = Annotated[str, Field(min_length=1), _one_of(*STYLES)]
AspectRatio = Annotated[Literal["16:9", "9:16", "1:1", "4:3", "3:4"] | None, BeforeValidator(_absent_if_empty)]
Seed = Annotated[Annotated[int, Field(ge=0, le=SEED_MAX)] | None, BeforeValidator(_absent_if_empty)]
Motion = Annotated[Annotated[int, Field(ge=1, le=MOTION_MAX)] | None, BeforeValidator(_absent_if_empty)]
YesOrNo = Annotated[Literal["Yes", "No"] | None, BeforeValidator(_absent_if_empty)]
File = Annotated[Upload, BeforeValidator(read_upload)]
"""``bytes``, or the ``Path`` of a file, which is read as the request is made; png or jpeg, by its first bytes."""


def _told(problem: ErrorDetails, title: str) -> RequestInvalid:
    """Say one validation problem in the contract's words."""
    field = str(problem["loc"][0]) if problem["loc"] else title
    match problem["type"]:
        case "missing" | "string_too_short":
            return RequestInvalid(field, f"Required param {field} is missing or empty")
        case "string_too_long":
            return RequestInvalid(field, f"{field} is too long")
        case "extra_forbidden":
            return RequestInvalid(field, f"{title} has no field {field}")
        case _ if problem["input"] in (None, ""):
            return RequestInvalid(field, f"Required param {field} is missing or empty")
        case _:
            return RequestInvalid(field, f"Param {field} value {problem['input']!s:.80} is not supported")


def checked_name(field: str, name: str) -> str:
    """Return a name that can be a part of keys and ids.

    Raises:
        RequestInvalid: it is none.
    """
    if not _NAME.fullmatch(name):
        raise RequestInvalid(field, f"{field} {name!r:.80} is not a name of a-z, 0-9 and _, at most 40 characters")
    return name


class Request(BaseModel):
    """What every request has; ``maxJobs`` lowers the account's limit for this job alone.

    A request of another upstream is a subclass with its ``kind`` and ``upstream``, declared by an entry point in
    ``dispatcher.requests``; its fields are what it asks for.

    Raises:
        RequestInvalid: a field is missing or not acceptable; ``field`` names it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str]
    upstream: ClassVar[str] = DISCORD

    maxJobs: Annotated[Annotated[int, Field(ge=1, le=MAX_JOBS)] | None, BeforeValidator(_absent_if_empty)] = None

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _told(error.errors()[0], type(self).__name__) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        for field in ("kind", "upstream"):
            checked_name(field, getattr(cls, field, ""))

    def uploads(self) -> dict[str, Upload]:
        """Return the request's files by field."""
        return {name: value for name, value in self if isinstance(value, Upload)}


class Create(Request):
    """Four videos from a text.

    Source: contract §3.1.
    """

    kind: ClassVar[Kind] = "create"

    prompt: Prompt
    style: Style
    negative_prompt: OptionalPrompt = None
    aspect_ratio: AspectRatio = None
    character: Annotated[str | None, BeforeValidator(_absent_if_empty)] = None


class CreateSingle(Create):
    """One video from a text.

    Source: contract §3.2.
    """

    kind: ClassVar[Kind] = "create_single"

    seed_value: Seed = None


class Animate(Request):
    """One video from an image.

    Source: contract §3.3.
    """

    kind: ClassVar[Kind] = "animate"

    image: File
    prompt: OptionalPrompt = None
    motion: Motion = None
    seed_value: Seed = None
    hd_quality: YesOrNo = None


class MemeFace(Request):
    """One video from a face and a text.

    Source: contract §3.4.
    """

    kind: ClassVar[Kind] = "meme_face"

    face: File
    prompt: Prompt
    negative_prompt: OptionalPrompt = None
    seed_value: Seed = None
    aspect_ratio: AspectRatio = None


class Button(Request):
    """What a button below a completed job's result does; it is pressed in that job's channel.

    ``button`` is one of that job's ``buttons``, letter by letter.

    Source: contract §3.5.
    """

    kind: ClassVar[Kind] = "button"

    jobid: Annotated[str, Field(min_length=1, max_length=JOB_ID_CHARACTERS)]
    button: Annotated[str, Field(min_length=1, max_length=BUTTON_CHARACTERS)]
    prompt: OptionalPrompt = None


REQUESTS: dict[str, type[Request]] = {model.kind: model for model in (Create, CreateSingle, Animate, MemeFace, Button)}
"""Discord's requests by kind."""


def request_type(upstream: str, kind: str) -> type[Request]:
    """Return the model of a stored request.

    Raises:
        RequestInvalid: no installed distribution has it.
    """
    found = REQUESTS.get(kind) if upstream == DISCORD else _declared().get((upstream, kind))
    if found is None:
        raise RequestInvalid("kind", f"{kind} of {upstream} is declared by nothing that is installed here")
    return found


@cache
def _declared() -> dict[tuple[str, str], type[Request]]:
    models: list[type[Request]] = [entry.load() for entry in entry_points(group=GROUP)]
    return {(model.upstream, model.kind): model for model in models}
