"""Items and results to bytes and back: what arrives is what was sent."""

from __future__ import annotations

import math
import pickle
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pocketflex._engine import failures
from pocketflex._engine.blocks import Block, Encoded, EncodingFailed, Kind, encode_items, encode_results
from pocketflex._engine.failures import FailureRecord
from pocketflex._engine.reading import ItemReader, read_results
from pocketflex._engine.shm import Region

AMPLE = 1 << 20
OFFSET = 64  # a region seldom begins at 0


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


def place(encoded: Encoded) -> tuple[Block, bytearray]:
    """The block in memory of its own, behind and before other bytes."""
    memory = bytearray(b"\xaa" * (OFFSET + encoded.nbytes + 32))
    region = Region(1, OFFSET, max(encoded.nbytes, 1))
    view = memoryview(memory)[OFFSET : OFFSET + encoded.nbytes]
    block = encoded.write(view, region)
    view.release()
    assert memory[:OFFSET] == b"\xaa" * OFFSET
    assert memory[OFFSET + encoded.nbytes :] == b"\xaa" * 32
    return block, memory


def through_items(items: Any, limit: int = AMPLE) -> list[Any]:
    block, memory = place(encode_items(items, limit))
    return list(ItemReader(block, memory).iterate())


def through_results(results: list[Any]) -> list[Any]:
    block, memory = place(encode_results(results, {}, Onlooker()))
    loaded, failed = read_results(block, memoryview(memory)[OFFSET:])
    assert failed == {}
    return loaded


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


@given(st.lists(scalars, max_size=20))
def test_scalars_arrive_as_they_are(items: list[Any]) -> None:
    assert same(through_items(items), items)
    assert same(through_results(items), items)


@given(st.lists(values, max_size=8))
def test_anything_arrives_as_it_is(items: list[Any]) -> None:
    assert same(through_items(items), items)
    assert same(through_results(items), items)


@given(arrays())
def test_rows_arrive_as_they_are(array: np.ndarray[Any, Any]) -> None:
    if not len(array):
        return  # an empty array has no items, so no block
    block, memory = place(encode_items(array, AMPLE))
    assert block.kind is Kind.ROWS
    rows = list(ItemReader(block, memory).iterate())
    assert same(rows, list(array))
    assert same(ItemReader(block, memory).sequence(), np.ascontiguousarray(array).reshape(array.shape))


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
    rows = through_items(array)
    assert same(rows, list(array))


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        ([1, 2.0, "x", b"y", None, True, 1j, 2**100], Kind.SCALARS),
        ([], Kind.SCALARS),
        ([Count(1)], Kind.PICKLED),
        ([Text("a")], Kind.PICKLED),
        ([[1]], Kind.PICKLED),
        ([1, datetime(2020, 1, 1, tzinfo=UTC)], Kind.PICKLED),
        ([np.float64(1)], Kind.PICKLED),
        (np.arange(3), Kind.ROWS),
    ],
    ids=str,
)
def test_only_exact_types_are_written_without_pickle(items: Any, kind: Kind) -> None:
    assert encode_items(items, AMPLE).kind is kind
    assert [type(item) for item in through_items(items)] == [type(item) for item in items]


@given(st.lists(st.one_of(st.binary(max_size=300), values), min_size=1, max_size=30), st.integers(1, 2000))
def test_a_limit_splits_and_loses_nothing(items: list[Any], limit: int) -> None:
    arrived: list[Any] = []
    while len(arrived) < len(items):
        encoded = encode_items(items[len(arrived) :], limit)
        assert encoded.length >= 1
        block, memory = place(encoded)
        arrived += ItemReader(block, memory).iterate()
    assert same(arrived, items)


@given(st.integers(1, 50), st.integers(1, 400))
def test_a_limit_splits_rows_and_loses_none(count: int, limit: int) -> None:
    array = np.arange(count * 3, dtype="i8").reshape(count, 3)
    at = 0
    while at < count:
        encoded = encode_items(array[at:], limit)
        assert encoded.length >= 1
        assert encoded.nbytes <= max(limit, 24)
        assert same(through_items(array[at:], limit), list(array[at : at + encoded.length]))
        at += encoded.length


def test_a_block_of_scalars_far_above_the_limit_is_cut() -> None:
    encoded = encode_items([b"x" * 1000] * 1000, 10_000)
    assert encoded.length < 1000
    assert encoded.nbytes < 50_000


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), RecursionError(), StopIteration()], ids=repr)
@pytest.mark.parametrize("before", [0, 1, 3])
def test_an_item_that_cannot_be_pickled_has_the_block_of_those_before_it(error: BaseException, before: int) -> None:
    items = [[number] for number in range(before)]
    with pytest.raises(EncodingFailed) as caught:
        encode_items([*items, Opaque(error), ["after"]], AMPLE)
    block, memory = place(caught.value.before)
    assert list(ItemReader(block, memory).iterate()) == items
    assert caught.value.cause is error


def test_ctrl_c_while_pickling_is_no_failure_of_the_item() -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_items([Opaque(KeyboardInterrupt())], AMPLE)


class Trap:
    """An item whose unpickling raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def test_an_item_that_cannot_be_unpickled_costs_no_other() -> None:
    block, memory = place(encode_items([[1], Trap(), [3]], AMPLE))
    items = ItemReader(block, memory).iterate()
    assert next(items) == [1]
    with pytest.raises(ValueError, match="not a number"):
        next(items)
    assert next(items) == [3]
    assert next(items, "end") == "end"


def test_a_result_that_cannot_be_unpickled_costs_no_other() -> None:
    block, memory = place(encode_results([[1], Trap(), [3]], {}, Onlooker()))
    results, failed = read_results(block, memoryview(memory)[OFFSET:])
    assert (results[0], results[2]) == ([1], [3])
    assert list(failed) == [1]
    assert isinstance(failed[1], ValueError)


def test_results_are_announced_before_they_are_pickled_and_refused_one_by_one() -> None:
    watch = Onlooker()
    record = FailureRecord(failures.dump_error(ValueError("failed")), 2, "exception")
    block, memory = place(encode_results([[0], None, Opaque(TypeError("no")), [3]], {1: record}, watch))
    results, failed = read_results(block, memoryview(memory)[OFFSET:])
    assert watch.begun == [0, 2, 3]
    assert watch.refused == [2]
    assert (results[0], results[3]) == ([0], [3])
    assert failed[1] == record
    assert failed[2].kind == "unpicklable"


def test_a_result_that_is_itself_a_failure_record_is_a_result() -> None:
    record = FailureRecord(failures.dump_error(ValueError("x")), 1, "exception")
    assert through_results([record, [1]]) == [record, [1]]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_arrays_leave_the_pickle_aligned_and_as_views(sizes: list[int]) -> None:
    items = [[np.full(600 * size, number, "f8") for number in range(size)] for size in sizes]
    memory = bytearray(AMPLE)
    encoded = encode_items(items, AMPLE)
    region = Region(1, OFFSET, encoded.nbytes)
    block = encoded.write(memoryview(memory)[OFFSET : OFFSET + encoded.nbytes], region)
    reader = ItemReader(block, memory)
    loaded = list(reader.iterate())
    assert same(loaded, items)
    assert reader.is_held() == any(sizes)
    root = np.frombuffer(memory, np.uint8)
    for array in (array for item in loaded for array in item):
        assert np.shares_memory(array, root)
        assert (array.ctypes.data - root.ctypes.data) % 64 == 0
        array += 1  # each item is run by one worker, so it may write to its own


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
@pytest.mark.parametrize("form", ["rows", "pickled"])
def test_a_view_that_lives_holds_its_block(form: str, keep: Any) -> None:
    items: Any = np.arange(2000.0).reshape(1000, 2)[:2] if form == "rows" else [np.arange(1000.0)[:1000]] * 2
    block, memory = place(encode_items(items, AMPLE))
    reader = ItemReader(block, memory)
    rows = list(reader.iterate())
    if form == "pickled":
        rows = [row[:2] for row in rows]
    kept = keep(rows)
    del rows
    assert reader.is_held()
    del kept
    assert not reader.is_held()


def test_results_own_their_memory() -> None:
    block, memory = place(encode_results([np.arange(2000.0), [1]], {}, Onlooker()))
    results, _ = read_results(block, memoryview(memory)[OFFSET:])
    memory[:] = bytes(len(memory))
    assert np.array_equal(results[0], np.arange(2000.0))
    results[0][0] = 7  # and can be written to


def test_an_array_that_is_read_only_stays_so() -> None:
    array = np.arange(2000.0)
    array.flags.writeable = False
    assert not through_items([array])[0].flags.writeable


def test_a_fortran_array_stays_one() -> None:
    array = np.asfortranarray(np.arange(4000.0).reshape(40, 100))
    loaded = through_items([array])[0]
    assert loaded.flags.f_contiguous
    assert same(loaded, array)


def test_blocks_and_regions_are_small_on_the_wire() -> None:
    block, _ = place(encode_items(list(range(10_000)), AMPLE))
    assert len(pickle.dumps(block, protocol=5)) < 300
