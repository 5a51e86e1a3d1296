"""Items and results as bytes in shared memory: three ways to write a block. reading.py reads them.

    kind      for                                  layout of the region
    SCALARS   a list of exact str, int, float,     one marshal of the list
              bytes, bool, complex or None
    ROWS      rows of an ndarray without objects   the rows, C order; dtype and shape in `meta`
    PICKLED   everything else, and failures        table | pickles | buffers | classes

The table of a PICKLED block is unsigned 64-bit integers in the machine's byte order: for each
entry its tag (0 value, 1 failure), the end of its pickle and the end of its list of buffers; then
for each buffer its offset and length. Offsets count from the start of the region. Every entry is a
pickle of its own, so that one that cannot be loaded costs no other, and each can be read alone;
only the classes that travel by value are pickled together, once a block.

Only exact types are written as SCALARS: what arrives is what was sent. marshal is five times faster
than pickle here, and both ends are always the same interpreter.
"""

from __future__ import annotations

import marshal
from array import array
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

from . import payload
from .failures import FailureRecord
from .shm import Region, round_up

_SCALARS = frozenset({str, int, float, bytes, bool, complex, type(None)})
_MARSHAL_VERSION = 2  # later ones look for shared references, at a third of the speed
FAILURE = 1  # the tag of a failure in a table


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
        meta: ROWS: dtype, shape, whether they may be written to. PICKLED: number of buffers, begin
            and end of the classes. SCALARS: number of bytes.
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
    table = _Table(gives_back=True)
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
    meta = (part.dtype, part.shape, bool(rows.flags.writeable))
    return Encoded(Kind.ROWS, count, ((0, part.view("u1").reshape(-1)),), part.nbytes, meta)


class _Table:
    """Builds a PICKLED block entry by entry."""

    def __init__(self, *, gives_back: bool = False) -> None:
        self._pickler = payload.ObjectPickler(gives_back=gives_back)
        self._entries: list[tuple[int, bytes, list[memoryview]]] = []
        self.nbytes = 0

    def add(self, value: Any) -> None:
        data, buffers = self._pickler.dump(value)
        self._append(0, data, buffers)

    def add_failure(self, record: FailureRecord) -> None:
        self._append(FAILURE, self._pickler.dump(record)[0], [])

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
            at = round_up(at)
            parts.append((at, buffer))
            numbers.extend((at, buffer.nbytes))
            at += buffer.nbytes
        classes = self._pickler.shared()
        parts += [(0, numbers), (at, classes)]
        meta = (len(buffers), at, at + len(classes))
        return Encoded(Kind.PICKLED, len(self._entries), parts, at + len(classes), meta)
