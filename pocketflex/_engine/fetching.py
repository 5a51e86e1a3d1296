"""Large items that workers fetch from the parent's memory, instead of finding a copy in shared memory.

A block then has only their addresses. Each worker reads its own items, piece by piece, into memory that
stays in its nearest cache until they have been run; the parent, which has results to decode, copies
nothing. That is one copy an item, as before, but made by all CPUs, and what is copied need not come
back from main memory.

The parent keeps the items alive as long as a worker may read them. It does not keep them unchanged, so only
what was there before the call is sent in this way, and only by a call that waits for its results: between
two results of a stream, or two items of a generator, the caller's own code runs. Where the kernel does not
let workers read the parent (a hardened container, a parent that is not dumpable), they say so, and items
are copied.
"""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Iterator
from typing import Any

from . import native, shared
from .arrays import are_alike, has_plain_rows, is_array
from .grains import Form
from .segments import round_up
from .shm import Arena
from .source import Taken
from .writing import ENTRY, HEADER, Block, begin_block, note_form

_LEAST = 1 << 14  # bytes of an item of a list: of a smaller one a system call costs more than its copy
_LEAST_ROWS = 1 << 16  # bytes of all rows: less is copied before a worker has woken up
_PIECE = 1 << 18  # bytes that are fetched at a time: an eighth of an L2 cache, and many times the cost of a call


class FetchError(Exception):
    """Items cannot be read as they were sent, and are to be sent again, as copies and each by itself.

    The kernel does not let this process read the parent's memory; or many were pickled as one, and one cannot be
    loaded.
    """


def refer(arena: Arena, taken: Taken, grain: int) -> Block | None:
    """A block that says where items are; None where they must be written into it.

    Raises:
        OSError: There is not enough memory.
    """
    try:
        if is_array(taken.items):
            return _refer_rows(arena, taken.sliced(), grain)
        first = taken.items[taken.start]  # before the others are looked at: most items are small
        is_large = len(first) >= _LEAST if type(first) is bytes else is_array(first) and first.nbytes >= _LEAST
        return _refer_list(arena, taken.sliced(), grain) if is_large else None
    except (ValueError, BufferError):  # numpy gives no buffer of some dtypes
        return None


def _refer_rows(arena: Arena, rows: Any, grain: int) -> Block | None:
    is_fit = rows.nbytes >= _LEAST_ROWS and rows.flags.c_contiguous and has_plain_rows(rows)
    if not is_fit or shared.find(rows):  # what is in shared memory is read in place
        return None
    parts = [rows[at : at + grain] for at in range(0, len(rows), grain)]
    return _write(arena, Form.FETCHED_ROWS, parts, [(1, len(part)) for part in parts], note_form(rows), rows)


def _refer_list(arena: Arena, items: list[Any], grain: int) -> Block | None:
    if type(items[0]) is bytes:
        form, notes = Form.FETCHED_BYTES, b""
        is_fit = all(type(item) is bytes and len(item) >= _LEAST for item in items)
    else:
        is_fit = are_alike(items)
        form, notes = Form.FETCHED_ARRAYS, note_form(items[0]) if is_fit else b""
    if not is_fit:
        return None
    counts = [min(grain, len(items) - at) for at in range(0, len(items), grain)]
    return _write(arena, form, items, [(count, count) for count in counts], notes, items)


def _write(
    arena: Arena, form: Form, pieces: list[Any], grains: list[tuple[int, int]], notes: bytes, keeps: Any
) -> Block:
    """A block of grains, each so many pieces of memory and so many items."""
    places, table = array("q", bytes(16 * len(pieces))), array("q")
    native.locate(pieces, places, 0)
    first = at = round_up(8 * (HEADER + ENTRY * len(grains)) + len(notes))
    for count, length in grains:
        table.extend((form, at, 16 * count, length))
        at += 16 * count
    region = begin_block(arena, table, notes, at)
    arena.view(region)[first:at] = memoryview(places).cast("B")
    return Block(region, sum(length for _, length in grains), keeps=keeps)


class Fetcher:
    """Reads items out of the parent's memory, in a worker.

    A grain says where its items are: rows in one piece, others each in a piece of its own.
    """

    def __init__(self, parent: int) -> None:
        """Read the memory of the process `parent`."""
        self._parent = parent

    @staticmethod
    def cuts(form: int, places: list[int], length: int) -> Iterator[tuple[int, int]]:
        """The pieces in which the items of a grain are best read: where each begins and ends, by position."""
        if form == Form.FETCHED_ROWS:
            step = max(1, _PIECE * length // places[1])
            yield from ((at, min(at + step, length)) for at in range(0, length, step))
            return
        first = nbytes = 0
        for position, size in enumerate(places[1::2]):
            if nbytes and nbytes + size > _PIECE:
                yield first, position
                first, nbytes = position, 0
            nbytes += size
        yield first, length

    def fetch(self, form: int, places: list[int], length: int, notes: Any, first: int, stop: int) -> Any:
        """Items of a grain of so many: a list of bytes, or an ndarray with a row for each.

        Raises:
            FetchError: They cannot be read.
        """
        try:
            if form == Form.FETCHED_BYTES:
                return [native.fetch_bytes(self._parent, *places[2 * at : 2 * at + 2]) for at in range(first, stop)]
            dtype, shape, is_writable = pickle.loads(notes)
            if form == Form.FETCHED_ARRAYS:
                return self._read(array("q", places[2 * first : 2 * stop]), (stop - first, *shape), dtype, is_writable)
            row = places[1] // length
            place = array("q", (places[0] + first * row, (stop - first) * row))
            return self._read(place, (stop - first, *shape[1:]), dtype, is_writable)
        except OSError as error:
            raise FetchError(str(error)) from error

    def _read(self, places: array[int], shape: tuple[int, ...], dtype: Any, is_writable: bool) -> Any:
        import numpy as np

        room = np.empty(shape, dtype)
        native.fetch(self._parent, places, 0, len(places) // 2, room.reshape(-1).view(np.uint8).data)
        room.flags.writeable = is_writable
        return room
