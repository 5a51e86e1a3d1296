"""A job's input: read once, as needed, and readable again until each item has an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketflex._engine.arrays import has_plain_rows, is_array
from pocketflex._engine.ranges import Span
from pocketflex._engine.source import Source


@pytest.mark.parametrize("make", [list, tuple, lambda r: r, lambda r: np.array(r), iter, dict.fromkeys], ids=str)
def test_a_span_can_be_taken_again(make: Any) -> None:
    source = Source(make(range(10)))
    assert list(source.take(Span(0, 4)).sliced()) == [0, 1, 2, 3]
    assert list(source.take(Span(4, 8)).sliced()) == [4, 5, 6, 7]
    assert list(source.take(Span(1, 3)).sliced()) == [1, 2]
    assert list(source.take(Span(5, 6)).sliced()) == [5]
    assert list(source.take(Span(8, 20)).sliced()) == [8, 9]
    assert list(source.take(Span(9, 10)).sliced()) == [9]


@pytest.mark.parametrize(
    ("items", "length"),
    [([1, 2], 2), ((), 0), (range(5), 5), (np.zeros((3, 2)), 3), (iter([1]), None), ({1: 2}, None), ("ab", None)],
)
def test_the_length_is_known_where_items_are_sliced(items: Any, length: int | None) -> None:
    assert Source(items).length == length


def test_a_list_is_not_copied() -> None:
    items = list(range(10))
    taken = Source(items).take(Span(3, 20))
    assert taken.items is items
    assert (taken.start, taken.stop) == (3, 10)


def test_beyond_the_end_of_a_list_is_nothing() -> None:
    source = Source([1, 2])
    assert source.take(Span(2, 4)).sliced() == []
    assert source.is_exhausted


def test_a_generator_is_read_no_further_than_asked() -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            read.append(number)
            yield number

    source = Source(items())
    assert read == []
    source.take(Span(0, 3)).sliced()
    assert read == [0, 1, 2]


def test_an_exception_of_the_input_ends_it_after_the_items_before() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise LookupError("no third")

    source = Source(items())
    assert source.take(Span(0, 8)).sliced() == [1, 2]
    assert isinstance(source.error, LookupError)
    assert source.take(Span(1, 2)).sliced() == [2]


def test_ctrl_c_in_the_input_passes_through() -> None:
    def items() -> Iterator[int]:
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        Source(items()).take(Span(0, 1)).sliced()


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_what_has_an_outcome_is_not_kept(sizes: list[int], random: Any) -> None:
    """Items are kept exactly until all of their chunk have outcomes, in whatever order these come."""

    class Item:
        alive = 0

        def __init__(self) -> None:
            Item.alive += 1

        def __del__(self) -> None:
            Item.alive -= 1

    source = Source(Item() for _ in iter(int, 1))
    pieces: list[Span] = []
    at = 0
    for size in sizes:
        source.take(Span(at, at + size)).sliced()
        cut = random.randint(0, size)
        pieces += [span for span in (Span(at, at + cut), Span(at + cut, at + size)) if span.start < span.stop]
        at += size
    random.shuffle(pieces)
    for span in pieces:
        assert len(source.take(span).sliced()) == span.stop - span.start
        source.drop(span.start, span.stop - span.start)
    assert Item.alive == 0


def test_an_array_stays_an_array_where_its_rows_are_bytes() -> None:
    assert isinstance(Source(np.arange(4.0)).take(Span(0, 2)).sliced(), np.ndarray)
    rows = Source(np.array([[1, "a"], [2, "b"]], object)).take(Span(0, 2)).sliced()
    assert type(rows) is list
    assert [list(row) for row in rows] == [[1, "a"], [2, "b"]]


@pytest.mark.parametrize(
    ("array", "is_rows", "is_plain"),
    [
        (np.zeros(2), True, True),
        (np.zeros(()), False, True),
        (np.ma.masked_array([1, 2]), False, True),  # a subclass means more than its bytes
        (np.array([None]), True, False),
        (np.zeros(2, "V0"), True, False),
        (np.zeros(2, [("a", object)]), True, False),
    ],
)
def test_which_arrays_are_sent_as_rows(array: Any, is_rows: bool, is_plain: bool) -> None:
    assert is_array(array) is is_rows
    assert has_plain_rows(array) is is_plain


def test_items_that_were_taken_and_not_run_come_again_as_they_were_read() -> None:
    """One who takes items may run some only: the span that follows begins within them and goes beyond."""
    source = Source(iter(range(100)))
    source.take(Span(0, 10))
    source.drop(0, 4)
    assert source.take(Span(4, 40)).sliced() == [4, 5, 6, 7, 8, 9]
    assert not source.is_exhausted
    assert source.take(Span(10, 40)).sliced() == [*range(10, 40)]
