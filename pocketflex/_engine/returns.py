"""Results on their way out: collected, written as columns as long as they are of one kind, told to the parent."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Any

from . import failures, native
from .arrays import is_array
from .blocks import COLUMNS, encode_results
from .failures import FailureRecord
from .grains import Form, Watch
from .ranges import MOST_GRAINS
from .segments import Region
from .shm import Arena
from .writing import ENTRY, HEADER, Block, write_head

_ROOM = 1 << 20  # bytes of columns in a block: fits an L2 cache
_FIRST = 8 * (HEADER + ENTRY * MOST_GRAINS)


class Returns:
    """The outcomes of neighbouring items that have not been sent."""

    def __init__(self, arena: Arena, watch: Watch) -> None:
        self.results: list[Any] = []  # those that are not in a column yet
        self.failed: dict[int, FailureRecord] = {}  # by position in `results`
        self.packed = 0  # how many results are before those in `results`
        self._arena = arena
        self._watch = watch
        self._columns = _Columns(arena)

    def __len__(self) -> int:
        return self._columns.count + len(self.results)

    def room(self) -> tuple[memoryview | None, int]:
        """Where the native loop may write results as a column, and from which byte on; None: in the list only."""
        return (None, 0) if self.results else self._columns.room()

    def keep(self, kind: int, nbytes: int, count: int) -> None:
        """A column has been written there."""
        if count:
            self._columns.keep(kind, nbytes, count)
            self.packed += count

    def pack(self) -> bool:
        """Write the results as a column if they are one; False if there is no room for more."""
        if self.failed or not self.results:
            return True
        count = len(self.results)
        is_roomy = self._columns.add(self.results)
        self.packed += count - len(self.results)
        return is_roomy

    def take(self) -> Iterator[Block]:
        """The blocks of everything collected; after this it is empty."""
        if not self.pack() and self._columns.count:  # no room behind what is there: it may be a column of its own
            yield self._columns.finish()
            self.pack()
        if self._columns.count:
            yield self._columns.finish()
        else:
            self._columns.discard()
        if self.results:
            results, failed = self.results, self.failed
            block = None
            try:
                block = self._write(results, failed)
                yield block
            finally:
                if block is not None and self._is_pickled(block):
                    self._watch.let_go(results)
                results.clear()
                failed.clear()
        self.packed = 0

    def _is_pickled(self, block: Block) -> bool:
        return self._arena.view(block.region).cast("q")[HEADER] == Form.PICKLED

    def _write(self, results: list[Any], failed: dict[int, FailureRecord]) -> Block:
        try:
            return encode_results(self._arena, results, failed, self._watch)
        except OSError as error:  # no memory for these results: the items fail, the worker goes on
            record = failures.record(error)
            lost = dict.fromkeys(range(len(results)), record)
            return encode_results(self._arena, [None] * len(results), lost, self._watch)


def _column_nbytes(results: list[Any]) -> int:
    """Room that a column of results wants: the usual, or more where they are long."""
    kind = type(results[0])
    if kind not in (str, bytes):
        return _ROOM
    return max(_ROOM, sum(4 + len(result) for result in results if type(result) is kind))


class _Columns:
    """A block of columns, written grain by grain."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena
        self._region: Region | None = None
        self.count = 0
        self._clear()

    def add(self, results: list[Any]) -> bool:
        """Write results and clear the list, if they make a column; False if there is no room."""
        if type(results[0]) not in COLUMNS or not self._has_region(_column_nbytes(results)):
            return True
        if self._is_full():
            return False
        form, nbytes = native.encode(results, 0, len(results), self._view, self._at)
        if form > 0:
            self.keep(form, nbytes, len(results))
            results.clear()
        return form >= 0

    def keep(self, kind: int, nbytes: int, count: int) -> None:
        """A grain has been written where `room` says."""
        self._table.extend((kind, self._at, nbytes, count))
        self._at += -(-nbytes // 8) * 8
        self.count += count

    def room(self) -> tuple[memoryview | None, int]:
        """Where the next grain may be written."""
        return (self._view, self._at) if self._has_region() and not self._is_full() else (None, 0)

    def _is_full(self) -> bool:
        return len(self._table) == ENTRY * MOST_GRAINS

    def _has_region(self, nbytes: int = _ROOM) -> bool:
        if self._region is not None and not self.count and nbytes > self._region.nbytes - _FIRST:
            self.discard()
        if self._region is None:
            try:
                self._region = self._arena.allocate(_FIRST + max(nbytes, _ROOM))
            except OSError:  # whoever writes the results in another way finds out, and tells
                return False
            self._view = self._arena.view(self._region)
        return True

    def discard(self) -> None:
        """Give back the memory in which nothing was written."""
        if self._region is not None:
            self._arena.free(self._region)
            self._region = None
            self._clear()

    def finish(self) -> Block:
        """The block."""
        assert self._region is not None  # something was added
        write_head(self._view, self._table, 0, 0)
        block = Block(self._arena.shrink(self._region, self._at), self.count)
        self._region = None
        self._clear()
        return block

    def _clear(self) -> None:
        self._view = memoryview(b"")
        self._table = array("q")
        self._at = _FIRST
        self.count = 0


def size_of(result: Any) -> int:
    """Bytes of a result that is a single piece of memory, else 0."""
    if type(result) in (bytes, str, bytearray):
        return len(result)
    return int(result.nbytes) if is_array(result) else 0
