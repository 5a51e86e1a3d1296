"""Two processes by hand: what a workload costs at the least, if processes do it.

    caller                                          child (two, forked before there were items)
    put a slice into memory, say where      ──▶     take the items, call
    take the results out of memory          ◀──     put the results into memory, say what they are

Not a rival: it knows beforehand what items and results are, shares them out evenly without looking, keeps results
only until its next call, and an item that fails ends it. It is made of the same ingredients as the engine: native
columns, reads of the caller's memory. What lies between it and pocketflex is the price of an engine that can
be used; what lies between it and a target is the machine.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
from array import array
from collections.abc import Iterator
from typing import Any

import cloudpickle

from pocketflex._engine import native

from ..loads.load import Function, Items, Kind, Load, Results, Task
from ..messages import Form
from .child import ANSWER, ANSWERED, ASKED, END, FOREVER, PIECE, QUESTION, RUN, Child, Run, Slice, Source, Written
from .peer import WORKERS, LackingError, Peer, Style, bounds

_NBYTES = 1 << 30  # bytes of address space for either direction; only what is used has pages
_TURNS = 16  # slices for each child, where the caller has much to do for each


class ByHand(Peer):
    """Two forked processes and three pieces of shared memory."""

    def __init__(self) -> None:
        if not native.IS_NATIVE:
            raise LackingError("the native core was not built")
        self._items, self._results = (mmap.mmap(-1, _NBYTES) for _ in range(2))
        self._words = mmap.mmap(-1, END)
        self._asked = 0

    def open(self) -> None:
        """Fork the children."""
        context = multiprocessing.get_context("fork")
        child = Child(self._items, self._results, self._words, os.getpid())
        ends = [context.Pipe() for _ in range(WORKERS)]
        self._pipes = [ours for ours, _ in ends]
        self._children = [context.Process(target=child.serve, args=(theirs,), daemon=True) for _, theirs in ends]
        for process in self._children:
            process.start()

    def close(self) -> None:
        """End them."""
        for process in self._children:
            process.kill()
            process.join()

    def styles(self, kind: Kind) -> dict[str, Style]:
        """Slices of neighbours, or every other item: costs of neighbours are alike."""
        return {"halves": self._map_halves} if kind is Kind.BUSY else {"slices": self._map_slices}

    def forms(self, load: Load) -> list[Form]:
        """One."""
        return [Form(next(iter(self.styles(load.kind))))]

    def one(self, function: Function, item: Any) -> Any:
        """One child watches memory all the time; the function is pickled anew for each call, as it may have changed."""
        if not self._asked:
            self._pipes[0].send(None)
        question = cloudpickle.dumps((function, item))
        self._words[QUESTION : QUESTION + len(question)] = question
        self._asked += 1
        native.store(self._words, ASKED, self._asked)
        native.spin(self._words, ANSWERED, self._asked - 1, FOREVER)
        return pickle.loads(self._words[ANSWER:END])

    def _map_halves(self, task: Task, size: int) -> Results:
        results: list[Any] = [None] * len(task.items)
        parts = [task.items[number::WORKERS] for number in range(WORKERS)]
        for number, part in enumerate(self._map(task.function, parts)):
            results[number::WORKERS] = part
        return results

    def _map_slices(self, task: Task, size: int) -> Results:
        size = -(-len(task.items) // (WORKERS * _TURNS))
        parts = [task.items[start:stop] for start, stop in bounds(len(task.items), size)]
        results: list[Any] = []
        for part in self._map(task.function, parts):
            results += part
        return results

    def _map(self, function: Function, parts: list[Items]) -> Iterator[list[Any]]:
        at, room = 0, _NBYTES // len(parts)
        for number, part in enumerate(parts):
            source, where, shape, at = self._put(part, at)
            given = Slice(function, source, where, shape, len(part), number * room // 64 * 64)
            self._pipes[number % WORKERS].send(given)
        for number, part in enumerate(parts):
            yield self._take(self._pipes[number % WORKERS].recv(), len(part), number * room // 64 * 64)

    def _put(self, part: Items, at: int) -> tuple[Source, tuple[Any, ...], tuple[int, ...], int]:
        if not isinstance(part, list):  # rows of an array
            rows = max(1, PIECE // part[0].nbytes)
            return (
                Source.ROWS,
                _locate([part[start:stop] for start, stop in bounds(len(part), rows)]),
                part[0].shape,
                at,
            )
        if isinstance(part[0], bytes):
            return Source.BYTES, _locate(part), (), at
        if isinstance(part[0], (int, str)):
            runs = list(self._put_columns(part, at))
            return Source.COLUMN, tuple(runs), (), runs[-1][1] + -(-runs[-1][2] // 8) * 8
        return Source.ROWS, _locate(part), part[0].shape, at

    def _put_columns(self, part: list[Any], at: int) -> Iterator[Run]:
        for start, stop in bounds(len(part), RUN):
            kind, nbytes = native.encode(part, start, stop, self._items, at)
            yield kind, at, nbytes, stop - start
            at += -(-nbytes // 8) * 8

    def _take(self, written: Written, count: int, at: int) -> list[Any]:
        if written.shape is not None:
            import numpy as np

            rows = np.frombuffer(self._results, np.float64, count * written.nbytes // 8, at)
            return list(rows.reshape(count, *written.shape))
        if written.nbytes:
            ends = range(at, at + count * written.nbytes, written.nbytes)
            return [self._results[start : start + written.nbytes] for start in ends]
        results: list[Any] = [None] * count
        done = 0
        for kind, start, nbytes, found in written.runs:
            native.decode(kind, self._results, start, nbytes, found, results, done)
            done += found
        return results


def _locate(pieces: list[Any]) -> tuple[tuple[int, int], ...]:
    places = array("q", bytes(16 * len(pieces)))
    native.locate(pieces, places, 0)
    return tuple(zip(places[::2], places[1::2], strict=True))
