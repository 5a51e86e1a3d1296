"""Which values may be pickled as one: plain ones, of which nothing that can be changed is in two of them."""

from __future__ import annotations

import gc
from collections import OrderedDict, defaultdict
from datetime import UTC, datetime, time, timezone, tzinfo
from decimal import Decimal
from typing import Any, ClassVar, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflex._engine.scalars import Kinds

NOT_PLAIN, FROZEN, OPEN = range(3)


class Whole(int):
    pass


class Pair(NamedTuple):
    one: Any
    two: Any


class Triple(NamedTuple):
    one: Any
    two: Any
    three: Any


class Roots(list[Any]):
    pass


class Zone(tzinfo):
    pass


def kinds(**given: tuple[type, ...]) -> Kinds:
    return Kinds(**{"leaves": (), "dated": (), "zones": (), **given})


KNOWN = kinds()


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
        (set(), OPEN),
        ({1, "x", (1, 2)}, OPEN),
        (frozenset({1}), FROZEN),
        ({frozenset({1}): 1}, OPEN),
        ({frozenset({(1, 2)})}, OPEN),
        (frozenset({1j}), NOT_PLAIN),
        (datetime(2020, 1, 1), FROZEN),
        (datetime(2020, 1, 1, tzinfo=UTC), FROZEN),
        ({datetime(2020, 1, 1): 1}, OPEN),
        (datetime(2020, 1, 1, tzinfo=Zone()), NOT_PLAIN),
        (time(1, tzinfo=UTC), NOT_PLAIN),
        (Pair(1, (2, "x")), FROZEN),
        (Pair(1, [2]), OPEN),
        ({Pair(1, 2): Pair(1, 2)}, OPEN),
        (Pair(1, 2j), NOT_PLAIN),
        (Triple(1, 2, 3), NOT_PLAIN),
        (bytearray(1), NOT_PLAIN),
        (Whole(1), NOT_PLAIN),
        ([Whole(1)], NOT_PLAIN),
        ({Whole(1): 1}, NOT_PLAIN),
        ({1: Whole(1)}, NOT_PLAIN),
        (Roots(), NOT_PLAIN),
        (OrderedDict(), NOT_PLAIN),
        (defaultdict(list), NOT_PLAIN),
        (Decimal, NOT_PLAIN),
    ],
    ids=repr,
)
def test_a_value_is_plain_or_not(core: Any, value: Any, weight: int) -> None:
    is_plain = weight != NOT_PLAIN
    known = kinds(leaves=(Decimal,), dated=(datetime,), zones=(timezone,), tuples=(Pair,))
    assert (core.are_plain([value], known) is True) is is_plain
    assert (core.are_plain([1, value, []], known) is True) is is_plain
    assert (core.are_plain([value, value], known) is True) is (weight == FROZEN)


def test_one_of_many_that_is_there_twice_is_found(core: Any) -> None:
    values = [[number] for number in range(5_000)]
    assert core.are_plain(values, KNOWN)
    values[4_321] = values[17]
    assert not core.are_plain(values, KNOWN)


def test_no_values_are_plain(core: Any) -> None:
    assert core.are_plain([], KNOWN)


@pytest.mark.parametrize("place", [lambda part: [part], lambda part: (part,), lambda part: {"a": part}])
@pytest.mark.parametrize("part", [lambda: [1], dict, lambda: (1, [2])], ids=["list", "dict", "tuple"])
def test_what_can_be_changed_is_in_one_place(core: Any, place: Any, part: Any) -> None:
    assert core.are_plain([place(part())], KNOWN)
    there = part()
    assert not core.are_plain([place(there)], KNOWN)  # `there` is another place


def test_what_cannot_be_changed_may_be_in_many(core: Any) -> None:
    pair, text = (1, "x"), "y" * 100
    assert core.are_plain([[pair, pair], [pair], {text: text}], KNOWN)
    assert core.are_plain([(pair, text)], KNOWN)


def test_the_values_themselves_may_be_elsewhere_but_not_among_them(core: Any) -> None:
    value = [1]
    assert core.are_plain([value], KNOWN)
    assert not core.are_plain([value, (value,)], KNOWN)
    assert not core.are_plain([value, value], KNOWN)


class Thing:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slots:
    __slots__ = ("one", "two", "unset")
    __slotnames__: ClassVar = ["one", "two", "unset"]  # as `copyreg` leaves it there

    def __init__(self, one: Any, two: Any) -> None:
        self.one, self.two = one, two


def test_an_object_is_as_plain_as_its_attributes(core: Any) -> None:
    part, top = [1], kinds(top=(Thing,))
    assert core.are_plain([Thing(a=1), 2], top) is True
    assert core.are_plain([Thing(), Thing(a=[1], b=(2, {}))], kinds(top=(int, Thing))) is True
    assert core.are_plain([Thing(a=part)], top) is False
    assert core.are_plain([Thing(a={1}), Thing(a=Thing)], top) is type
    assert core.are_plain([Thing(a=Thing())], top) is Thing
    assert core.are_plain([[Thing()]], top) is Thing
    assert core.are_plain([Thing()], KNOWN) is Thing
    assert core.are_plain([object()], kinds(top=(object,))) is False


@pytest.mark.parametrize("make", [lambda part: Thing(a=part), lambda part: Slots(1, part)], ids=["dict", "slots"])
def test_an_object_within_another_value_is_in_one_place_too(core: Any, make: Any) -> None:
    known = kinds(objects=(Thing,), slotted=(Slots,))
    assert core.are_plain([make([1])], known) is True
    assert core.are_plain([[make([1])], {"a": make(make((1,)))}], known) is True
    there, part = make(1), [1]
    assert core.are_plain([[there]], known) is False
    assert core.are_plain([make(part)], known) is False
    assert core.are_plain([make(2j)], known) is complex
    assert core.are_plain([{make(1)}], known) is False  # how it is hashed is for its class to say
    assert core.are_plain([{make(1): 1}], known) is False


@pytest.mark.parametrize("name", ["__reduce_ex__", "__reduce__", "__getstate__", "__class__"])
def test_an_object_that_pickle_asks_itself_is_not_plain(core: Any, name: str) -> None:
    odd = Thing(a=1)
    odd.__dict__[name] = 1
    assert core.are_plain([odd], kinds(top=(Thing,))) is False
    assert core.are_plain([[odd]], kinds(objects=(Thing,))) is False


def test_slots_of_a_class_that_has_no_list_of_them_are_not_known(core: Any) -> None:
    class Bare:
        __slots__ = ("one",)

    assert core.are_plain([Bare()], kinds(slotted=(Bare,))) is False


def test_the_first_type_that_is_not_known_is_named(core: Any) -> None:
    assert core.are_plain([1, [], ({"a": (1, Decimal(1), 1j)},), 1j], KNOWN) is Decimal
    assert core.are_plain([1, Triple(1, 2, 3)], KNOWN) is Triple


def test_attributes_of_two_objects_are_not_plain(core: Any) -> None:
    one, two = Thing(a=1), Thing()
    two.__dict__ = one.__dict__
    assert not core.are_plain([one, two], kinds(top=(Thing,)))
    assert core.are_plain([Thing(a=1), Thing(a=2)], kinds(top=(Thing,)))


def test_what_is_one_tuple_in_a_million_places_is_left_alone(core: Any) -> None:
    value: Any = (1,)
    for _ in range(45):
        value = (value, value)
    assert not core.are_plain([value], KNOWN)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = (value,)
    return value


def test_what_is_too_deep_or_endless_is_not_plain(core: Any) -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert core.are_plain([nested(50)], KNOWN)
    assert not core.are_plain([nested(51)], KNOWN)
    assert not core.are_plain([nested(100_000)], KNOWN)
    assert not core.are_plain([endless], KNOWN)
    endless.clear()


@pytest.mark.parametrize(
    "arguments",
    [((), KNOWN), ([], []), ([],), (Roots(), KNOWN), ([], Pair(int, str)), ([], KNOWN[1:]), ([], ([],) * 7)],
)
def test_other_arguments_are_refused(core: Any, arguments: Any) -> None:
    with pytest.raises(TypeError):
        core.are_plain(*arguments)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.just({1}) | st.just([])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner, max_size=3),
)


class Bare:
    """Its `__dict__` is not made before somebody asks for it."""

    def __init__(self, a: int) -> None:
        self.a = a


def test_no_garbage_is_looked_for_meanwhile(core: Any) -> None:
    if core.__name__ != "pocketflex._native":
        pytest.skip("the twin makes no objects of its own meanwhile")
    seen: list[str] = []
    things = [Bare(index) for index in range(5_000)]
    gc.collect()
    gc.callbacks.append(lambda phase, _: seen.append(phase))
    try:
        assert core.are_plain(things, kinds(top=(Bare,))) is True
        during = len(seen)
    finally:
        gc.callbacks.pop()
    assert (during, gc.isenabled()) == (0, True)


@given(st.lists(values, max_size=5))
def test_both_say_the_same(both: tuple[Any, Any], items: list[Any]) -> None:
    native, twin = both
    assert native.are_plain(items, KNOWN) == twin.are_plain(items, KNOWN)
