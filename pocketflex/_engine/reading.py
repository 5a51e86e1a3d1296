"""Blocks read in place: what items (items.py) and results (results.py) have in common. blocks.py has the formats.

A block is written by another process, which what it runs may have damaged before it ended it. So what a reader
is told of it, where it is and how many entries it has, is checked once a block and once a grain: bytes that are
no such block are a ValueError. What lies inside a pickle, or inside the list of a marshal, is for these to find.
"""

from __future__ import annotations

import marshal
import pickle
import sys
from collections.abc import Callable
from itertools import accumulate, pairwise
from math import prod
from typing import Any, NamedTuple, NoReturn

from . import native, payload
from .grains import FAILURE, Form
from .scalars import read_numbers
from .segments import Region, round_up
from .writing import ENTRY, HEADER

WHOLE = (Form.PLAIN, Form.OBJECTS, Form.MIXED)  # what `_load_whole` is for
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

    def _ragged(self, place: Place) -> list[Any]:
        """Arrays of different shapes, each a view of the block."""
        dtype, shape, is_writable = pickle.loads(self._notes)
        ndim, length = len(shape), place.length
        first = round_up(8 * ndim * length)
        if first > place.nbytes or (place.nbytes - first) % dtype.itemsize:
            _refuse(length)
        lengths = self._bytes[place.at : place.at + 8 * ndim * length].cast("q").tolist()
        flat = self._base()[place.at + first : place.at + place.nbytes].view(dtype)
        flat.flags.writeable = is_writable
        shapes = [tuple(lengths[at : at + ndim]) for at in range(0, len(lengths), ndim)]
        ends = list(accumulate(map(prod, shapes), initial=0))
        if min(lengths) < 0 or ends[-1] != len(flat):
            _refuse(length)
        views = [flat[begin:end] for begin, end in pairwise(ends)]
        return views if ndim == 1 else [view.reshape(shape) for view, shape in zip(views, shapes, strict=True)]

    def _entries(self, place: Place, buffer: Callable[[int, int], Any]) -> Entries:
        view = self._bytes[place.at : place.at + place.nbytes]
        return Entries(view, place.length, lambda at, nbytes: buffer(place.at + at, nbytes), self._shared_classes())

    def _load_whole(self, place: Place) -> list[Any]:
        """The values of a grain that is one pickle, whose classes may have to be imported or made first."""
        view, classes = self._bytes[place.at : place.at + place.nbytes], self._shared_classes()
        if place.form == Form.PLAIN:
            return _load_all(view, place.length)
        if place.form == Form.MIXED:
            return _checked(payload.load(view, (), classes), place.length)
        first = 8 + int.from_bytes(view[:8], sys.byteorder)
        kind = payload.load(view[8:first], (), classes)
        objects = _load_all(view[first:], place.length)
        native.build(kind, objects)
        return objects

    def _shared_classes(self) -> payload.SharedClasses | None:
        if self._classes is None and len(self._notes):
            self._classes = payload.SharedClasses(self._notes)
        return self._classes


class Entries:
    """Reads the entries of a PICKLED grain."""

    def __init__(
        self, view: memoryview, length: int, buffer: Callable[[int, int], Any], classes: payload.SharedClasses | None
    ) -> None:
        """`buffer` makes the object that stands for the bytes at an offset."""
        self._view = view
        self._buffer = buffer
        self._classes = classes
        listed = view[: 24 * length].cast("Q")[3 * length - 1] if 0 < 24 * length <= len(view) else 0
        first = 24 * length + 16 * listed
        if first > len(view):
            _refuse(length)
        table = view[:first].cast("Q").tolist()
        self._tags = table[0 : 3 * length : 3]
        self._ends = [first, *(first + end for end in table[1 : 3 * length : 3])]
        self._listed = [0, *table[2 : 3 * length : 3]] if listed else []
        self._places = table[3 * length :]  # of the buffers

    def is_failure(self, position: int) -> bool:
        """Whether an entry is a FailureRecord."""
        return self._tags[position] == FAILURE

    def load(self, position: int) -> Any:
        """An entry; raises what its own unpickling code raises."""
        data = self._view[self._ends[position] : self._ends[position + 1]]
        return payload.load(data, self._buffers(position) if self._listed else (), self._classes)

    def _buffers(self, position: int) -> list[Any]:
        places = iter(self._places[2 * self._listed[position] : 2 * self._listed[position + 1]])
        return [self._buffer(at, nbytes) for at, nbytes in zip(places, places, strict=True)]


def _load_all(data: memoryview, length: int) -> list[Any]:
    """So many plain values, pickled as one list. Nobody's code runs, and to look for garbage would be in vain."""
    return _checked(native.call_uncollected(pickle.loads, data), length)


def _checked(values: Any, length: int) -> list[Any]:
    if type(values) is not list or len(values) != length:
        _refuse(length)
    return values


def _refuse(length: int) -> NoReturn:
    raise ValueError(f"the bytes are no block, or grain, of {length} entries")
