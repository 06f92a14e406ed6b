"""`GET /docs`: the OpenAPI document as one page to read, made on the server, with nothing fetched from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from fastapi import APIRouter
from jinja2 import Environment, StrictUndefined, Template
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dispatcher.http.samples import curl_sample, resolved

router = APIRouter(tags=["health"])
NO_SCRIPT = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'"}


@router.get("/docs", include_in_schema=False, response_class=HTMLResponse)
async def read_docs(request: Request) -> HTMLResponse:
    """Show every operation: what it takes, what it answers, a curl sample."""
    return HTMLResponse(page_of(request.app.openapi()), headers=NO_SCRIPT)


def page_of(document: dict[str, Any]) -> str:
    """Write an OpenAPI document as HTML."""
    return _template().render(info=document["info"], groups=_grouped(document))


@cache
def _template() -> Template:
    text = files("dispatcher.http").joinpath("docs.html").read_text(encoding="utf-8")
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        text
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter, a field of a body, or a field of an answer."""

    name: str
    kind: str
    is_required: bool
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    description: str
    is_guarded: bool
    parameters: list[Row]
    bodies: list[tuple[str, list[Row]]]
    answers: list[tuple[str, str, list[Row]]]
    sample: str

    @property
    def anchor(self) -> str:
        """What links to it end in."""
        return f"{self.method}{self.path}".replace("/", "-").replace("{", "").replace("}", "")


def _grouped(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """Operations by tag, in the document's order."""
    groups: dict[str, list[Operation]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            shown = _operation(document, method, path, operation)
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(shown)
    return groups


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Operation:
    given = [resolved(document, parameter) for parameter in operation.get("parameters", [])]
    content = operation.get("requestBody", {}).get("content", {})
    return Operation(
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", ""),
        is_guarded=bool(operation.get("security")),
        parameters=[_parameter(document, parameter) for parameter in given],
        bodies=[(media, _fields(document, part.get("schema", {}))) for media, part in content.items()],
        answers=[_answer(document, status, answer) for status, answer in operation["responses"].items()],
        sample=curl_sample(document, method, path, operation),
    )


def _parameter(document: dict[str, Any], parameter: dict[str, Any]) -> Row:
    kind = f"{parameter['in']}, {_kind(document, parameter.get('schema', {}))}"
    return Row(parameter["name"], kind, parameter.get("required", False), parameter.get("description", ""))


def _answer(document: dict[str, Any], status: str, answer: dict[str, Any]) -> tuple[str, str, list[Row]]:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return status, answer.get("description", ""), _fields(document, schema)


def _fields(document: dict[str, Any], schema: dict[str, Any]) -> list[Row]:
    """The fields of an object; of alternatives, those of the first object among them."""
    objects = (resolved(document, one) for one in _alternatives(resolved(document, schema)))
    found = next((one for one in objects if "properties" in one), {})
    required = set(found.get("required", ()))
    return [
        Row(name, _kind(document, field), name in required, _described(document, field))
        for name, field in found.get("properties", {}).items()
    ]


def _described(document: dict[str, Any], field: dict[str, Any]) -> str:
    text: str = field.get("description") or resolved(document, field).get("description", "")
    return text


def _kind(document: dict[str, Any], schema: dict[str, Any]) -> str:
    """Say in a few words what a value may be."""
    found = resolved(document, schema)
    kinds = [_kind(document, one) for one in _alternatives(found) if one is not found and one.get("type") != "null"]
    if kinds:
        return " or ".join(dict.fromkeys(kinds))
    if "const" in found:
        return json.dumps(found["const"])
    if "enum" in found:
        return " | ".join(str(value) for value in found["enum"])
    if found.get("type") == "array":
        return f"list of {_kind(document, found.get('items', {}))}"
    if found.get("format") == "binary":
        return "file"
    return " ".join([str(found.get("type", "anything")), *_bounds(found)])


def _bounds(schema: dict[str, Any]) -> Iterator[str]:
    for name, words in (
        ("minimum", "from {}"),
        ("maximum", "to {}"),
        ("maxLength", "of at most {} characters"),
        ("format", "({})"),
    ):
        if name in schema:
            yield words.format(schema[name])


def _alternatives(schema: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return found
