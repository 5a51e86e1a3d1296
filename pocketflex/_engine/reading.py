"""Blocks read in place: items as a worker sees them, results as the parent takes them. blocks.py has the formats."""

from __future__ import annotations

import marshal
import pickle
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from . import native, payload
from .blocks import ENTRY, HEADER
from .grains import FAILURE, Form
from .segments import Region

_ARRAY_TYPES = {1: "i8", 2: "f8", 7: "?"}  # the columns that are arrays already: of int, float, bool
_SMALL = 4096  # bytes; the copy of a smaller array costs less than the memory that a view of it holds


Column = tuple[int, memoryview, int, int, int]  # kind, memory, offset, bytes, items


class _Place(NamedTuple):
    """A grain: how it is written, where it begins in the block, its length, its entries."""

    form: int
    at: int
    nbytes: int
    length: int


class _Reader:
    """What items and results have in common."""

    def __init__(self, region: Region, memory: Any) -> None:
        self._region = region
        self._memory = memory
        self._bytes = memoryview(memory)[region.offset : region.offset + region.nbytes]
        words = self._bytes[: len(self._bytes) // 8 * 8].cast("q")
        count, at, nbytes = words[1:4]
        table = words[HEADER : HEADER + ENTRY * count].tolist()
        self._places = [_Place(*table[number : number + ENTRY]) for number in range(0, len(table), ENTRY)]
        self._notes = self._bytes[at : at + nbytes]
        self._classes: payload.SharedClasses | None = None
        self._root: Any = None  # the ndarray that all views of this block have as their base

    def _fill(self, place: _Place, items: list[Any], at: int) -> bool:
        """Read a grain of scalars into a list from a position on; False if it is none."""
        if place.form < Form.MARSHAL:
            native.decode(*self._column(place), items, at)
        elif place.form == Form.MARSHAL:
            items[at : at + place.length] = marshal.loads(self._bytes[place.at : place.at + place.nbytes])
        else:
            return False
        return True

    def _column(self, place: _Place) -> Column:
        return place.form, self._bytes, place.at, place.nbytes, place.length

    def _base(self) -> Any:
        if self._root is None:
            import numpy as np

            self._root = np.frombuffer(self._memory, np.uint8, self._region.nbytes, self._region.offset)
        return self._root

    def _rows(self, first: _Place, count: int, nbytes: int) -> Any:
        """So many rows of a block from its grain `first` on, as one array."""
        dtype, shape, is_writable, *segment = pickle.loads(self._notes)
        shape = (count, *shape) if first.form == Form.ARRAYS else (count, *shape[1:])
        rows = (
            (self._elsewhere(*segment) if segment else self._base())[first.at : first.at + nbytes]
            .view(dtype)
            .reshape(shape)
        )
        rows.flags.writeable = is_writable
        return rows

    def _elsewhere(self, segment: int) -> Any:
        """The bytes of a segment that a block refers to; a shared array, which nobody writes to."""
        raise NotImplementedError

    def _entries(self, place: _Place, buffer: Callable[[int, int], Any]) -> _Entries:
        if self._classes is None:
            self._classes = payload.SharedClasses(self._notes)
        view = self._bytes[place.at : place.at + place.nbytes]
        return _Entries(view, place.length, lambda at, nbytes: buffer(place.at + at, nbytes), self._classes)


class ItemReader(_Reader):
    """The items of a block, as a worker sees them; arrays are views of the block's memory.

    They may be written to: each item is run by one worker, and what is tried again after a crash is
    written again. The memory must not be used for anything else while a view lives, which
    `is_held` tells.
    """

    def __init__(self, region: Region, memory: Callable[[int], Any]) -> None:
        """Read a block; `memory` gives the mapping of a segment."""
        super().__init__(region, memory(region.segment))
        self._segments = memory

    def _elsewhere(self, segment: int) -> Any:
        import numpy as np

        return np.frombuffer(self._segments(segment), np.uint8)

    @property
    def segment(self) -> int:
        """The segment that the block lies in."""
        return self._region.segment

    def length(self, grain: int) -> int:
        """Number of items of a grain."""
        return self._places[grain].length

    def source(self, grain: int) -> list[Any] | Column | None:
        """What the native loop takes: a column as it lies, or a list; None where items must be loaded one by one."""
        place = self._places[grain]
        if place.form < Form.MARSHAL:
            return self._column(place)
        return None if place.form == Form.PICKLED else list(self.items(grain))

    def items(self, grain: int) -> list[Any] | Iterator[Any]:
        """The items of a grain: a list, or where they are pickled an iterator that loads one at a time.

        Its `next` may raise what an item's own unpickling code raises, and can then be called again for
        the next item.
        """
        place = self._places[grain]
        if place.form <= Form.MARSHAL:
            self._fill(place, scalars := [None] * place.length, 0)
            return scalars
        if place.form == Form.PICKLED:
            return map(self._entries(place, self._buffer).load, range(place.length))
        return list(self._rows(place, place.length, place.nbytes))

    def sequence(self, first: int, stop: int) -> Any:
        """All items of some grains: a list, or a single ndarray where they are the rows of one."""
        places = self._places[first:stop]
        if places[0].form in (Form.ROWS, Form.SHARED):
            return self._rows(places[0], sum(p.length for p in places), sum(p.nbytes for p in places))
        return [item for grain in range(first, stop) for item in self.items(grain)]

    def is_held(self) -> bool:
        """Whether somebody still refers to a view of the block's memory."""
        # numpy keeps a reference to the base and no buffer export, so the count is what tells:
        # one is this object's attribute, one the argument of getrefcount
        return self._root is not None and sys.getrefcount(self._root) > 2

    def _buffer(self, at: int, nbytes: int) -> Any:
        return self._base()[at : at + nbytes]


class ResultReader(_Reader):
    """The results of a block; arrays are views of its memory, which is theirs until they are gone."""

    def __init__(self, region: Region, memory: Any, release: Callable[[], None]) -> None:
        """Read from `memory`; `release` is called when nothing refers to the block any more."""
        super().__init__(region, memory)
        self._release = release

    def __len__(self) -> int:
        return sum(place.length for place in self._places)

    def read(self, results: list[Any], at: int) -> dict[int, Any]:
        """Put the results into a list that has room for them, from a position on.

        Returns:
            What failed, by position: a FailureRecord, or the exception of loading a result.
        """
        failed: dict[int, Any] = {}
        try:
            for place in self._places:
                self._read_grain(place, results, at, failed)
                at += place.length
        finally:
            self._leave()
        return failed

    def array(self) -> Any:
        """The results as an ndarray with a row for each, perhaps a view of the block.

        None, and nothing is read, where they are not of one form.
        """
        forms = {place.form for place in self._places}
        if len(forms) > 1 or not forms <= _ARRAY_TYPES.keys() | {Form.ARRAYS}:
            return None
        import numpy as np

        try:
            pieces = [self._as_rows(place) for place in self._places]
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        finally:
            self._leave()

    def _as_rows(self, place: _Place) -> Any:
        if place.form == Form.ARRAYS:
            return self._rows(place, place.length, place.nbytes)
        return self._base()[place.at : place.at + place.nbytes].view(_ARRAY_TYPES[place.form])

    def _read_grain(self, place: _Place, results: list[Any], at: int, failed: dict[int, Any]) -> None:
        if self._fill(place, results, at):
            return
        if place.form == Form.ARRAYS:
            rows = self._rows(place, place.length, place.nbytes)
            is_small = place.nbytes < _SMALL * place.length and rows.dtype.kind != "V"  # their copy has no padding
            results[at : at + place.length] = [row.copy() for row in rows] if is_small else list(rows)
        else:
            self._read_entries(place, results, at, failed)

    def _read_entries(self, place: _Place, results: list[Any], at: int, failed: dict[int, Any]) -> None:
        entries = self._entries(place, self._buffer)
        for position in range(place.length):
            try:
                results[at + position] = entries.load(position)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # also SystemExit from a user's __setstate__: it costs one item
                failed[at + position] = error
            else:
                if entries.is_failure(position):
                    failed[at + position] = results[at + position]

    def _buffer(self, at: int, nbytes: int) -> Any:
        if nbytes < _SMALL:
            return bytearray(self._bytes[at : at + nbytes])
        return self._base()[at : at + nbytes]

    def _leave(self) -> None:
        """Release the block now, or when the last view of it goes."""
        root, self._root = self._root, None
        if root is None:
            self._release()
        else:
            _leases[id(root)] = weakref.ref(root, _Lease(id(root), self._release))


class _Lease:
    """Called when the root of all views of a block is gone."""

    __slots__ = ("_number", "_release")

    def __init__(self, number: int, release: Callable[[], None]) -> None:
        self._number = number
        self._release = release

    def __call__(self, _: object) -> None:
        del _leases[self._number]
        self._release()


_leases: dict[int, weakref.ref[Any]] = {}  # weak references must live to be called; by id of what they refer to


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
