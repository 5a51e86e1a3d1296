"""The hatch: where the parent hands one item to a worker, with its function, and finds the result.

A call of one item has nothing to share out; it needs no job, ledger or record. The hatch is a page of the
worker's slot on the board, of 64-bit signed integers in the machine's byte order:

    word    written by  meaning
    0       parent      ASKED: number of the last errand, unique in the pool; written last
    1       worker      ANSWERED: number of the last errand that is over; written last
    2...5   parent      where the caller stands: NUMBER SEGMENT OFFSET NBYTES of a parcel (transport.py)
    6       parent      bytes of the function's pickle
    7, 8    parent      the item: KIND NBYTES; a column of one (native/README.md), or PICKLE
    9, 10   worker      the result: KIND NBYTES; a column of one, BLOCK, or NOTHING: the function cannot be loaded
    11...14 worker      where the block of the result lies: SEGMENT OFFSET NBYTES IS_ALONE
    16...   both        function and item, each from a multiple of 64 bytes on; then, in their place, the result

The parent writes only while ANSWERED is ASKED, the worker only while it is not. There is one errand at a
time, and both sides have the item until the result is there, so nothing is lost with either of them: the
parent takes what has been answered, also by a worker that has ended since, and sends out what has not.

Tolerated race, and its worst consequence: a worker that dies in the middle of an answer leaves half of it
there, over function and item. ANSWERED does not say that it is there, so nobody reads it.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

from . import native, payload
from .segments import Region, round_up

_ASKED, _ANSWERED, _HERE, _CALL, _ITEM, _RESULT, _BLOCK = 0, 1, 2, 6, 7, 9, 11
_DATA = 16
NBYTES = 8 * (512 - _DATA)  # for function and item
PICKLE, BLOCK, NOTHING = 0, 0, -1  # kinds besides those of columns


class Answer(NamedTuple):
    """What a worker has answered: a result of its own, a block of one result, or nothing at all."""

    result: Any = None
    block: Region | None = None
    is_nothing: bool = False

    @property
    def is_special(self) -> bool:
        """Whether it is not simply a result."""
        return self.is_nothing or self.block is not None


class Hatch:
    """One worker's hatch, from either side."""

    def __init__(self, words: memoryview) -> None:
        self.words = words
        self.errand = 0  # in the parent: number of the errand that is under way, 0 for none
        self.noticed = 0  # the last one of whose result whoever waits has been told
        self._before = 0  # what ANSWERED was before it
        self._data = words[_DATA:].cast("B")

    def clear(self) -> None:
        """Make it ready for a new worker."""
        self.words[:_DATA] = array("q", bytes(8 * _DATA))

    # --- the parent -----------------------------------------------------------------------------

    def ask(self, errand: int, here: tuple[int, int, int, int], call: bytes, item: list[Any] | bytes) -> bool:
        """Hand in an item; False if there is no room for it.

        Args:
            errand: Number of the errand.
            here: Number of the parcel of the caller's surroundings, and where it lies.
            call: The pickle of what is called.
            item: The item: alone in a list if it is one of the types of columns, or its pickle.
        """
        at = round_up(len(call))
        if at > len(self._data):
            return False
        kind, nbytes = self._write(item, at)
        if kind < 0:
            return False
        self._data[: len(call)] = call
        self.words[_HERE:_RESULT] = array("q", (*here, len(call), kind, nbytes))
        self.errand, self._before = errand, self.words[_ANSWERED]
        native.store(self.words, _ASKED, errand)
        return True

    def _write(self, item: list[Any] | bytes, at: int) -> tuple[int, int]:
        if isinstance(item, list):
            kind, nbytes = native.encode(item, 0, 1, self._data, at)
            return (kind, nbytes) if kind > 0 else (-1, 0)  # an int that is too large, or no room
        if len(item) > len(self._data) - at:
            return -1, 0
        self._data[at : at + len(item)] = item
        return PICKLE, len(item)

    @property
    def is_answered(self) -> bool:
        """Whether there is an errand under way whose result is there."""
        return self.errand != 0 and native.load(self.words, _ANSWERED) == self.errand

    def has_news(self) -> bool:
        """Whether there is a result of which nobody has been told."""
        return self.is_answered and self.noticed != self.errand

    def notice(self) -> None:
        """Whoever waits is about to be told of what is there."""
        if self.is_answered:
            self.noticed = self.errand

    def watch(self, nanoseconds: int) -> None:
        """Watch for the result, for so long at the most."""
        if nanoseconds and not self.is_answered:
            native.spin(self.words, _ANSWERED, self._before, nanoseconds)

    def answer(self) -> Answer:
        """The result that is there."""
        kind, nbytes, segment, offset, size, is_alone = self.words[_RESULT : _BLOCK + 4]
        if kind == NOTHING:
            return Answer(is_nothing=True)
        if kind == BLOCK:
            return Answer(block=Region(segment, offset, size, bool(is_alone)))
        results = [None]
        native.decode(kind, self._data, 0, nbytes, 1, results, 0)
        return Answer(results[0])

    def keep(self) -> None:
        """Keep what is there, as the worker has ended and another is about to have the slot."""
        self.words = memoryview(array("q", self.words))
        self._data = self.words[_DATA:].cast("B")

    # --- the worker -----------------------------------------------------------------------------

    def asked(self) -> int:
        """Number of the errand that waits to be run, 0 for none."""
        errand = native.load(self.words, _ASKED)
        return errand if errand != self.words[_ANSWERED] else 0

    def here(self) -> tuple[int, int, int, int]:
        """The parcel of the caller's surroundings: number, segment, offset, length."""
        number, segment, offset, nbytes = self.words[_HERE:_CALL]
        return number, segment, offset, nbytes

    def call(self) -> memoryview:
        """The pickle of what is called."""
        return self._data[: self.words[_CALL]]

    def item(self) -> Any:
        """The item.

        Raises:
            BaseException: Whatever unpickling it raises.
        """
        at, kind, nbytes = round_up(self.words[_CALL]), *self.words[_ITEM:_RESULT]
        if kind == PICKLE:
            return payload.load(self._data[at : at + nbytes])
        items = [None]
        native.decode(kind, self._data, at, nbytes, 1, items, 0)
        return items[0]

    def write(self, result: Any) -> bool:
        """Write a result of one of the types of columns; False if it does not fit."""
        kind, nbytes = native.encode([result], 0, 1, self._data, 0)
        self.words[_RESULT:_BLOCK] = array("q", (kind, nbytes))
        return kind > 0

    def refer(self, region: Region | None) -> None:
        """Say where the result lies, or that there is none."""
        kind = NOTHING if region is None else BLOCK
        self.words[_RESULT : _BLOCK + 4] = array("q", (kind, 0, *(region or (0, 0, 0, 0))))

    def close(self, errand: int) -> None:
        """Say that the errand is over, and the result there."""
        native.store(self.words, _ANSWERED, errand)
