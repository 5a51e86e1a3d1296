"""Objects out of their attributes, and calls during which no garbage is looked for."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest


class Thing:
    """Built without `__init__`."""

    def __init__(self) -> None:
        raise AssertionError("pickle does not call it, so neither is it called here")

    @property
    def covered(self) -> str:
        """An attribute of the same name lies in `__dict__`, and is not set by way of this."""
        return "property"


@dataclass(frozen=True)
class Frozen:
    """Nobody may set its attributes."""

    x: int


def test_objects_have_their_attributes(core: Any) -> None:
    given: list[Any] = [{"a": 1, "b": [2]}, {}, {"b": 3, 7: 8}]
    shared = given[0]["b"]
    core.build(Thing, given)
    assert [type(one) for one in given] == [Thing] * 3
    assert [vars(one) for one in given] == [{"a": 1, "b": [2]}, {}, {"b": 3, 7: 8}]
    assert given[0].b is shared


def test_neither_properties_nor_setters_are_in_the_way(core: Any) -> None:
    given: list[Any] = [{"covered": 1}]
    core.build(Thing, given)
    assert (vars(given[0]), given[0].covered) == ({"covered": 1}, "property")
    frozen: list[Any] = [{"x": 1}]
    core.build(Frozen, frozen)
    assert frozen == [Frozen(1)]


def test_names_are_interned(core: Any) -> None:
    name = "".join(["na", "me"])
    given: list[Any] = [{name: 1}]
    core.build(Thing, given)
    assert next(iter(vars(given[0]))) is "name"  # noqa: F632 -- the very object is meant


class Whole(int):
    """Not made by `object.__new__`."""


@pytest.mark.parametrize("kind", [int, list, Whole, type, 1, None, "Thing"])
def test_what_object_does_not_make_is_refused(core: Any, kind: Any) -> None:
    with pytest.raises(TypeError, match="kind must be a class that has its __new__ from object"):
        core.build(kind, [{}])


@pytest.mark.parametrize("given", [[1], [{}, None], [[("a", 1)]]])
def test_what_is_no_dict_is_refused(core: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="attributes must be a dict"):
        core.build(Thing, given)
    with pytest.raises(TypeError, match="attributes must be a list"):
        core.build(Thing, tuple(given))


def test_a_class_without_a_dict_is_refused(core: Any) -> None:
    with pytest.raises(AttributeError):
        core.build(object, [{"a": 1}])


@contextmanager
def collections(*, are_on: bool) -> Iterator[None]:
    was_on = gc.isenabled()
    (gc.enable if are_on else gc.disable)()
    try:
        yield
    finally:
        (gc.enable if was_on else gc.disable)()


@pytest.mark.parametrize("are_on", [True, False])
def test_no_garbage_is_looked_for_during_a_call(core: Any, are_on: bool) -> None:
    with collections(are_on=are_on):
        assert core.call_uncollected(lambda argument: (argument, gc.isenabled()), 5) == (5, False)
        assert gc.isenabled() is are_on


@pytest.mark.parametrize("are_on", [True, False])
def test_a_call_that_fails_leaves_the_search_as_it_was(core: Any, are_on: bool) -> None:
    with collections(are_on=are_on):
        with pytest.raises(ValueError, match="invalid literal"):
            core.call_uncollected(int, "x")
        with pytest.raises(TypeError):
            core.build(Thing, [1])
        assert gc.isenabled() is are_on


def test_many_objects_are_built_without_a_collection(core: Any) -> None:
    seen: list[str] = []
    given: list[Any] = [{"a": index} for index in range(10_000)]
    with collections(are_on=True):
        gc.collect()
        gc.callbacks.append(lambda phase, _: seen.append(phase))
        try:
            core.build(Thing, given)
            during = len(seen)
        finally:
            gc.callbacks.pop()
    assert during == 0
    assert [one.a for one in given] == list(range(10_000))
