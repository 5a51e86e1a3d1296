"""The native core in Python: the same functions, the same memory, the same answers, slower.

The loops over items are here; words, the ledger and columns have files of their own. native/README.md
has the formats.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from .twin_columns import LIMIT, decode, encode
from .twin_fetch import admit, fetch, fetch_bytes, locate
from .twin_ledger import LEDGER_WORDS, claim, hand_back, owned, publish
from .twin_plain import are_plain, build, call_uncollected
from .twin_stack import alike, stack
from .twin_words import MOST, between, fence, int64, load, open_words, signed, spin, store

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = [
    "LEDGER_WORDS",
    "admit",
    "alike",
    "are_plain",
    "await_each",
    "build",
    "call_each",
    "call_uncollected",
    "claim",
    "decode",
    "encode",
    "fence",
    "fetch",
    "fetch_bytes",
    "hand_back",
    "load",
    "locate",
    "owned",
    "publish",
    "spin",
    "stack",
    "store",
]

_JOB, _INDEX, _CANCELLED = 0, 1, 4  # of a worker's slot
_END = object()


def call_each(
    function: Callable[[Any], Any],
    items: list[Any] | tuple[int, ReadableBuffer, int, int, int],
    at: int,
    stop: int,
    results: list[Any],
    slot: WriteableBuffer,
    index: int,
    until: int,
    room: WriteableBuffer | None,
    offset: int,
    state: WriteableBuffer,
    /,
) -> None:
    """Call a function for each of items[at:stop]; `state` then has where it ended and what is in the room."""
    if type(results) is not list:
        raise TypeError("results must be a list, and no subclass")
    at, stop, index, until = between("at", at, 0, MOST), between("stop", stop, 0, MOST), int64(index), int64(until)
    with open_words(slot, 8) as words, open_words(state, 4) as told:
        listed = _listed(items, at)
        stop = min(stop, len(listed))
        made: list[Any] | None = None if room is None else []
        try:
            for told[0] in range(at, stop):
                if _is_over(words, until, told[0] - at) or told[0] >= len(listed):
                    break
                words[_INDEX] = signed(index + told[0])
                result = function(listed[told[0]])
                (results if made is None else made).append(result)
            else:
                told[0] = max(at, stop)
        finally:
            told[1:4] = array("q", _pack(made, results, room, offset))


def _is_over(words: memoryview, until: int, run: int) -> bool:
    """Whether the loop ends before the next item; one is run in any case."""
    return words[_CANCELLED] == words[_JOB] or (run > 0 and monotonic_ns() > until)


def _listed(items: Any, at: int) -> list[Any]:
    if type(items) is not tuple:
        if type(items) is not list:
            raise TypeError("items must be a list, and no subclass")
        return items
    if len(items) != 5:
        raise ValueError("a column is (kind, buffer, offset, nbytes, count)")
    listed = [None] * between("count", items[4], at, LIMIT)
    decode(*items, listed, 0)
    return listed


def _pack(
    made: list[Any] | None, results: list[Any], room: WriteableBuffer | None, offset: int
) -> tuple[int, int, int]:
    """Write what was made as one column, where it is one; else it goes into the list."""
    if not made or room is None:
        return 0, 0, 0
    kind, nbytes = encode(made, 0, len(made), room, offset)
    if kind > 0:
        return kind, nbytes, len(made)
    results[:0] = made
    return 0, 0, 0


def await_each(
    function: Callable[[Any], Any], items: Iterator[Any], results: list[Any], until: int, state: WriteableBuffer, /
) -> tuple[Any, Any] | bool:
    """Run coroutines until one suspends, (coroutine, yielded), the time is over, True, or the items, False."""
    if type(results) is not list:
        raise TypeError("results must be a list, and no subclass")
    if not hasattr(type(items), "__next__"):
        raise TypeError("items must be an iterator")
    until = int64(until)
    with open_words(state, 1) as index:
        while True:
            index[0] = -1
            if (item := next(items, _END)) is _END:
                return False
            index[0] = len(results)
            results.append(item)
            coroutine = function(item)
            try:
                return coroutine, coroutine.send(None)
            except StopIteration as ended:  # never the coroutine's own: the interpreter makes a RuntimeError of that
                results[index[0]] = ended.value
            if monotonic_ns() > until:
                return True
