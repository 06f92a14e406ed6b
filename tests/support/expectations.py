"""What a case of the contract expects of an answer, form by form."""

from __future__ import annotations

import re
from typing import Any

import httpx

_TYPES = {
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "array<string>": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "array<object>": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "iso8601-utc-ms": lambda value: re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value) is not None,
    "iso8601": lambda value: (
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)", value) is not None
    ),
}
_STEP = re.compile(r"(\w+)|\[(\d+)\]")


def check(answer: httpx.Response, expected: dict[str, Any]) -> None:  # noqa: C901, PLR0912 (a row for each form)
    """Hold an answer against every expectation; one of an unknown form fails."""
    for name, wanted in expected.items():
        match name:
            case "status":
                assert answer.status_code == wanted, answer.text
            case "json":
                assert answer.json() == wanted
            case "json_subset":
                assert contains(answer.json(), wanted), answer.text
            case "json_keys" | "json_has_keys":
                assert set(wanted) <= answer.json().keys()
            case "json_types":
                for key, kind in wanted.items():
                    assert _TYPES[kind](answer.json()[key]), f"{key} is no {kind}: {answer.text}"
            case "json_path_types":
                for path, kind in wanted.items():
                    assert _TYPES[kind](_at(answer.json(), path)), f"{path} is no {kind}: {answer.text}"
            case "json_matches":
                for key, pattern in wanted.items():
                    assert re.search(pattern, answer.json()[key]), answer.text
            case "json_in":
                for key, values in wanted.items():
                    assert answer.json()[key] in values
            case "json_absent":
                assert not set(wanted) & answer.json().keys()
            case "json_excludes":
                assert wanted not in answer.json()
            case "body_empty":
                assert (answer.content == b"") is wanted
            case "body_contains":
                assert wanted in answer.text
            case "note":
                pass
            case _:
                raise AssertionError(f"a form of expectation that is not known: {name}")


def contains(whole: Any, part: Any) -> bool:
    """Say whether ``part`` is found in ``whole``, member by member."""
    if isinstance(part, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return bool(whole == part)


def _at(value: Any, path: str) -> Any:
    for name, index in _STEP.findall(path):
        value = value[name] if name else value[int(index)]
    return value
