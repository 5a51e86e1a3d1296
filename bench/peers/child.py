"""The processes of the peer "by hand": they take items out of memory, call, and put results into memory."""

from __future__ import annotations

import mmap
import pickle
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain, islice
from multiprocessing.connection import Connection
from typing import Any

from pocketflex._engine import native

from ..loads.load import Function

PIECE = 1 << 18  # bytes that are read from the caller's memory at a time
RUN = 2_048  # items of a column: their objects stay in a cache until they have been used
_LARGE = 4_096  # bytes of a result that is not written into a column
ASKED, ANSWERED = 0, 8  # words through which single items go, a cache line each ...
QUESTION, ANSWER, END = 128, 2_048, 4_096  # ... and bytes
FOREVER = 1 << 40  # ns
Run = tuple[int, int, int, int]  # of a column: kind, offset, bytes, items


class Source(Enum):
    """Where the items of a slice are."""

    COLUMN = "in shared memory, as runs of a column"
    ROWS = "in the caller's memory, as pieces of rows"
    BYTES = "in the caller's memory, as bytes objects"


@dataclass(frozen=True)
class Slice:
    """Neighbouring items.

    Attributes:
        function: What is called with each.
        source: Where they are.
        parts: The runs of the column; or address and bytes of each piece.
        shape: Of an item that is an array.
        count: How many.
        room: Where the results may begin.
    """

    function: Function
    source: Source
    parts: tuple[Any, ...]
    shape: tuple[int, ...]
    count: int
    room: int


@dataclass(frozen=True)
class Written:
    """The results of a slice: runs of a column; or what each is, and they lie side by side."""

    runs: tuple[Run, ...] = ()
    shape: tuple[int, ...] | None = None
    nbytes: int = 0


class Child:
    """One process.

    Args:
        items: Memory shared with the caller, who writes.
        results: Memory shared with the caller, who reads.
        words: Memory for single items.
        parent: The caller's pid.
    """

    def __init__(self, items: mmap.mmap, results: mmap.mmap, words: mmap.mmap, parent: int) -> None:
        self._items, self._results, self._words, self._parent = items, results, words, parent

    def serve(self, pipe: Connection[Any, Any]) -> None:
        """Run slices until the pipe ends; at None, watch for single items."""
        try:
            while (given := pipe.recv()) is not None:
                pipe.send(self._run(given))
            self._watch()
        except (EOFError, OSError):
            return

    def _run(self, given: Slice) -> Written:
        outcomes = map(given.function, chain.from_iterable(self._read(given)))
        first = next(outcomes)
        if type(first).__name__ == "ndarray":
            return self._write_rows(first, outcomes, given)
        if isinstance(first, bytes) and len(first) > _LARGE:
            return self._write_bytes(first, outcomes, given.room)
        return Written(tuple(self._write_columns(first, outcomes, given.room)))

    # --- in -------------------------------------------------------------------------------------------

    def _read(self, given: Slice) -> Iterator[Iterable[Any]]:
        if given.source is Source.COLUMN:
            return self._read_columns(given.parts)
        if given.source is Source.BYTES:
            return ([native.fetch_bytes(self._parent, *part)] for part in given.parts)
        return self._read_rows(given)

    def _read_columns(self, runs: Iterable[Run]) -> Iterator[list[Any]]:
        for kind, at, nbytes, count in runs:
            items: list[Any] = [None] * count
            native.decode(kind, self._items, at, nbytes, count, items, 0)
            yield items

    def _read_rows(self, given: Slice) -> Iterator[Any]:
        import numpy as np

        memory = bytearray(max(PIECE, *(nbytes for _, nbytes in given.parts)))
        for address, nbytes in given.parts:
            native.fetch(self._parent, array("q", (address, nbytes)), 0, 1, memoryview(memory)[:nbytes])
            yield np.frombuffer(memory, np.float64, nbytes // 8).reshape(-1, *given.shape)

    # --- out ------------------------------------------------------------------------------------------

    def _write_columns(self, first: Any, outcomes: Iterator[Any], at: int) -> Iterator[Run]:
        results = [first, *islice(outcomes, RUN - 1)]
        while results:
            kind, nbytes = native.encode(results, 0, len(results), self._results, at)
            yield kind, at, nbytes, len(results)
            at += -(-nbytes // 8) * 8
            results = list(islice(outcomes, RUN))

    def _write_rows(self, first: Any, outcomes: Iterator[Any], given: Slice) -> Written:
        import numpy as np

        room = np.frombuffer(self._results, first.dtype, given.count * first.size, given.room)
        rows = room.reshape(given.count, *first.shape)
        rows[0] = first
        for index, result in enumerate(outcomes, 1):
            rows[index] = result
        return Written((), first.shape, first.nbytes)

    def _write_bytes(self, first: bytes, outcomes: Iterator[bytes], at: int) -> Written:
        nbytes, result = len(first), first
        while result:
            self._results[at : at + nbytes] = result
            at += nbytes
            result = next(outcomes, b"")
        return Written((), None, nbytes)

    # --- single items -----------------------------------------------------------------------------------

    def _watch(self) -> None:
        number = 0
        while native.spin(self._words, ASKED, number, FOREVER):
            number = native.load(self._words, ASKED)
            function, item = pickle.loads(self._words[QUESTION:ANSWER])
            answer = pickle.dumps(function(item))
            self._words[ANSWER : ANSWER + len(answer)] = answer
            native.store(self._words, ANSWERED, number)
