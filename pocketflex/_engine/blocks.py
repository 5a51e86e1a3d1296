"""Blocks: items and results as bytes in shared memory. reading.py reads them.

A block is a header, a table of grains, then the grains, each of which can be read without the
others. All numbers are 64-bit integers in the machine's byte order; offsets count from the block.

    word 0      1 while the reader of a block of results has it (shm.py), else 0
    word 1      number of grains
    word 2, 3   offset and length of the notes: a pickle of what the grains have in common
    word 4...7  unused
    word 8...   for each grain: how it is written, offset, length in bytes, number of entries

    grain      for                                      bytes
    columns    a list of one exact type: int64, float,  native/README.md
               str, bytes, None, bool
    MARSHAL    a list of mixed exact types of these,    one marshal of the list
               complex numbers, large ints
    NUMBERS    a list of one type of numpy's numbers    numpy.dtype.char in 8 bytes, the numbers
    PLAIN      tuples, lists, dicts, sets of scalars    one pickle of the list (native/plain.c)
    ROWS       rows of an ndarray without objects;      the rows, C order; in the notes dtype, shape and whether
    ARRAYS     a list of ndarrays of one form           they may be written to: of the ndarray, of each of the list
    PICKLED    everything else, and failures            table | pickles | buffers
    OBJECTS    objects of one class with such           the length of a pickle, that of their class,
               attributes                               one of a list of the attributes
    MIXED      the same, with named tuples, enums,      as PLAIN
               paths and objects in them
    RAGGED     a list of ndarrays of one dtype and      shapes, and after a gap the arrays without any;
               number of dimensions                     notes as of ARRAYS
    SHARED     rows of an array that `share` has made   none here: the offset is that in the array's segment,
                                                        whose number the notes have besides what ROWS have
    FETCHED_*  large items that workers read out of     for each piece its address and length there; notes as of
               the parent's memory (fetching.py)        ROWS, ARRAYS; none for bytes

The table of a PICKLED grain: for each entry its tag (0 value, 1 failure), the end of its pickle, counted from
the first one, and the end of its list of buffers; then for each buffer its offset and length, counted from
the grain. Every entry is a pickle of its own, so that one that cannot be loaded costs no other; only classes that
travel by value are pickled once a block, in the notes. All else is for exact types: what arrives is what was sent.
"""

from __future__ import annotations

import pickle
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from . import native, payload, shared
from .arrays import are_alike, are_ragged
from .failures import FailureRecord
from .grains import Form, Grain, Table, Watch, stack, stack_ragged
from .scalars import Kinds
from .segments import Segment
from .shm import Arena
from .source import Taken
from .writing import ENTRY, HEADER, Block, begin_block, note_form, write_grains, write_head

COLUMNS = frozenset({str, int, float, bytes, bool, type(None)})


class EncodingFailed(Exception):
    """An item could not be pickled.

    Attributes:
        before: The block of the items before it, None where there are none.
        cause: What its pickling code raised.
    """

    def __init__(self, before: Block | None, cause: BaseException) -> None:
        super().__init__(before, cause)
        self.before = before
        self.cause = cause


def encode_items(arena: Arena, taken: Taken, grain: int, limit: int, *, is_apart: bool = False) -> Block:
    """Write items: all of them, or as many as fit in about `limit` bytes.

    Args:
        arena: Where the block is made.
        taken: At least one item, of which at least one is written.
        grain: Items in a grain; the last has fewer.
        limit: Bytes.
        is_apart: Whether what is pickled is to be pickled item by item.

    Raises:
        EncodingFailed: An item cannot be pickled; it has the block of those before it.
        OSError: There is not enough memory.
    """
    if not isinstance(taken.items, list):
        return _write_rows(arena, taken.items, grain, limit)
    if type(taken.items[taken.start]) in COLUMNS and (block := _write_columns(arena, taken, grain, limit)):
        return block
    items = taken.items[taken.start : taken.stop]
    if stacking := _stacking(items):
        ends = [*accumulate(one.nbytes for one in items)]
        count = max(1, bisect_right(ends, limit))
        grains = [stacking(items[at : min(at + grain, count)]) for at in range(0, count, grain)]
        return write_grains(arena, grains, note_form(items[0]))
    return _write_mixed(arena, items, grain, limit, is_apart)


def _stacking(values: list[Any]) -> Callable[[list[Any]], Grain] | None:
    """What makes a grain of arrays that lie side by side; None if these do not."""
    return stack if are_alike(values) else stack_ragged if are_ragged(values) else None


def _write_columns(arena: Arena, taken: Taken, grain: int, limit: int) -> Block | None:
    """Grains straight into memory, up to the first that is no column."""
    items, first, last = taken
    starts = range(first, last, grain)
    region = arena.allocate(8 * (HEADER + ENTRY * len(starts)) + _guess(taken, limit))
    view = arena.view(region)
    table, at, done = array("q"), 8 * (HEADER + ENTRY * len(starts)), first
    for start in starts:
        stop = min(start + grain, last)
        form, nbytes = native.encode(items, start, stop, view, at)
        while form < 0 and start == first and stop - start > 1:  # even the first grain has no room: a shorter one
            stop = start + (stop - start) // 2
            form, nbytes = native.encode(items, start, stop, view, at)
        if form <= 0:  # no column, or no room
            break
        table.extend((form, at, nbytes, stop - start))
        at += -(-nbytes // 8) * 8
        done = stop
        if stop - start < grain:
            break
    if done == first:
        arena.free(region)
        return None
    write_head(view, table, 0, 0)
    return Block(arena.shrink(region, at), done - first)


def _guess(taken: Taken, limit: int) -> int:
    """Bytes that scalars may take as columns; a guess that is too low ends the block early."""
    count = taken.stop - taken.start
    if type(taken.items[taken.start]) not in (str, bytes):
        return 8 * count
    items = taken.items[taken.start : taken.stop : max(1, count // 64)]
    lengths = [len(item) for item in items if type(item) in (str, bytes)]
    expected = sum(lengths) if len(items) == count else 2 * count * max(lengths)
    return min(max(limit, lengths[0]), expected) + 8 * count


def _write_rows(arena: Arena, rows: Any, grain: int, limit: int) -> Block:
    if found := shared.find(rows):
        return _refer(arena, rows, grain, *found)
    count = max(1, min(len(rows), limit // max(rows.nbytes // len(rows), 1)))
    parts = [rows[at : min(at + grain, count)] for at in range(0, count, grain)]
    grains = [Grain(Form.ROWS, ((0, part),), part.nbytes, len(part)) for part in parts]
    return write_grains(arena, grains, note_form(rows), is_dense=True)


def _refer(arena: Arena, rows: Any, grain: int, segment: Segment, offset: int) -> Block:
    """A block of rows that are in shared memory already."""
    number, row = arena.adopt(segment), rows.nbytes // len(rows)
    table = array("q")
    for start in range(0, len(rows), grain):
        length = min(grain, len(rows) - start)
        table.extend((Form.SHARED, offset + start * row, length * row, length))
    notes = pickle.dumps((rows.dtype, rows.shape, False, number))
    return Block(begin_block(arena, table, notes, 8 * (HEADER + len(table)) + len(notes)), len(rows), (number,))


def _write_mixed(arena: Arena, items: list[Any], grain: int, limit: int, is_apart: bool) -> Block:
    pickler, kinds = payload.ObjectPickler(), None if is_apart else Kinds.known()
    grains: list[Grain] = []
    nbytes = 0
    for start in range(0, len(items), grain):
        table = Table(pickler, items[start : start + grain], kinds)
        made, error = table.fill(limit - nbytes)
        grains += [made] if made.length else []
        if error is not None:
            before = write_grains(arena, grains, pickler.shared()) if grains else None
            raise EncodingFailed(before, error)
        nbytes += made.nbytes
        if nbytes > limit or made.length < grain:
            break
    return write_grains(arena, grains, pickler.shared())


def encode_results(arena: Arena, results: list[Any], failed: Mapping[int, FailureRecord], watch: Watch) -> Block:
    """Write results as one grain; those at the positions in `failed` are failures.

    Args:
        arena: Where the block is made.
        results: One entry an item: its result; at a failed position anything.
        failed: What happened there.
        watch: Is told of every result before its pickling code runs, and asked what to write
            instead of one that cannot be pickled.

    Raises:
        OSError: There is not enough memory.
    """
    if not failed and (stacking := _stacking(results)):
        return write_grains(arena, [stacking(results)], note_form(results[0]))
    pickler = payload.ObjectPickler(gives_back=True)
    made = Table(pickler, results, Kinds.known()).fill_watched(failed, watch)
    return write_grains(arena, [made], pickler.shared())
