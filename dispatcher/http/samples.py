"""A curl call for an operation of the OpenAPI document, in which a shell's variables stand for what is yours."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any
from urllib.parse import quote

_PLACE = re.compile(r"{(\w+)}")
INDENT = " \\\n  "


def curl_sample(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    """Write the call; ``$DISPATCHER_URL`` and ``$API_TOKEN`` are what docs/http-api.md says they are."""
    filled = _PLACE.sub(lambda found: f"${found[1].upper()}", path)
    parts = [f'curl --request {method.upper()} "$DISPATCHER_URL{filled}{_query(operation)}"']
    if operation.get("security"):
        parts.append('--header "Authorization: Bearer $API_TOKEN"')
    parts += _body(document, operation)
    return INDENT.join(parts)


def _query(operation: dict[str, Any]) -> str:
    given = {
        parameter["name"]: parameter["example"]
        for parameter in operation.get("parameters", [])
        if parameter.get("in") == "query" and "example" in parameter
    }
    pairs = "&".join(f"{name}={quote(str(value), safe=':')}" for name, value in given.items())
    return f"?{pairs}" if pairs else ""


def _body(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if "application/json" in content:
        example = example_of(document, content["application/json"]["schema"])
        return ["--header 'Content-Type: application/json'", f"--data {shlex.quote(json.dumps(example))}"]
    if "multipart/form-data" in content:
        example = example_of(document, content["multipart/form-data"]["schema"])
        return [f"--form {shlex.quote(f'{name}={value}')}" for name, value in example.items()]
    return []


def example_of(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Make up a value of a schema: its own example, else the least that it takes; of an object the required fields."""
    found = resolved(document, schema)
    if (own := _own_example(found)) is not None:
        return own
    if alternatives := found.get("anyOf") or found.get("oneOf"):
        return example_of(document, alternatives[0])
    match found.get("type"):
        case "object":
            fields = found.get("properties", {})
            wanted = found.get("required") or list(fields)
            return {name: example_of(document, fields[name]) for name in wanted}
        case "integer" | "number":
            return found.get("minimum", 1)
        case _:
            return "@picture.png" if found.get("format") == "binary" else "…"


def _own_example(schema: dict[str, Any]) -> Any:
    told = (schema.get(name) for name in ("example", "const", "default"))
    listed = (values[0] for name in ("examples", "enum") if (values := schema.get(name)))
    return next((value for value in (*told, *listed) if value is not None), None)


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references within the document; what is none is returned as it is."""
    while "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema
