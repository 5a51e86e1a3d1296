"""A block put into memory: its header, the table of its grains, their notes, the grains. blocks.py has the formats."""

from __future__ import annotations

import pickle
from array import array
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import native
from .arrays import copy_array
from .grains import Grain
from .segments import Region, round_up
from .shm import Arena

HEADER, ENTRY = 8, 4  # words


class Block(NamedTuple):
    """A block in memory.

    Attributes:
        region: Where it is.
        length: How many entries it has.
        refers_to: The segments that it refers to.
        keeps: The items that it refers to, which are to live as long as it does.
    """

    region: Region
    length: int
    refers_to: tuple[int, ...] = ()
    keeps: Any = None


def write_head(view: memoryview, table: array[int], notes_at: int, notes_nbytes: int) -> None:
    """Write the header and the table of grains of a block."""
    words = view.cast("q")
    words[:HEADER] = array("q", (0, len(table) // ENTRY, notes_at, notes_nbytes, 0, 0, 0, 0))
    words[HEADER : HEADER + len(table)] = table


def begin_block(arena: Arena, table: array[int], notes: bytes, nbytes: int) -> Region:
    """Memory for a block of so many bytes, in which all that comes before its grains is written."""
    region = arena.allocate(nbytes)
    view, notes_at = arena.view(region), 8 * (HEADER + len(table))
    write_head(view, table, notes_at, len(notes))
    view[notes_at : notes_at + len(notes)] = notes
    return region


def note_form(array: Any) -> bytes:
    """The notes of a block of rows of an ndarray, or of ndarrays like it."""
    return pickle.dumps((array.dtype, array.shape, bool(array.flags.writeable)))


def write_grains(arena: Arena, grains: Sequence[Grain], notes: bytes, *, is_dense: bool = False) -> Block:
    """Write a block of grains and their notes; `is_dense`: without a gap between one grain and the next.

    Raises:
        OSError: There is not enough memory.
    """
    at = round_up(8 * (HEADER + ENTRY * len(grains)) + len(notes))
    table = array("q")
    for grain in grains:
        table.extend((grain.form, at, grain.nbytes, grain.length))
        at = at + grain.nbytes if is_dense else round_up(at + grain.nbytes)
    region = begin_block(arena, table, notes, at)
    view = arena.view(region)
    for place, grain in zip(table[1::ENTRY], grains, strict=True):
        for offset, part in grain.parts:
            _copy(view, place + offset, part)
    return Block(region, sum(grain.length for grain in grains))


def _copy(view: memoryview, at: int, part: Any) -> None:
    if isinstance(part, bytes | bytearray | memoryview | array):
        data = memoryview(part).cast("B")
        view[at : at + data.nbytes] = data
    elif isinstance(part, list):
        native.stack(part, view, at)
    else:
        copy_array(part, view, at)
