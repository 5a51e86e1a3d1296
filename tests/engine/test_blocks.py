"""Items and results to bytes and back: what arrives is what was sent."""

from __future__ import annotations

import math
import os
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketflex._engine import failures
from pocketflex._engine.blocks import EncodingFailed, encode_items, encode_results
from pocketflex._engine.failures import FailureRecord
from pocketflex._engine.fetching import Fetcher
from pocketflex._engine.grains import Form
from pocketflex._engine.items import ItemReader
from pocketflex._engine.lens import Lens
from pocketflex._engine.results import ResultReader
from pocketflex._engine.shm import Arena
from pocketflex._engine.source import Taken
from pocketflex._engine.writing import Block

AMPLE = 1 << 20
COLUMN = range(1, 8)  # the forms of columns


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


@dataclass(frozen=True)
class Place:
    x: int
    parts: list[int]


class Slots:
    __slots__ = ("__dict__", "x")


@dataclass(slots=True)
class Slotted:
    x: Any
    parts: Any


class Guarded:
    """Loading it would run its own code."""

    __slots__ = ("x",)

    def __init__(self, x: int) -> None:
        self.x = x

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Color(Enum):
    RED = 1
    BLUE = "blue"


class Named(namedtuple("Named", "one")):
    """Has a `__dict__` besides its fields."""


class Zone(tzinfo):
    """A zone of the user's own."""

    def utcoffset(self, _: Any) -> None:
        return None


class Odd(Point):
    def __init__(self) -> None:
        self.x = 1

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class Pair(NamedTuple):
    one: int
    two: int


class Count(int):
    pass


class Text(str):
    __slots__ = ()


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __eq__(self, other: object) -> bool:
        return type(other) is Point and same(self.x, other.x)

    __hash__ = None  # type: ignore[assignment]


class Opaque:
    """Cannot be pickled, in the way that its argument says."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> str:
        raise self.error


class Ends:
    """Both ends of a block's way: an arena, and a lens on it."""

    def __init__(self) -> None:
        self.arena = Arena()
        self.lens = Lens()
        self.released = 0

    def memory(self, segment: int) -> Any:
        if not self.lens.knows(segment):
            self.lens.add(segment, os.dup(self.arena.find(segment).fd))
        return self.lens.source(segment)

    def encode(self, items: Any, grain: int = 4, limit: int = AMPLE) -> Block:
        """Items in a block whose neighbours in memory are not touched."""
        before = self._guard()
        block = encode_items(self.arena, Taken(items, 0, len(items)), grain, limit)
        after = self._guard()
        for guard in (before, after):
            assert set(self.arena.view(guard)) == {0xAA}
        return block

    def _guard(self) -> Any:
        region = self.arena.allocate(64)
        self.arena.view(region)[:] = b"\xaa" * 64
        return region

    def reader(self, block: Block) -> ItemReader:
        return ItemReader(block.region, self.memory, block.length, Fetcher(os.getpid()))

    def items(self, block: Block) -> list[Any]:
        reader = self.reader(block)
        return [item for grain in range(len(self.forms(block))) for item in reader.items(grain)]

    def results(self, block: Block) -> tuple[list[Any], dict[int, Any]]:
        reader = ResultReader(block.region, self.memory(block.region.segment), block.length, self._release)
        results: list[Any] = [None] * block.length
        return results, reader.read(results, 0)

    def _release(self) -> None:
        self.released += 1

    def forms(self, block: Block) -> list[int]:
        """How each grain is written: the table that every block begins with."""
        words = self.arena.view(block.region).cast("q")
        return [words[8 + 4 * grain] for grain in range(words[1])]


@contextmanager
def both_ends() -> Iterator[Ends]:
    ends = Ends()
    try:
        yield ends
    finally:
        for segment in ends.arena.segments():
            ends.lens.forget(segment)
        ends.arena.close()


@pytest.fixture
def ends() -> Iterator[Ends]:
    with both_ends() as ends:
        yield ends


def check_items(items: Any, expected: list[Any], grain: int = 4) -> None:
    """The items arrive in one block, and one grain or all of them may be read at a time."""
    with both_ends() as ends:
        block = ends.encode(items, grain)
        if block.length < len(items):  # a grain of another kind ends a block early
            check_items(items[block.length :], expected[block.length :], grain)
        assert same(ends.items(block), expected[: block.length])
        assert same(list(ends.reader(block).sequence(0, len(ends.forms(block)))), expected[: block.length])


def check_results(results: list[Any]) -> None:
    with both_ends() as ends:
        loaded, failed = ends.results(encode_results(ends.arena, results, {}, Onlooker()))
        assert failed == {}
        assert same(loaded, results)


class Onlooker:
    """A `Watch` that writes down what it is told."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.refused: list[int] = []

    def begin(self, position: int) -> None:
        self.begun.append(position)

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        self.refused.append(position)
        return FailureRecord(failures.dump_error(error), 1, "unpicklable")


def same(a: Any, b: Any) -> bool:
    """Whether two values are the same in type and in every bit."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a.hex() == b.hex() if not math.isnan(a) else math.isnan(b)
    if isinstance(a, complex):
        return same(a.real, b.real) and same(a.imag, b.imag)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and (a.tobytes() == b.tobytes() or a.dtype.hasobject)
    if isinstance(a, np.generic):
        return bool(a.dtype == b.dtype and a.tobytes() == b.tobytes())
    return bool(a == b)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**200), 2**200),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters()),  # surrogates too
    st.text(st.characters(categories=["Cs"]), max_size=3),
    st.binary(),
)
hashables = st.one_of(scalars.filter(lambda value: value == value), st.tuples(st.integers(), st.text()))
values = st.recursive(
    st.one_of(
        scalars,
        st.integers().map(Count),
        st.text().map(Text),
        st.binary().map(bytearray),
        st.frozensets(st.integers()),
        st.datetimes(),
        st.fractions(),
        hnp.arrays(st.sampled_from(["i4", "f8", "?", "c16"]), hnp.array_shapes(min_side=0, max_side=3)),
        st.integers(0, 3).map(lambda n: np.full(n * 800, n, "f8")),  # 0, and larger than what stays in the pickle
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=4),
        inner.map(Point),
    ),
    max_leaves=8,
)
plain_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
    hnp.unicode_string_dtypes(min_len=1, max_len=5),
    hnp.array_dtypes(max_size=3),
    hnp.nested_dtypes(max_itemsize=64).filter(lambda dtype: dtype.itemsize > 0),
)


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Arrays of any dtype, shape and order, contiguous or not."""
    dtype = draw(plain_dtypes).base
    shape = draw(hnp.array_shapes(max_dims=3, min_side=0, max_side=4))
    data = draw(st.binary(min_size=1, max_size=64))
    nbytes = dtype.itemsize * math.prod(shape)
    array = np.frombuffer((data * (nbytes // len(data) + 1))[:nbytes], np.uint8).view(dtype).reshape(shape)
    order = draw(st.sampled_from("CFSRT"))
    if order == "F":
        return np.asfortranarray(array)
    if order == "S":
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if order == "R":
        return array[::-1]
    return array.T if order == "T" else array


@given(st.lists(scalars, min_size=1, max_size=20), st.integers(1, 8))
def test_scalars_arrive_as_they_are(items: list[Any], grain: int) -> None:
    check_items(items, items, grain)
    check_results(items)


@given(
    kind=st.sampled_from([st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()]), data=st.data()
)
def test_scalars_of_one_type_arrive_as_they_are(kind: Any, data: st.DataObject) -> None:
    items = data.draw(st.lists(kind, min_size=1, max_size=30))
    check_items(items, items, data.draw(st.integers(1, 8)))
    check_results(items)


@given(st.lists(values, min_size=1, max_size=8), st.integers(1, 4))
def test_anything_arrives_as_it_is(items: list[Any], grain: int) -> None:
    check_items(items, items, grain)
    check_results(items)


@given(arrays(), st.integers(1, 4))
def test_rows_arrive_as_they_are(array: np.ndarray[Any, Any], grain: int) -> None:
    if not len(array):
        return  # an empty array has no items, so no block
    check_items(array, list(array), grain)
    with both_ends() as ends:
        block = ends.encode(array, grain)
        assert set(ends.forms(block)) == {Form.ROWS}
        whole = ends.reader(block).sequence(0, len(ends.forms(block)))
        assert same(whole, np.ascontiguousarray(array).reshape(array.shape))
        del whole


@given(arrays(), st.integers(1, 5), st.integers(1, 3))
def test_arrays_of_one_form_arrive_as_they_are(array: np.ndarray[Any, Any], count: int, grain: int) -> None:
    items = [array.copy() for _ in range(count)]
    check_items(items, items, grain)
    check_results(items)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10.0)[::2][:1],  # numpy calls one element contiguous, whatever its stride
        np.arange(10.0).reshape(5, 2)[:, :1],
        np.arange(12).reshape(3, 4).T,
        np.zeros((4, 0)),
        np.zeros((2, 0, 3), "i2"),
        np.array(["2020-01-01", "NaT"], "M8[D]"),
        np.array([(1, 2.5, b"ab")], [("a", "<i4"), ("b", ">f8"), ("c", "S3")]),
        np.zeros(3, [("pos", "f4", (2, 2)), ("id", "u1")]),
        np.zeros(3, np.dtype({"names": ["a"], "formats": ["i4"], "offsets": [4], "itemsize": 12})),
        np.array(["ä", "\U0001f600"]),
        np.array([1.5, np.nan, -0.0], ">f2"),
        np.broadcast_to(np.arange(3), (4, 3)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_odd_arrays_arrive_as_they_are(array: np.ndarray[Any, Any]) -> None:
    check_items(array, list(array))
    check_items([array] * 3, [array] * 3)
    check_results([array] * 3)


@pytest.mark.parametrize(
    "other",
    [
        np.zeros(3, ">f8"),
        np.zeros(3, "f4"),
        np.zeros((3, 1)),
        np.zeros(4),
        np.zeros(()),
        np.zeros(3, object),
        np.float64(0),
        [0.0] * 3,
        np.ma.masked_array([0.0] * 3),
        np.zeros(6)[::2],
        np.asfortranarray(np.zeros((2, 3))),
    ],
    ids=repr,
)
def test_arrays_that_differ_are_not_made_alike(other: Any) -> None:
    items = [np.zeros(3), other, np.zeros(3)]
    with both_ends() as ends:
        for loaded in (
            ends.items(ends.encode(items)),
            ends.results(encode_results(ends.arena, items, {}, Onlooker()))[0],
        ):
            assert [type(item) for item in loaded] == [type(item) for item in items]
            assert [getattr(item, "dtype", None) for item in loaded] == [getattr(item, "dtype", None) for item in items]
            assert [np.shape(item) for item in loaded] == [np.shape(item) for item in items]
        del loaded


@pytest.mark.parametrize("length", [1, 4, 5, 63])
@pytest.mark.parametrize("make", [list, np.arange, lambda n: [[at] for at in range(n)], lambda n: [None, 1] * n])
def test_all_grains_but_the_last_are_full(ends: Ends, make: Any, length: int) -> None:
    items = make(range(length)) if make is list else make(length)
    block = ends.encode(items)
    reader = ends.reader(block)
    lengths = [reader.length(grain) for grain in range(len(ends.forms(block)))]
    assert sum(lengths) == block.length == len(items)
    assert set(lengths[:-1]) <= {4}
    assert 1 <= lengths[-1] <= 4


@pytest.mark.parametrize(
    ("items", "form"),
    [
        ([1, 2], COLUMN),
        ([1.0, float("nan"), -0.0], COLUMN),
        (["x", "\xe4"], COLUMN),
        ([b"y"], COLUMN),
        ([None, None], COLUMN),
        ([True], COLUMN),
        ([1, 2.0, "x", b"y", None, True, 1j, 2**100], [Form.MARSHAL]),
        ([2**100], [Form.MARSHAL]),
        (["\ud800"], [Form.MARSHAL]),
        ([Count(1)], [Form.PICKLED]),
        ([1, Count(1)], [Form.PICKLED]),
        ([Text("a")], [Form.PICKLED]),
        ([[1]], [Form.PLAIN]),
        ([(1, "x"), None, {"a": [2.5]}], [Form.PLAIN]),
        ([(np.float64(1), date(2020, 1, 1), Decimal(1))], [Form.PLAIN]),
        ([Pair(1, 2)], [Form.MIXED]),
        ([(1, Count(1))], [Form.PICKLED]),
        ([{1}, frozenset({(1, 2)})], [Form.PLAIN]),
        ([[np.arange(3)]], [Form.PICKLED]),
        ([[bytearray(3)]], [Form.PICKLED]),
        ([OrderedDict(a=1)], [Form.PICKLED]),
        ([Point(1), Point(2)], [Form.OBJECTS]),
        ([Place(1, [2])], [Form.OBJECTS]),
        ([Point(1), Place(1, [2])], [Form.MIXED]),
        ([Point(Point(1))], [Form.MIXED]),
        ([[Point(1)]], [Form.MIXED]),
        ([Point({1})], [Form.OBJECTS]),
        ([Point({1j, Place})], [Form.PICKLED]),
        ([Slots()], [Form.PICKLED]),
        ([Odd()], [Form.PICKLED]),
        ([ValueError("x")], [Form.PICKLED]),
        ([SimpleNamespace(a=1)], [Form.PICKLED]),
        ([1, datetime(2020, 1, 1, tzinfo=UTC), time(1)], [Form.PLAIN]),
        ([datetime(2020, 1, 1, tzinfo=Zone())], [Form.PICKLED]),
        ([Color.RED, (Color.BLUE, 1)], [Form.MIXED]),
        ([Path("a"), PurePosixPath("b/c")], [Form.MIXED]),
        ([Fraction(1, 3), {"id": UUID(int=1)}], [Form.MIXED]),
        ([Slotted(1, [2]), [Slotted(Pair(1, 2), "x")]], [Form.MIXED]),
        ([Slotted(1, {1j, b"x"})], [Form.MIXED]),
        ([Slotted(Odd(), 2)], [Form.PICKLED]),
        ([Guarded(1)], [Form.PICKLED]),
        ([Named(1)], [Form.PICKLED]),
        ([np.float64(1)], [Form.NUMBERS]),
        ([np.float64(1), np.float32(1)], [Form.PLAIN]),
        ([np.float64(1), 1.0], [Form.PLAIN]),
        ([np.datetime64("2020-01-01")], [Form.PICKLED]),
        ([np.str_("x")], [Form.PICKLED]),
        ([np.void(b"x")], [Form.PICKLED]),
        (np.arange(3), [Form.ROWS]),
        ([np.arange(3)] * 2, [Form.ARRAYS]),
        ([np.arange(3), np.arange(4)], [Form.RAGGED]),
        ([np.arange(3), np.arange(4.0)], [Form.PICKLED]),
        ([np.arange(3), np.arange(4).reshape(2, 2)], [Form.PICKLED]),
        ([np.zeros((2, 3)), np.zeros((3, 2)).T], [Form.PICKLED]),
        ([np.array([None]), np.array([1, "x"], object)], [Form.PICKLED]),
    ],
    ids=str,
)
def test_only_exact_types_are_written_without_pickle(ends: Ends, items: Any, form: Any) -> None:
    block = ends.encode(items, grain=100)
    (found,) = ends.forms(block)
    assert found in form
    loaded = ends.items(block)
    assert [type(item) for item in loaded] == [type(item) for item in items]


@pytest.mark.parametrize("dtype", ["u1", "f8", "<M8[s]", "U3", [("a", "i1"), ("b", "f8")], "c16", ">i4"], ids=str)
@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_arrays_of_different_shapes_lie_side_by_side(ends: Ends, dtype: Any, ndim: int) -> None:
    chance = np.random.default_rng(ndim)
    shapes = [(600, *[1] * (ndim - 1)), *(tuple(chance.integers(0, 5, ndim)) for _ in range(20))]
    arrays = [chance.integers(0, 100, shape).astype(dtype) for shape in shapes]
    block = ends.encode(arrays, grain=7)
    assert set(ends.forms(block)) == {Form.RAGGED}
    loaded = ends.items(block)
    results, failed = ends.results(encode_results(ends.arena, arrays, {}, Onlooker()))
    assert failed == {}
    for arrived in (loaded, results):
        assert [(one.dtype, one.shape) for one in arrived] == [(one.dtype, one.shape) for one in arrays]
        assert all(np.array_equal(one, other) for one, other in zip(arrived, arrays, strict=True))
        assert all(one.flags.writeable and one.flags.aligned for one in arrived)
    del loaded, results, arrived
    assert ends.released == 1


def test_a_limit_splits_arrays_of_different_shapes(ends: Ends) -> None:
    arrays = [np.zeros(length) for length in range(1, 100)]
    block = ends.encode(arrays, grain=3, limit=1000)
    assert block.length == 15  # 8 * (1 + ... + 15) is 960
    assert ends.encode(arrays[50:], grain=3, limit=10).length == 1


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_buffer_is_of_the_item_that_has_it(ends: Ends, at: int) -> None:
    items: list[Any] = [{number} for number in range(3)]
    items[at] = [np.full(600, 7)]
    loaded = ends.items(ends.encode(items, grain=10))
    assert same(loaded, items)
    del loaded


@pytest.mark.parametrize("character", "?bhilqBHILQefdFD")
def test_numbers_of_numpy_arrive_as_they_were(ends: Ends, character: str) -> None:
    chance = np.random.default_rng(0)
    dtype = np.dtype(character)
    octets = chance.integers(0, 2 if character == "?" else 256, 50 * dtype.itemsize, np.uint8)  # NaNs of all kinds too
    numbers = list(octets.view(dtype))
    block = ends.encode(numbers, grain=20)
    assert set(ends.forms(block)) == {Form.NUMBERS}
    loaded = ends.items(block)
    assert {type(number) for number in loaded} == {dtype.type}
    assert np.array(loaded, dtype).tobytes() == octets.tobytes()


@given(
    st.lists(st.one_of(st.binary(max_size=300), values), min_size=1, max_size=30),
    st.integers(1, 8),
    st.integers(1, 2000),
)
def test_a_limit_splits_and_loses_nothing(items: list[Any], grain: int, limit: int) -> None:
    with both_ends() as ends:
        arrived: list[Any] = []
        while len(arrived) < len(items):
            block = ends.encode(items[len(arrived) :], grain, limit)
            assert block.length >= 1
            arrived += ends.items(block)
        assert same(arrived, items)
        del arrived


@given(st.integers(1, 50), st.integers(1, 8), st.integers(1, 400))
def test_a_limit_splits_rows_and_loses_none(count: int, grain: int, limit: int) -> None:
    array = np.arange(count * 3, dtype="i8").reshape(count, 3)
    for items in (array, list(array)):
        with both_ends() as ends:
            at = 0
            while at < count:
                block = ends.encode(items[at:], grain, limit)
                assert 1 <= block.length <= max(1, limit // 24)
                assert same(ends.items(block), list(array[at : at + block.length]))
                at += block.length


@pytest.mark.parametrize("grain", [1, 16, 1000])
@pytest.mark.parametrize(
    "item", [b"x" * 1000, "x" * 1000, [b"x" * 1000], 1 << 8000, np.zeros(125)], ids=lambda item: type(item).__name__
)
@pytest.mark.parametrize("first", [[], [None]], ids=["alike", "mixed"])
def test_a_block_far_above_the_limit_is_cut(ends: Ends, item: Any, grain: int, first: list[Any]) -> None:
    block = ends.encode([*first, *[item] * 1000], grain, 10_000)
    assert block.length < 1000
    assert block.region.nbytes < 50_000


def test_one_item_above_the_limit_is_a_block(ends: Ends) -> None:
    items = [b"x" * 100_000, b"y"]
    block = ends.encode(items, 1, 10)
    assert ends.items(block) == items[: block.length]


def test_items_may_begin_in_the_middle_of_a_list(ends: Ends) -> None:
    for items in (list(range(20)), [[at] for at in range(20)]):
        block = encode_items(ends.arena, Taken(items, 7, 12), 2, AMPLE)
        assert ends.items(block) == items[7:12]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError(), StopIteration()], ids=repr)
@pytest.mark.parametrize("before", [1, 3, 4, 9])
def test_an_item_that_cannot_be_pickled_has_the_block_of_those_before_it(
    ends: Ends, error: BaseException, before: int
) -> None:
    items = [[number] for number in range(before)]
    with pytest.raises(EncodingFailed) as caught:
        ends.encode([*items, Opaque(error), ["after"]])
    assert caught.value.before is not None
    assert ends.items(caught.value.before) == items
    assert caught.value.cause is error


def test_a_first_item_that_cannot_be_pickled_has_no_block_before_it(ends: Ends) -> None:
    with pytest.raises(EncodingFailed) as caught:
        ends.encode([Opaque(ValueError("no")), 1])
    assert caught.value.before is None


def test_ctrl_c_while_pickling_is_no_failure_of_the_item(ends: Ends) -> None:
    with pytest.raises(KeyboardInterrupt):
        ends.encode([Opaque(KeyboardInterrupt())])


class Trap:
    """An item whose unpickling raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def test_an_item_that_cannot_be_unpickled_costs_no_other(ends: Ends) -> None:
    items: Any = ends.reader(ends.encode([[1], Trap(), [3]])).items(0)
    assert next(items) == [1]
    with pytest.raises(ValueError, match="not a number"):
        next(items)
    assert next(items) == [3]
    assert next(items, "end") == "end"


def test_a_result_that_cannot_be_unpickled_costs_no_other(ends: Ends) -> None:
    results, failed = ends.results(encode_results(ends.arena, [[1], Trap(), [3]], {}, Onlooker()))
    assert (results[0], results[2]) == ([1], [3])
    assert list(failed) == [1]
    assert isinstance(failed[1], ValueError)


def test_results_are_announced_before_they_are_pickled_and_refused_one_by_one(ends: Ends) -> None:
    watch = Onlooker()
    record = FailureRecord(failures.dump_error(ValueError("failed")), 2, "exception")
    block = encode_results(ends.arena, [[0], None, Opaque(TypeError("no")), [3]], {1: record}, watch)
    results, failed = ends.results(block)
    assert watch.begun == [0, 2, 3]
    assert watch.refused == [2]
    assert (results[0], results[3]) == ([0], [3])
    assert failed[1] == record
    assert failed[2].kind == "unpicklable"


@pytest.mark.parametrize("others", [[1, 2], [np.zeros(3)] * 2], ids=["scalars", "arrays"])
def test_a_failure_among_results_of_one_kind_is_told(ends: Ends, others: list[Any]) -> None:
    record = FailureRecord(failures.dump_error(ValueError("failed")), 1, "exception")
    results, failed = ends.results(encode_results(ends.arena, [others[0], None, others[1]], {1: record}, Onlooker()))
    assert failed == {1: record}
    assert same([results[0], results[2]], others)


def test_a_result_that_is_itself_a_failure_record_is_a_result() -> None:
    record = FailureRecord(failures.dump_error(ValueError("x")), 1, "exception")
    check_results([record, [1]])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(1, 3))
def test_arrays_leave_the_pickle_aligned_and_as_views(sizes: list[int], grain: int) -> None:
    items = [[np.full(600 * size, number, "f8") for number in range(size)] for size in sizes]
    with both_ends() as ends:
        block = ends.encode(items, grain)
        reader = ends.reader(block)
        loaded = [item for number in range(len(ends.forms(block))) for item in reader.items(number)]
        assert same(loaded, items)
        assert reader.is_held() == any(sizes)
        root = np.frombuffer(ends.memory(block.region.segment), np.uint8)
        for array in (array for item in loaded for array in item):
            assert np.shares_memory(array, root)
            assert (array.ctypes.data - root.ctypes.data) % 64 == 0
            array += 1  # each item is run by one worker, so it may write to its own
        loaded.clear()


@pytest.mark.parametrize(
    "keep",
    [
        lambda rows: rows[0],
        lambda rows: rows[0][1:],
        lambda rows: rows[0].T.reshape(2, 1),
        lambda rows: memoryview(rows[0]),
        lambda rows: {"deep": [rows[0].view("u1")]},
    ],
    ids=["row", "slice", "reshaped", "memoryview", "inside a dict"],
)
@pytest.mark.parametrize("form", ["rows", "alike", "pickled"])
def test_a_view_that_lives_holds_its_block(ends: Ends, form: str, keep: Any) -> None:
    items: Any = {
        "rows": np.arange(2000.0).reshape(1000, 2)[:2],
        "alike": [np.arange(1000.0)] * 2,
        "pickled": [np.arange(1000.0), np.arange(1001.0)],
    }[form]
    reader = ends.reader(ends.encode(items))
    assert not reader.is_held()
    rows: Any = [row[:2] for row in reader.items(0)]
    kept = keep(rows)
    del rows
    assert reader.is_held()
    del kept
    assert not reader.is_held()


@pytest.mark.parametrize(
    "results",
    [[1, 2], ["a", None], [[1], {}], [np.zeros(3)] * 2, [np.zeros(3), np.zeros(4)], [np.zeros(0)] * 3],
    ids=["column", "mixed", "pickled", "small arrays", "small arrays that differ", "empty arrays"],
)
def test_a_block_whose_results_are_copies_is_released_at_once(ends: Ends, results: list[Any]) -> None:
    loaded, _ = ends.results(encode_results(ends.arena, results, {}, Onlooker()))
    assert ends.released == 1
    assert len(loaded) == len(results)


@pytest.mark.parametrize(
    "results",
    [[np.arange(2000.0)] * 3, [np.arange(2000.0), np.arange(3000.0)], [{"deep": np.arange(2000.0)}, 1]],
    ids=["alike", "different", "deep"],
)
@pytest.mark.parametrize("keep", [0, -1])
def test_a_block_of_large_results_is_released_with_the_last_of_them(ends: Ends, results: list[Any], keep: int) -> None:
    loaded, _ = ends.results(encode_results(ends.arena, results, {}, Onlooker()))
    assert same(loaded, results)
    arrays = [value["deep"] if isinstance(value, dict) else value for value in loaded if type(value) is not int]
    kept = arrays[keep][5:]
    kept[0] = 7  # it is the caller's own, to be written to
    del loaded, arrays
    assert ends.released == 0
    del kept
    assert ends.released == 1


def test_a_block_is_released_where_nothing_can_be_loaded(ends: Ends) -> None:
    _, failed = ends.results(encode_results(ends.arena, [Trap(), Trap()], {}, Onlooker()))
    assert len(failed) == 2
    assert ends.released == 1


def test_an_array_that_is_read_only_stays_so(ends: Ends) -> None:
    array = np.arange(2000.0)
    array.flags.writeable = False
    assert [row.flags.writeable for row in ends.items(ends.encode([array, array]))] == [False, False]
    assert not ends.results(encode_results(ends.arena, [array], {}, Onlooker()))[0][0].flags.writeable
    rows = ends.reader(ends.encode(array.reshape(4, 500))).sequence(0, 1)
    assert not rows.flags.writeable
    del rows


def test_a_fortran_array_stays_one(ends: Ends) -> None:
    array = np.asfortranarray(np.arange(4000.0).reshape(40, 100))
    (loaded,) = ends.items(ends.encode([array]))
    assert loaded.flags.f_contiguous
    assert same(loaded, array)
    del loaded


@pytest.mark.parametrize("encode", [lambda ends: ends.encode([[1]] * 100), lambda ends: ends.encode(["x"] * 100)])
def test_a_block_for_which_there_is_no_memory_is_an_oserror(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, encode: Callable[[Ends], Block]
) -> None:
    def allocate(nbytes: int) -> Any:
        raise OSError("no memory")

    monkeypatch.setattr(ends, "_guard", lambda: None)
    monkeypatch.setattr(ends.arena, "allocate", allocate)
    with pytest.raises(OSError, match="no memory"):
        encode(ends)


@pytest.mark.parametrize("items", [["\ud800"] * 10, [1 << 70], [1, "a"]], ids=str)
def test_memory_of_a_column_that_is_none_is_given_back(ends: Ends, items: list[Any]) -> None:
    for _ in range(3000):
        ends.arena.free(encode_items(ends.arena, Taken(items, 0, len(items)), 100, AMPLE).region)
    assert ends.arena.segments() == [1]
