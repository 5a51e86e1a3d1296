"""Which values may be pickled as one: plain ones, of which nothing that can be changed is in two of them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

NOT_PLAIN, FROZEN, OPEN = range(3)


class Whole(int):
    pass


class Pair(NamedTuple):
    one: Any
    two: Any


class Roots(list[Any]):
    pass


@pytest.mark.parametrize(
    ("value", "weight"),
    [
        (1, FROZEN),
        (None, FROZEN),
        ("x", FROZEN),
        ((), FROZEN),
        ((1, (2.5, b"x")), FROZEN),
        ([], OPEN),
        ({}, OPEN),
        ([1, [2]], OPEN),
        ((1, [2]), OPEN),
        ({"a": {"b": (1, 2)}}, OPEN),
        ({(1, 2): None}, OPEN),
        (Decimal(1), FROZEN),
        ([Decimal(1)], OPEN),
        (1j, NOT_PLAIN),
        ({1}, NOT_PLAIN),
        (bytearray(1), NOT_PLAIN),
        (Whole(1), NOT_PLAIN),
        ([Whole(1)], NOT_PLAIN),
        ({Whole(1): 1}, NOT_PLAIN),
        ({1: Whole(1)}, NOT_PLAIN),
        (Pair(1, 2), NOT_PLAIN),
        (Roots(), NOT_PLAIN),
        (OrderedDict(), NOT_PLAIN),
        (defaultdict(list), NOT_PLAIN),
        (Decimal, NOT_PLAIN),
    ],
    ids=repr,
)
def test_a_value_is_plain_or_not(core: Any, value: Any, weight: int) -> None:
    is_plain = weight != NOT_PLAIN
    assert core.are_plain([value], (Decimal,), ()) is is_plain
    assert core.are_plain([1, value, []], (Decimal,), ()) is is_plain
    assert core.are_plain([value, value], (Decimal,), ()) is (weight == FROZEN)


def test_one_of_many_that_is_there_twice_is_found(core: Any) -> None:
    values = [[number] for number in range(5_000)]
    assert core.are_plain(values, (), ())
    values[4_321] = values[17]
    assert not core.are_plain(values, (), ())


def test_no_values_are_plain(core: Any) -> None:
    assert core.are_plain([], (), ())


@pytest.mark.parametrize("place", [lambda part: [part], lambda part: (part,), lambda part: {"a": part}])
@pytest.mark.parametrize("part", [lambda: [1], dict, lambda: (1, [2])], ids=["list", "dict", "tuple"])
def test_what_can_be_changed_is_in_one_place(core: Any, place: Any, part: Any) -> None:
    assert core.are_plain([place(part())], (), ())
    there = part()
    assert not core.are_plain([place(there)], (), ())  # `there` is another place


def test_what_cannot_be_changed_may_be_in_many(core: Any) -> None:
    pair, text = (1, "x"), "y" * 100
    assert core.are_plain([[pair, pair], [pair], {text: text}], (), ())
    assert core.are_plain([(pair, text)], (), ())


def test_the_values_themselves_may_be_elsewhere_but_not_among_them(core: Any) -> None:
    value = [1]
    assert core.are_plain([value], (), ())
    assert not core.are_plain([value, (value,)], (), ())
    assert not core.are_plain([value, value], (), ())


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_an_object_is_as_plain_as_its_attributes(core: Any) -> None:
    part = [1]
    assert core.are_plain([Thing(a=1), 2], (), (Thing,))
    assert core.are_plain([Thing(), Thing(a=[1], b=(2, {}))], (), (int, Thing))
    assert not core.are_plain([Thing(a=part)], (), (Thing,))
    assert not core.are_plain([Thing(a={1})], (), (Thing,))
    assert not core.are_plain([Thing(a=Thing())], (), (Thing,))
    assert not core.are_plain([[Thing()]], (), (Thing,))
    assert not core.are_plain([Thing()], (), ())
    assert not core.are_plain([object()], (), (object,))


def test_attributes_of_two_objects_are_not_plain(core: Any) -> None:
    one, two = Thing(a=1), Thing()
    two.__dict__ = one.__dict__
    assert not core.are_plain([one, two], (), (Thing,))
    assert core.are_plain([Thing(a=1), Thing(a=2)], (), (Thing,))


def test_what_is_one_tuple_in_a_million_places_is_left_alone(core: Any) -> None:
    value: Any = (1,)
    for _ in range(45):
        value = (value, value)
    assert not core.are_plain([value], (), ())


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = (value,)
    return value


def test_what_is_too_deep_or_endless_is_not_plain(core: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert core.are_plain([nested(50)], (), ())
    assert not core.are_plain([nested(51)], (), ())
    assert not core.are_plain([nested(100_000)], (), ())
    assert not core.are_plain([endless], (), ())
    endless.clear()


@pytest.mark.parametrize("arguments", [((), (), ()), ([], []), ([],), (Roots(), (), ()), ([], Pair(int, str))])
def test_other_arguments_are_refused(core: Any, arguments: Any) -> None:
    with pytest.raises(TypeError):
        core.are_plain(*arguments)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just({1}) | st.just([])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(values, max_size=5))
def test_both_say_the_same(both: tuple[Any, Any], items: list[Any]) -> None:
    native, twin = both
    assert native.are_plain(items, (), ()) == twin.are_plain(items, (), ())
