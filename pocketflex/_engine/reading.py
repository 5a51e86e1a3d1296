"""Blocks read in place: what items (items.py) and results (results.py) have in common. blocks.py has the formats."""

from __future__ import annotations

import marshal
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from . import native, payload
from .blocks import ENTRY, HEADER
from .grains import FAILURE, Form
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

    def __init__(self, region: Region, memory: Any) -> None:
        self._region = region
        self._memory = memory
        self._bytes = memoryview(memory)[region.offset : region.offset + region.nbytes]
        words = self._bytes[: len(self._bytes) // 8 * 8].cast("q")
        count, at, nbytes = words[1:4]
        table = words[HEADER : HEADER + ENTRY * count].tolist()
        self._places = [Place(*table[number : number + ENTRY]) for number in range(0, len(table), ENTRY)]
        self._notes = self._bytes[at : at + nbytes]
        self._classes: payload.SharedClasses | None = None
        self._root: Any = None  # the ndarray that all views of this block have as their base

    def _fill(self, place: Place, items: list[Any], at: int) -> bool:
        """Read a grain of scalars into a list from a position on; False if it is none."""
        if place.form < Form.MARSHAL:
            native.decode(*self._column(place), items, at)
        elif place.form == Form.MARSHAL:
            items[at : at + place.length] = marshal.loads(self._bytes[place.at : place.at + place.nbytes])
        else:
            return False
        return True

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

    def _entries(self, place: Place, buffer: Callable[[int, int], Any]) -> _Entries:
        if self._classes is None:
            self._classes = payload.SharedClasses(self._notes)
        view = self._bytes[place.at : place.at + place.nbytes]
        return _Entries(view, place.length, lambda at, nbytes: buffer(place.at + at, nbytes), self._classes)


class _Entries:
    """Reads the entries of a PICKLED grain."""

    def __init__(
        self, view: memoryview, length: int, buffer: Callable[[int, int], Any], classes: payload.SharedClasses
    ) -> None:
        """`buffer` makes the object that stands for the bytes at an offset."""
        self._view = view
        self._length = length
        self._buffer = buffer
        self._classes = classes
        listed = view[: 24 * length].cast("Q")[3 * length - 1] if length else 0
        self._table = view[: 24 * length + 16 * listed].cast("Q")

    def is_failure(self, position: int) -> bool:
        return self._table[3 * position] == FAILURE

    def load(self, position: int) -> Any:
        begin, end = self._span(position, 1, len(self._table) * 8)
        first, last = self._span(position, 2, 0)
        places = [3 * self._length + 2 * number for number in range(first, last)]
        buffers = [self._buffer(self._table[place], self._table[place + 1]) for place in places]
        return payload.load(self._view[begin:end], buffers, self._classes)

    def _span(self, position: int, column: int, zero: int) -> tuple[int, int]:
        begin = self._table[3 * (position - 1) + column] if position else zero
        return begin, self._table[3 * position + column]
