"""Blocks read in place: items as a worker sees them, results as the parent takes them. blocks.py has the formats."""

from __future__ import annotations

import marshal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import payload
from .blocks import FAILURE, Block, Kind


class ItemReader:
    """The items of a block, as a worker sees them; arrays are views of the block's memory.

    They may be written to: each item is run by one worker, and what is tried again after a crash is
    written again. The memory must not be used for anything else while a view lives, which
    `is_held` tells.
    """

    def __init__(self, block: Block, memory: Any) -> None:
        """Read `block` from `memory`, the mapping that its region lies in."""
        self._block = block
        self._memory = memory
        self._root: Any = None  # the ndarray that all views of this block have as their base

    def sequence(self) -> Any:
        """All items: a list, or an ndarray for ROWS."""
        return self._rows() if self._block.kind is Kind.ROWS else list(self.iterate())

    def iterate(self) -> Iterator[Any]:
        """The items one by one, each loaded when it is asked for.

        `next` may raise what an item's own unpickling code raises, and can then be called again for
        the next item.
        """
        if self._block.kind is Kind.SCALARS:
            return iter(_read_scalars(self._block, self._bytes()))
        if self._block.kind is Kind.ROWS:
            return iter(self._rows())
        return map(_Entries(self._block, self._bytes(), self._buffer).load, range(self._block.length))

    def is_held(self) -> bool:
        """Whether somebody still refers to a view of the block's memory."""
        # numpy keeps a reference to the base and no buffer export, so the count is what tells:
        # one is this object's attribute, one the argument of getrefcount
        return self._root is not None and sys.getrefcount(self._root) > 2

    def _bytes(self) -> memoryview:
        region = self._block.region
        return memoryview(self._memory)[region.offset : region.offset + region.nbytes]

    def _base(self) -> Any:
        if self._root is None:
            import numpy as np

            region = self._block.region
            self._root = np.frombuffer(self._memory, np.uint8, region.nbytes, region.offset)
        return self._root

    def _buffer(self, offset: int, nbytes: int) -> Any:
        return self._base()[offset : offset + nbytes]

    def _rows(self) -> Any:
        dtype, shape, is_writable = self._block.meta
        nbytes = dtype.itemsize
        for length in shape:
            nbytes *= length
        rows = self._base()[:nbytes].view(dtype).reshape(shape)
        rows.flags.writeable = is_writable
        return rows


def read_results(block: Block, view: memoryview) -> tuple[list[Any], dict[int, Any]]:
    """Results of a block, and by position what failed: a FailureRecord, or the exception of loading it.

    Everything returned owns its memory; the block may be used again at once.
    """
    if block.kind is Kind.SCALARS:
        return _read_scalars(block, view), {}
    entries = _Entries(block, view, lambda offset, nbytes: bytearray(view[offset : offset + nbytes]))
    results: list[Any] = []
    failed: dict[int, Any] = {}
    for position in range(block.length):
        try:
            results.append(entries.load(position))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit from a user's __setstate__: it costs one item
            results.append(None)
            failed[position] = error
        else:
            if entries.is_failure(position):
                failed[position] = results[-1]
    return results, failed


def _read_scalars(block: Block, view: memoryview) -> list[Any]:
    items: list[Any] = marshal.loads(view[: block.meta])
    return items


class _Entries:
    """Reads the entries of a PICKLED block."""

    def __init__(self, block: Block, view: memoryview, buffer: Callable[[int, int], Any]) -> None:
        """`buffer` makes the object that stands for the bytes at an offset."""
        buffers, begin, end = block.meta
        self._view = view
        self._table = view[: 8 * (3 * block.length + 2 * buffers)].cast("Q")
        self._length = block.length
        self._buffer = buffer
        self._classes = payload.SharedClasses(view[begin:end]) if end > begin else None

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
