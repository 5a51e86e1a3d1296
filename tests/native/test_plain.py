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
def test_a_value_weighs_what_it_holds(core: Any, value: Any, weight: int) -> None:
    assert core.weigh([value], (Decimal,), ()) == weight
    assert core.weigh([1, value], (Decimal,), ()) == weight
    assert core.weigh([value, []], (Decimal,), ()) == (OPEN if weight else NOT_PLAIN)


def test_no_values_are_plain(core: Any) -> None:
    assert core.weigh([], (), ()) == FROZEN


@pytest.mark.parametrize("place", [lambda part: [part], lambda part: (part,), lambda part: {"a": part}])
@pytest.mark.parametrize("part", [lambda: [1], dict, lambda: (1, [2])], ids=["list", "dict", "tuple"])
def test_what_can_be_changed_is_in_one_place(core: Any, place: Any, part: Any) -> None:
    assert core.weigh([place(part())], (), ()) == OPEN
    there = part()
    assert core.weigh([place(there)], (), ()) == NOT_PLAIN  # `there` is another place


def test_what_cannot_be_changed_may_be_in_many(core: Any) -> None:
    pair, text = (1, "x"), "y" * 100
    assert core.weigh([[pair, pair], [pair], {text: text}], (), ()) == OPEN
    assert core.weigh([(pair, text)], (), ()) == FROZEN


def test_the_values_themselves_may_be_elsewhere(core: Any) -> None:
    value = [1]
    assert core.weigh([value, (value,)], (), ()) == NOT_PLAIN
    assert core.weigh([value, value], (), ()) == OPEN


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def test_an_object_weighs_what_its_attributes_do(core: Any) -> None:
    part = [1]
    assert core.weigh([Thing(a=1), 2], (), (Thing,)) == OPEN
    assert core.weigh([Thing(), Thing(a=[1], b=(2, {}))], (), (int, Thing)) == OPEN
    assert core.weigh([Thing(a=part)], (), (Thing,)) == NOT_PLAIN
    assert core.weigh([Thing(a={1})], (), (Thing,)) == NOT_PLAIN
    assert core.weigh([Thing(a=Thing())], (), (Thing,)) == NOT_PLAIN
    assert core.weigh([[Thing()]], (), (Thing,)) == NOT_PLAIN
    assert core.weigh([Thing()], (), ()) == NOT_PLAIN
    assert core.weigh([object()], (), (object,)) == NOT_PLAIN


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = (value,)
    return value


def test_what_is_too_deep_or_endless_is_not_plain(core: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert core.weigh([nested(50)], (), ()) == FROZEN
    assert core.weigh([nested(51)], (), ()) == NOT_PLAIN
    assert core.weigh([nested(100_000)], (), ()) == NOT_PLAIN
    assert core.weigh([endless], (), ()) == NOT_PLAIN
    endless.clear()


@pytest.mark.parametrize("arguments", [((), (), ()), ([], []), ([],), (Roots(), (), ()), ([], Pair(int, str))])
def test_other_arguments_are_refused(core: Any, arguments: Any) -> None:
    with pytest.raises(TypeError):
        core.weigh(*arguments)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just({1}) | st.just([])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(values, max_size=5))
def test_both_weigh_the_same(both: tuple[Any, Any], items: list[Any]) -> None:
    native, twin = both
    assert native.weigh(items, (), ()) == twin.weigh(items, (), ())
