"""The native core in Python: the same functions, the same memory, the same answers, slower.

The loop over a claim's items is here; words, the ledger and columns have files of their own. native/README.md
has the formats.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from .twin_columns import decode, encode
from .twin_ledger import LEDGER_WORDS, claim, hand_back, owned, publish
from .twin_words import MOST, between, fence, int64, load, open_words, signed, spin, store

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = [
    "LEDGER_WORDS",
    "call_each",
    "claim",
    "decode",
    "encode",
    "fence",
    "hand_back",
    "load",
    "owned",
    "publish",
    "spin",
    "store",
]

_JOB, _INDEX, _CANCELLED = 0, 1, 4  # of a worker's slot


def call_each(
    function: Callable[[Any], Any],
    items: list[Any],
    at: int,
    results: list[Any],
    slot: WriteableBuffer,
    index: int,
    until: int,
    /,
) -> int:
    """Call a function for each item from items[at] on; the position of the next."""
    for value, name in ((items, "items"), (results, "results")):
        if type(value) is not list:
            raise TypeError(f"{name} must be a list, and no subclass")
    at, index, until = between("at", at, 0, MOST), int64(index), int64(until)
    looked, stride, left = 0, 1, 1
    with open_words(slot, 8) as words:
        while at < len(items) and words[_CANCELLED] != words[_JOB]:
            if not left:
                now = monotonic_ns()
                if now > until:
                    break
                left = stride = min(2 * stride, 64) if now - looked < 10_000 else 1  # as in native/loop.c
                looked = now
            words[_INDEX] = signed(index + at)
            results.append(function(items[at]))
            at += 1
            left -= 1
    return at
