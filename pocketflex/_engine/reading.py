"""Blocks read in place: what items (items.py) and results (results.py) have in common. blocks.py has the formats.

A block is written by another process, which what it runs may have damaged before it ended it. So what a reader
is told of it, where it is and how many entries it has, is checked once a block and once a grain: bytes that are
no such block are a ValueError. What lies inside a pickle, or inside the list of a marshal, is for these to find.
"""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from . import native, payload
from .blocks import ENTRY, HEADER
from .grains import FAILURE, Form
from .scalars import read_numbers
from .segments import Region

Column = tuple[int, memoryview, int, int, int]  # kind, memory, offset, bytes, items


class Place(NamedTuple):
    """A grain: how it is written, where it begins in the block, its length, its entries."""

    form: int
    at: int
    nbytes: int
    length: int

    @property
    def is_fetched(self) -> bool:
        """Whether it says only where in the parent's memory its items are."""
        return self.form >= Form.FETCHED_ROWS


class Reader:
    """What items and results have in common."""

    def __init__(self, region: Region, memory: Any, length: int) -> None:
        """Read a block of so many entries.

        Raises:
            ValueError: The bytes are no such block.
        """
        self._region = region
        self._memory = memory
        self._bytes = memoryview(memory)[region.offset : region.offset + region.nbytes]
        words = self._bytes[: len(self._bytes) // 8 * 8].cast("q")
        count, at, nbytes = words[1:4] if len(words) > HEADER else (0, 0, 0)
        table = words[HEADER : HEADER + ENTRY * min(count, length)].tolist() if count > 0 else []
        if len(table) != ENTRY * count:
            _refuse(length)
        self._places = [Place(*table[number : number + ENTRY]) for number in range(0, len(table), ENTRY)]
        if not (0 <= at <= at + nbytes <= len(self._bytes) and self._is_covered(length)):
            _refuse(length)
        self._notes = self._bytes[at : at + nbytes]
        self._classes: payload.SharedClasses | None = None  # those that pickles refer to, once they are wanted
        self._root: Any = None  # the ndarray that all views of this block have as their base

    def _is_covered(self, length: int) -> bool:
        """Whether the grains lie in the block and have all its entries, no more and no fewer."""
        size, total = len(self._bytes), 0
        for form, at, nbytes, count in self._places:
            if min(at, nbytes, count) < 0 or (at + nbytes > size and form != Form.SHARED):
                return False
            total += count
        return total == length

    def _fill(self, place: Place, items: list[Any], at: int) -> bool:
        """Read a grain of scalars into a list from a position on; False if it is none."""
        if place.form < Form.MARSHAL:
            native.decode(*self._column(place), items, at)
        elif place.form == Form.MARSHAL:
            data = self._bytes[place.at : place.at + place.nbytes]
            if data[:5] != b"[" + place.length.to_bytes(4, "little"):  # or it would be made before it is found wrong
                _refuse(place.length)
            items[at : at + place.length] = marshal.loads(data)
        elif place.form == Form.NUMBERS:
            items[at : at + place.length] = self._numbers(place)
        elif place.form == Form.PLAIN:
            items[at : at + place.length] = _load_all(self._bytes[place.at : place.at + place.nbytes], place.length)
        else:
            return False
        return True

    def _numbers(self, place: Place) -> Any:
        """The numbers of a grain, as an ndarray."""
        data = self._bytes[place.at : place.at + place.nbytes]
        numbers = read_numbers(data[8:], bytes(data[:8]).decode("latin-1").rstrip())
        if len(numbers) != place.length:
            _refuse(place.length)
        return numbers

    def _column(self, place: Place) -> Column:
        return place.form, self._bytes, place.at, place.nbytes, place.length

    def _base(self) -> Any:
        if self._root is None:
            import numpy as np

            self._root = np.frombuffer(self._memory, np.uint8, self._region.nbytes, self._region.offset)
        return self._root

    @property
    def segment(self) -> int:
        """The segment that the block lies in."""
        return self._region.segment

    def _rows(self, first: Place, count: int, nbytes: int, memory: Any = None) -> Any:
        """So many rows from the grain `first` on, as one array; they lie in the block, or in `memory`."""
        dtype, shape, is_writable, *_ = pickle.loads(self._notes)
        shape = (count, *shape) if first.form == Form.ARRAYS else (count, *shape[1:])
        octets = self._base() if memory is None else memory
        rows = octets[first.at : first.at + nbytes].view(dtype).reshape(shape)
        rows.flags.writeable = is_writable
        return rows

    def _entries(self, place: Place, buffer: Callable[[int, int], Any]) -> _Entries | _Objects:
        if self._classes is None and len(self._notes):
            self._classes = payload.SharedClasses(self._notes)
        view = self._bytes[place.at : place.at + place.nbytes]
        if place.form == Form.OBJECTS:
            return _Objects(view, place.length, self._classes)
        return _Entries(view, place.length, lambda at, nbytes: buffer(place.at + at, nbytes), self._classes)


class _Objects:
    """Reads the entries of an OBJECTS grain: all at once, when the first is asked for."""

    def __init__(self, view: memoryview, length: int, classes: payload.SharedClasses | None) -> None:
        self._view = view
        self._length = length
        self._classes = classes
        self._objects: list[Any] = []

    def is_failure(self, position: int) -> bool:
        return False

    def load(self, position: int) -> Any:
        """Each can be had once."""
        if not self._objects:
            self._objects = _load_all(self._view, self._length, self._classes)
        found, self._objects[position] = self._objects[position], None
        return found


class _Entries:
    """Reads the entries of a PICKLED grain."""

    def __init__(
        self, view: memoryview, length: int, buffer: Callable[[int, int], Any], classes: payload.SharedClasses | None
    ) -> None:
        """`buffer` makes the object that stands for the bytes at an offset."""
        self._view = view
        self._length = length
        self._buffer = buffer
        self._classes = classes
        listed = view[: 24 * length].cast("Q")[3 * length - 1] if 0 < 24 * length <= len(view) else 0
        if 24 * length + 16 * listed > len(view):
            _refuse(length)
        self._table = view[: 24 * length + 16 * listed].cast("Q")
        self._has_buffers = listed > 0

    def is_failure(self, position: int) -> bool:
        return self._table[3 * position] == FAILURE

    def load(self, position: int) -> Any:
        begin, end = self._span(position, 1, len(self._table) * 8)
        first, last = self._span(position, 2, 0) if self._has_buffers else (0, 0)
        if first == last:
            return payload.load(self._view[begin:end], (), self._classes)
        places = iter(self._table[3 * self._length + 2 * first : 3 * self._length + 2 * last])
        buffers = [self._buffer(at, nbytes) for at, nbytes in zip(places, places, strict=True)]
        return payload.load(self._view[begin:end], buffers, self._classes)

    def _span(self, position: int, column: int, zero: int) -> tuple[int, int]:
        begin = self._table[3 * (position - 1) + column] if position else zero
        return begin, self._table[3 * position + column]


def _load_all(data: memoryview, length: int, classes: payload.SharedClasses | None = None) -> list[Any]:
    """So many values, pickled as one list."""
    values = payload.load(data, (), classes)
    if type(values) is not list or len(values) != length:
        _refuse(length)
    return values


def _refuse(length: int) -> NoReturn:
    raise ValueError(f"the bytes are no block, or grain, of {length} entries")
