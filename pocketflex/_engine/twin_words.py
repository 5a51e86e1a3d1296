"""Words of shared memory in Python: load, store, fence, spin; part of the `twin`.

A word is read and written as a whole, as CPython copies 8 aligned bytes at once. That a buffer is
aligned cannot be seen from here, and is not checked.
"""

from __future__ import annotations

import os
from operator import index as as_int
from time import monotonic_ns
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

MOST = (1 << 63) - 1
# On x86 no store overtakes a store and no load a load; elsewhere each needs a fence.
_IS_ORDERED = os.uname().machine in ("x86_64", "i686")


def signed(value: int) -> int:
    """`value` in 64 bits, wrapped around."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


def between(name: str, value: int, low: int, high: int) -> int:
    """`value`, which must be an integer from `low` to `high`."""
    if not low <= as_int(value) <= high:
        raise ValueError(f"{name} is {value}, not from {low} to {high}")
    return as_int(value)


def int64(value: int) -> int:
    """`value`, which must be an integer of 64 bits."""
    return between("a number", value, -MOST - 1, MOST)


def open_bytes(buffer: ReadableBuffer) -> memoryview:
    """A buffer's bytes; to be released by the caller, or whoever unmaps the memory fails."""
    with memoryview(buffer) as raw:
        if not raw.c_contiguous:
            raise BufferError("the buffer is not contiguous")
        return raw.cast("B")


def open_words(buffer: WriteableBuffer, least: int = 0) -> memoryview:
    """A buffer's words; to be released by the caller, as those of `open_bytes`."""
    with open_bytes(buffer) as octets:
        if octets.readonly:
            raise BufferError("the buffer is read-only")
        if len(octets) // 8 < least:
            raise ValueError(f"the buffer has {len(octets) // 8} words, not {least}")
        with octets[: len(octets) // 8 * 8] as whole:
            return whole.cast("q")


def load(buffer: WriteableBuffer, word: int, /) -> int:
    """A word; what was written before it was stored is seen after."""
    with open_words(buffer) as words:
        value: int = words[between("word", word, 0, len(words) - 1)]
    if not _IS_ORDERED:
        fence()
    return value


def store(buffer: WriteableBuffer, word: int, value: int, /) -> None:
    """Store a word; whoever loads it sees what was written before."""
    if not _IS_ORDERED:
        fence()
    with open_words(buffer) as words:
        words[between("word", word, 0, len(words) - 1)] = int64(value)


def fence() -> None:
    """What was written before is seen by all before anything after is read.

    Entering the kernel is not enough; its scheduler begins with a full barrier on every machine, as
    membarrier(2) relies on.
    """
    os.sched_yield()


def spin(buffer: WriteableBuffer, word: int, value: int, nanoseconds: int, /) -> bool:
    """Wait until a word differs from a value, or for a time; whether it differs."""
    until = monotonic_ns() + int64(nanoseconds)
    value = int64(value)
    while load(buffer, word) == value:
        if monotonic_ns() >= until:
            return False
        os.sched_yield()
    return True
