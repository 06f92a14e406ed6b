"""``dispatcher.__all__`` is the public API: everything an application may import, and nothing else."""

from __future__ import annotations

import inspect

import pytest

import dispatcher
from dispatcher import errors


def test_it_is_sorted_and_says_nothing_twice() -> None:
    assert dispatcher.__all__ == sorted(set(dispatcher.__all__))


@pytest.mark.parametrize("name", dispatcher.__all__)
def test_a_public_name_exists_and_is_documented(name: str) -> None:
    noun = getattr(dispatcher, name)

    assert inspect.getdoc(noun)
    assert inspect.getmodule(noun).__name__.startswith("dispatcher.")  # type: ignore[union-attr]


@pytest.mark.parametrize("client", [dispatcher.Client, dispatcher.AsyncClient])
def test_every_public_method_of_a_client_is_documented(client: type) -> None:
    methods = {name: method for name, method in inspect.getmembers(client, callable) if not name.startswith("_")}

    assert {"enqueue", "enqueue_many", "get", "jobs", "cancel", "wait", "wait_many", "as_completed", "close"} <= set(
        methods
    )
    assert [name for name, method in methods.items() if not method.__doc__] == []


def test_both_clients_offer_the_same_methods() -> None:
    offered = [
        {name for name, _ in inspect.getmembers(client, callable) if not name.startswith("_")}
        for client in (dispatcher.Client, dispatcher.AsyncClient)
    ]

    assert offered[0] == offered[1]


def test_every_error_that_it_offers_is_of_our_one_tree() -> None:
    offered = [getattr(dispatcher, name) for name in dispatcher.__all__]
    raised = [noun for noun in offered if isinstance(noun, type) and issubclass(noun, BaseException)]

    assert raised
    assert all(issubclass(error, errors.DispatcherError) for error in raised)


def test_a_star_import_brings_what_all_names() -> None:
    brought: dict[str, object] = {}

    exec("from dispatcher import *", brought)  # noqa: S102 (there is no other way to spell it inside a function)

    assert set(brought) - {"__builtins__"} == set(dispatcher.__all__)
