"""Items and results as bytes in shared memory: three ways to write a block, one record to read it by.

    kind      for                                  layout of the region
    SCALARS   a list of exact str, int, float,     one marshal of the list
              bytes, bool, complex or None
    ROWS      rows of an ndarray without objects   the rows, C order; dtype and shape in `meta`
    PICKLED   everything else, and failures        table | pickles | buffers

The table of a PICKLED block is unsigned 64-bit integers in the machine's byte order: for each
entry its tag (0 value, 1 failure), the end of its pickle and the end of its list of buffers; then
for each buffer its offset and length. Offsets count from the start of the region. Every entry is a
pickle of its own, so that one that cannot be loaded costs no other, and each can be read alone.

Only exact types are written as SCALARS: what arrives is what was sent. marshal is five times faster
than pickle here, and both ends are always the same interpreter.
"""

from __future__ import annotations

import marshal
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from . import payload
from .payload import FailureRecord
from .shm import ALIGNMENT, Region

_SCALARS = frozenset({str, int, float, bytes, bool, complex, type(None)})
_MARSHAL_VERSION = 2  # later ones look for shared references, at a third of the speed
_FAILURE = 1


class Kind(IntEnum):
    """How a block is written."""

    SCALARS = 0
    ROWS = 1
    PICKLED = 2


class Block(NamedTuple):
    """What a reader needs to know of a block.

    Attributes:
        kind: How it is written.
        length: Number of entries.
        region: Where its bytes are.
        meta: ROWS: dtype and shape. PICKLED: number of buffers. SCALARS: number of bytes.
    """

    kind: Kind
    length: int
    region: Region
    meta: Any


class Encoded(NamedTuple):
    """A block that is ready to be copied into shared memory.

    Attributes:
        kind: How it is written.
        length: Number of entries.
        parts: The pieces with their offsets, any buffers of bytes.
        nbytes: Space that it needs.
        meta: As in `Block`.
    """

    kind: Kind
    length: int
    parts: Sequence[tuple[int, Any]]
    nbytes: int
    meta: Any

    def write(self, view: memoryview, region: Region) -> Block:
        """Copy the pieces to `view`, the bytes of `region`."""
        for offset, part in self.parts:
            data = memoryview(part).cast("B")
            view[offset : offset + data.nbytes] = data
        return Block(self.kind, self.length, region, self.meta)


class EncodingFailed(Exception):
    """An item could not be pickled.

    Attributes:
        before: The block of the items before it.
        cause: What its pickling code raised.
    """

    def __init__(self, before: Encoded, cause: BaseException) -> None:
        super().__init__(before, cause)
        self.before = before
        self.cause = cause


def encode_items(items: Any, limit: int) -> Encoded:
    """Write items, a list or an ndarray: all of them, or as many as fit in about `limit` bytes.

    At least one item is written. The block's `length` says how many.

    Raises:
        EncodingFailed: An item cannot be pickled; it has the block of those before it.
    """
    if not isinstance(items, list):
        return _encode_rows(items, limit)
    if _SCALARS.issuperset(map(type, items)) and (encoded := _encode_scalars(items)):
        if encoded.nbytes <= 2 * limit or len(items) == 1:
            return encoded
        return encode_items(items[: max(1, len(items) * limit // encoded.nbytes)], 2 * limit)
    table = _Table()
    for item in items:
        try:
            table.add(item)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit from a user's __reduce__: it costs one item
            raise EncodingFailed(table.encoded(), error) from None
        if table.nbytes > limit:
            break
    return table.encoded()


def encode_results(results: list[Any], failed: Mapping[int, FailureRecord], watch: Watch) -> Encoded:
    """Write results; those at the positions in `failed` are failures.

    Args:
        results: One entry an item; at a failed position anything.
        failed: What happened there.
        watch: Is told of every result before its pickling code runs, and asked what to write
            instead of one that cannot be pickled.
    """
    if not failed and _SCALARS.issuperset(map(type, results)) and (encoded := _encode_scalars(results)):
        return encoded
    table = _Table()
    for position, result in enumerate(results):
        if position in failed:
            table.add_failure(failed[position])
            continue
        watch.begin(position)
        try:
            table.add(result)
        except BaseException as error:
            table.add_failure(watch.refuse(position, error))
    return table.encoded()


class Watch(Protocol):
    """Who looks on while results are pickled."""

    def begin(self, position: int) -> None:
        """The result at `position` is about to be pickled."""

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        """It cannot be pickled: the failure to write in its place."""


def _encode_scalars(items: list[Any]) -> Encoded | None:
    try:
        data = marshal.dumps(items, _MARSHAL_VERSION)
    except ValueError:  # marshal's lengths end at 2 GiB
        return None
    return Encoded(Kind.SCALARS, len(items), ((0, data),), len(data), len(data))


def _encode_rows(rows: Any, limit: int) -> Encoded:
    count = max(1, min(len(rows), limit * len(rows) // max(rows.nbytes, 1)))
    part = rows[:count]
    if not part.flags.c_contiguous:
        part = part.copy(order="C")
    return Encoded(Kind.ROWS, count, ((0, part.view("u1").reshape(-1)),), part.nbytes, (part.dtype, part.shape))


class _Table:
    """Builds a PICKLED block entry by entry."""

    def __init__(self) -> None:
        self._pickler = payload.ObjectPickler()
        self._entries: list[tuple[int, bytes, list[memoryview]]] = []
        self.nbytes = 0

    def add(self, value: Any) -> None:
        data, buffers = self._pickler.dump(value)
        self._append(0, data, buffers)

    def add_failure(self, record: FailureRecord) -> None:
        self._append(_FAILURE, self._pickler.dump(record)[0], [])

    def _append(self, tag: int, data: bytes, buffers: list[memoryview]) -> None:
        self._entries.append((tag, data, buffers))
        self.nbytes += len(data) + sum(buffer.nbytes for buffer in buffers)

    def encoded(self) -> Encoded:
        buffers = [buffer for _, _, some in self._entries for buffer in some]
        at = 8 * (3 * len(self._entries) + 2 * len(buffers))
        numbers, parts, listed = array("Q"), list[tuple[int, Any]](), 0
        for tag, data, some in self._entries:
            parts.append((at, data))
            at += len(data)
            listed += len(some)
            numbers.extend((tag, at, listed))
        for buffer in buffers:
            at = -(-at // ALIGNMENT) * ALIGNMENT
            parts.append((at, buffer))
            numbers.extend((at, buffer.nbytes))
            at += buffer.nbytes
        return Encoded(Kind.PICKLED, len(self._entries), [(0, numbers), *parts], at, len(buffers))


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
        dtype, shape = self._block.meta
        nbytes = dtype.itemsize
        for length in shape:
            nbytes *= length
        return self._base()[:nbytes].view(dtype).reshape(shape)


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
        except Exception as error:
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
        self._view = view
        self._table = view[: 8 * (3 * block.length + 2 * block.meta)].cast("Q")
        self._count = block.length
        self._buffer = buffer

    def is_failure(self, position: int) -> bool:
        return self._table[3 * position] == _FAILURE

    def load(self, position: int) -> Any:
        begin, end = self._span(position, 1, len(self._table) * 8)
        first, last = self._span(position, 2, 0)
        places = [3 * self._count + 2 * number for number in range(first, last)]
        buffers = [self._buffer(self._table[place], self._table[place + 1]) for place in places]
        return payload.load(self._view[begin:end], buffers)

    def _span(self, position: int, column: int, zero: int) -> tuple[int, int]:
        begin = self._table[3 * (position - 1) + column] if position else zero
        return begin, self._table[3 * position + column]
