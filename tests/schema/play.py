"""schemathesis at work: its phases over the whole document, then more valid calls wherever too few succeeded."""

from __future__ import annotations

from collections import Counter
from typing import Any

import click
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.cli import schemathesis as program
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from tests.schema.world import World

EXCUSED: dict[str, str] = {}
"""Checks that are left out, each with its reason."""
SUCCESS = range(200, 300)


def play(world: World, *, examples: int, successes: int, number: int) -> list[str]:
    """Call every operation and return what is wrong, a sentence each.

    Args:
        world: the service, and what its valid calls need.
        examples: calls of each operation that are generated in the phase that generates the most.
        successes: how many answers 2xx each operation must give; where fewer came, more valid calls are made.
        number: the seed.
    """
    _hook_up(world)
    faults = _run(world, examples=examples, number=number)
    for operation in _operations(world):
        faults += _top_up(world, operation, wanted=successes, number=number)
    return faults


def operations_with_input(world: World) -> list[str]:
    """Return the operations of which more than one call can be made."""
    return [operation.label for operation in _operations(world) if operation.body or any(operation.iter_parameters())]


def _operations(world: World) -> list[Any]:
    found = schemathesis.openapi.from_url(f"{world.url}/openapi.json").get_all_operations()
    return [result.ok() for result in found if isinstance(result, Ok)]


def succeeded(answers: Counter[int]) -> int:
    """Count the answers that are successes."""
    return sum(times for status, times in answers.items() if status in SUCCESS)


def _hook_up(world: World) -> None:
    fitted: set[str] = set()

    def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
        del context, kwargs
        if case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE:
            world.fit(case)
            fitted.add(case.id)

    def after_call(context: Any, case: Any, response: Any) -> None:
        del context
        world.count(case, response.status_code)
        if case.id in fitted and case.meta:  # a body with a file in it, changed by a hook, counts as invalid otherwise
            case.meta.generation.mode = GenerationMode.POSITIVE

    schemathesis.hook(before_call)
    schemathesis.hook(after_call)


def _run(world: World, *, examples: int, number: int) -> list[str]:
    """All phases of schemathesis, every check, valid and invalid calls."""
    options = ["run", f"{world.url}/openapi.json", "--header", f"Authorization: {world.headers['Authorization']}"]
    options += ["--max-examples", str(examples), "--seed", str(number), "--continue-on-failure", "--no-color"]
    options += ["--generation-database", "none", "--suppress-health-check", "all", "--request-timeout", "30"]
    options += [part for check in EXCUSED for part in ("--exclude-checks", check)]
    try:
        code = program.main(options, standalone_mode=False)
    except click.exceptions.Exit as end:
        code = end.exit_code
    except SystemExit as end:
        code = end.code
    return [f"schemathesis found faults (exit {code}), told above"] if code else []


def _top_up(world: World, operation: Any, *, wanted: int, number: int) -> list[str]:
    """Make valid calls of an operation until so many have succeeded; stop at three times as many."""
    answers = world.answers[f"{operation.method.upper()} {operation.path}"]
    faults: list[str] = []

    @seed(number)
    @settings(
        max_examples=3 * wanted,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    def generated(case: Any) -> None:
        if succeeded(answers) < wanted:
            faults.extend(_call(world, case))

    if succeeded(answers) < wanted:
        generated()
    # Without parameters there is one call to generate; it is made again.
    for _ in range(wanted - succeeded(answers)):
        faults += _call(world, operation.Case())
    if succeeded(answers) < wanted:
        faults.append(f"{operation.label}: {succeeded(answers)} of {wanted} answers are 2xx")
    return faults


def _call(world: World, case: Any) -> list[str]:
    try:
        case.call_and_validate(headers=world.headers, timeout=30)
    except FailureGroup as group:
        return [f"{case.method} {case.path}: {failure.message}" for failure in group.exceptions]
    return []
