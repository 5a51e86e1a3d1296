"""The data format: what comes back is the same value of the same type, and no bytes do harm."""

from __future__ import annotations

import math
import struct
import tracemalloc
from collections import OrderedDict, namedtuple
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflex.journal.arrays import dump_array
from pocketflex.journal.reading import Malformed, decode
from pocketflex.journal.values import DEPTH, Unheld, encode

Pair = namedtuple("Pair", "left right")


class Colour(IntEnum):
    RED = 1


class Text(str):
    pass


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal and of the same type, all the way down; nan is nan, 0.0 is not -0.0."""
    if type(left) is not type(right):
        return False
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, set | frozenset):
        return same(sorted(left, key=repr), sorted(right, key=repr))
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, complex):
        return same((left.real, left.imag), (right.real, right.imag))
    if isinstance(left, np.longdouble):  # it has bytes that mean nothing
        return bool(left == right)
    if isinstance(left, np.ndarray | np.generic):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    return bool(left == right)


surrogates = st.text(st.characters(categories=["Cs", "Ll", "Lo"]))
floats = st.floats(allow_nan=True, allow_infinity=True)
scalars = st.none() | st.booleans() | st.integers() | floats | st.complex_numbers() | surrogates | st.binary()
keys = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.tuples(st.integers(), st.text())
plain = st.recursive(
    scalars | st.lists(st.integers(), min_size=4) | st.lists(floats, min_size=4).map(tuple),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(keys, inner)
        | st.sets(keys)
        | st.frozensets(keys)
    ),
    max_leaves=20,
)


@given(plain)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert same(decode(encode(value)), value)


@pytest.mark.parametrize(
    "value",
    [
        True,
        1,
        2**63,
        -(2**63) - 1,
        2**20000,
        -0.0,
        math.nan,
        -math.inf,
        complex(math.nan, -0.0),
        "\ud800",
        "\ud800\udc00",  # two lone surrogates, not one character
        "\0",
        [1, 2, 3, True],
        [1, 2, 3, 2**63],
        (1.0, -0.0, math.nan, math.inf),
        [1, 1.0, 1, 1.0],
        {},
        {(): []},
        {1: "int", "1": "str"},
        frozenset(),
        {frozenset({1}), frozenset({2})},
    ],
    ids=lambda value: ascii(value)[:20] if not isinstance(value, int) else hex(value)[:20],
)
def test_odd_values_come_back_as_they_were(value: Any) -> None:
    assert same(decode(encode(value)), value)


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.arange(6).reshape(2, 3).T,
    np.asfortranarray(np.arange(8.0).reshape(2, 2, 2)),
    np.arange(10)[::3],
    np.array(3.5),
    np.zeros((0, 4), np.int8),
    np.array(["a", "bcd"]),
    np.array([b"a", b"\0b"]),
    np.array([1, 2], ">i4"),
    np.array([1 + 2j], np.complex64),
    np.array(["2024-01-01", "NaT"], "M8[D]"),
    np.array([(1, 2.0)], [("x", "i4"), ("y", "f8")]),
    np.array([1.5], np.longdouble),
    np.zeros(3, "V0"),
]
SCALARS = [
    np.float64(-0.0),
    np.float32(1.5),
    np.int8(-1),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.complex128(1j),
    np.datetime64("NaT"),
    np.timedelta64(3, "s"),
    np.str_("text"),
    np.bytes_(b"b"),
    np.longdouble(1.5),
    np.float16("nan"),
]


@pytest.mark.parametrize("value", [*ARRAYS, *SCALARS], ids=repr)
def test_arrays_and_numpy_scalars_come_back_as_they_were(value: Any) -> None:
    back = decode(encode([value]))[0]
    assert same(back, value)
    if isinstance(value, np.ndarray):
        assert back.flags.writeable
        assert back.flags.owndata
        assert back.flags.f_contiguous == value.flags.f_contiguous or not value.flags.c_contiguous


@pytest.mark.parametrize(
    "value",
    [
        Pair(1, 2),
        Colour.RED,
        Text("a"),
        OrderedDict(),
        Path("a"),
        bytearray(b"a"),
        range(3),
        object(),
        lambda: 0,
        np.array([object()], object),
        np.ma.masked_array([1.0]),
        np.longlong(1),  # as bytes it is an int64
        np.array([1], "q" if np.dtype("l").itemsize == 8 else "l"),
        np.zeros(1, np.dtype("i4", metadata={"a": 1})),
        np.str_("a\0"),  # an array drops the zero
        np.array([(1,)], [("x", "i4")])[0],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_come_back_as_something_else_has_no_form(value: Any) -> None:
    with pytest.raises(Unheld):
        encode({"a": [value]})


def test_the_same_value_gives_the_same_bytes_whatever_the_order_of_its_sets() -> None:
    forth, back = [*range(0, 4000, 8)], [*range(3992, -1, -8)]
    assert encode([{*"abcdef"}, set(forth)]) == encode([{*"fedcba"}, set(back)])


def test_nesting_ends_before_the_stack_does() -> None:
    value: Any = []
    for _ in range(DEPTH - 1):
        value = [value]
    assert decode(encode(value)) == value
    with pytest.raises(Unheld, match="nested too deep"):
        encode([value])


def test_a_circle_has_no_form() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(Unheld):
        encode(circle)


def test_sharing_that_would_grow_without_end_has_no_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pocketflex.journal.values._BUDGET", 10_000)
    value: Any = [None]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(Unheld):
        encode(value)


def test_a_column_is_not_larger_than_its_numbers() -> None:
    assert len(encode([1.5] * 1000)) == 8005
    assert len(encode((7,) * 1000)) == 8005


VALID = [bytes(encode(value)) for value in ([1, "a", {"b": (2.5, b"c")}, {3}], [1, 2, 3, 4], *ARRAYS[:8])]


@given(st.sampled_from(VALID), st.data())
def test_changed_bytes_give_a_value_or_an_error_of_ours(valid: bytes, data: st.DataObject) -> None:
    changed = bytearray(valid)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(bytes(changed[: data.draw(st.integers(0, len(changed)))]))


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_an_error_of_ours(data: bytes) -> None:
    decode_or_refuse(data)


def decode_or_refuse(data: bytes) -> None:
    """What is read is a value like any other: it can be kept again, and is then the same."""
    try:
        value = decode(data)
    except Malformed:
        return
    kept = bytes(encode(value))
    again = decode(kept)
    assert type(again) is type(value)
    assert len(bytes(encode(again))) == len(kept)


BOMBS = [
    b"l" + struct.pack("<I", 2**32 - 1),
    b"b" + struct.pack("<I", 2**32 - 1) + b"x",
    b"d" + struct.pack("<I", 2**31) + b"N" * 10,
    b"I" + struct.pack("<I", 2**31 - 8),
    b"l\x01\0\0\0" * 10_000,
]


def npy(**changes: Any) -> bytes:
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,), **changes}
    text = (repr(header) + "\n").encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"12345678"


BOMBS += [
    b"A" + struct.pack("<I", len(file)) + file
    for file in (npy(), npy(shape=(-1, -1)), npy(descr="|O", shape=(1,)), npy(descr="__import__('os')"), npy(shape=1))
]


@pytest.mark.parametrize("data", BOMBS, ids=lambda data: repr(data[:60]))
def test_what_claims_to_be_large_costs_nothing(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(data)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_the_same_key_twice_is_refused() -> None:
    assert dump_array(np.arange(3)) is not None
    with pytest.raises(Malformed):
        decode(b"d\x02\0\0\0" + b"TNTN")
    with pytest.raises(Malformed):
        decode(b"S\x02\0\0\0" + b"TT")
