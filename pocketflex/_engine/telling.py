"""The outcomes of a claim: kept, and told to the parent every 45 ms and at the end. worker.py tells the story."""

from __future__ import annotations

import os
import sys
from time import monotonic, monotonic_ns
from typing import Any

from ..call import Later
from ..outcome import Kind, Outcome, Value
from . import failures
from .board import BEGAN, INDEX, JOB
from .failures import FailureRecord
from .items import ItemReader
from .ledger import Claim
from .records import Record, Told
from .returns import Returns, size_of
from .task import Office, Task
from .wear import own_peak

_FLUSH = 0.045  # seconds; telling costs up to 0.1 ms, and a claim that lasts as planned tells once, at its end
_PACK = 256  # results that are worth a column
_LARGE = 1 << 12  # bytes; so many results above this are sent at a time ...
_MOST_BYTES = 2 << 20  # ... that they take so many bytes: they are copied while they are in a cache


class Telling:
    """What became of the items of one claim; the `Watch` of its results."""

    def __init__(self, desk: Office, task: Task, claim: Claim, reader: ItemReader) -> None:
        self._desk = desk
        self._task = task
        self._block = claim.entry.number
        self._reader = reader
        self.returns = Returns(desk.transport.arena, self)
        self._sent = claim.span.start  # index of the first item that has not been told
        self._stop = claim.span.stop
        self._later: Record | None = None  # an item that is to be tried again, to be told with the next outcomes
        self._told_at = monotonic()
        self._watch = desk.stopwatch()  # since then
        self._pid = os.getpid()

    # --- kept -----------------------------------------------------------------------------------

    def keep(self, outcome: Outcome) -> None:
        """The outcome of the next item."""
        if isinstance(outcome, Value):
            self.returns.results.append(outcome.result)
        else:
            self.fail(outcome.error, outcome.attempts, outcome.kind)

    def fail(self, error: BaseException, attempts: int = 1, kind: Kind = "exception") -> None:
        """The next item has failed."""
        returns = self.returns
        returns.failed[len(returns.results)] = failures.record(error, attempts, kind)
        returns.results.append(None)

    def postpone(self, index: int, later: Later) -> None:
        """The next item, of that index, is to be tried again after a while.

        That is told at once, unless it is the last of the claim: once all of its items are told, the block must
        not be referred to any more without the parent knowing, and that is told with the last outcomes.
        """
        spent, pause = int(later.spent * 1e9), int(later.pause * 1e9)
        self._later = Record(
            Told.LATER, self._task.job, self._block, index, 1, nanoseconds=spent, attempts=later.attempts, pause=pause
        )
        if index + 1 < self._stop:
            self.flush(is_last=False)

    # --- told -----------------------------------------------------------------------------------

    @property
    def due(self) -> int:
        """When outcomes are to be told, in ns of CLOCK_MONOTONIC."""
        return int((self._told_at + _FLUSH) * 1e9)

    @property
    def room(self) -> int:
        """So many items may be run before `are_many` is asked again."""
        return max(1, _MOST_BYTES // self._task.large) if self._task.large else sys.maxsize

    def are_many(self) -> bool:
        """Whether the results that wait take much memory."""
        results = self.returns.results
        size = size_of(results[-1]) if results else 0
        self._task.large = size if size > _LARGE else 0
        return self._task.large * len(results) >= _MOST_BYTES

    def tell_due(self, now: float) -> None:
        """Between two items: tell the outcomes so far if it is time, or they are many."""
        self._end_if_forked()
        is_full = len(self.returns.results) >= _PACK and not self.returns.pack()
        if is_full or self._is_due(now) or self.are_many():
            self.flush(is_last=False)

    def _is_due(self, now: float) -> bool:
        if now - self._told_at >= _FLUSH:
            self._told_at = now - self._watch.seconds()  # later, by as long as this process has waited for a CPU
        return now - self._told_at >= _FLUSH

    def flush(self, *, is_last: bool) -> bool:
        """Tell the outcomes so far; returns whether, at the end, the user's code still refers to the block."""
        self._end_if_forked()
        items = len(self.returns)
        each = int(self._watch.seconds() * 1e9 / items) if items else 0
        blocks = list(self.returns.take())
        is_held = is_last and self._reader.is_held()
        peak = own_peak() if is_last and self._task.endurance.nbytes else 0
        words, arena = self._desk.words, self._desk.transport.arena
        words[INDEX] = -1  # to tell may take long, and is no item's time
        if is_last:  # nothing more is run, which whoever reads the last record relies on
            words[JOB] = -1
        for at, block in enumerate(blocks):
            region, held = block.region, is_held and at == len(blocks) - 1
            arena.lend(region)
            self._desk.tell(
                Record(Told.OUTCOMES, self._task.job, self._block, self._sent, block.length, *region[:3],
                       each * block.length, held, region.is_alone, peak=peak)
            )  # fmt: skip
            self._sent += block.length
        if is_held and not blocks:
            self._desk.tell(Record(Told.OUTCOMES, self._task.job, self._block, self._sent, is_held=1))
        if self._later is not None:
            self._desk.tell(self._later)
            self._sent, self._later = self._sent + 1, None
        self._told_at, self._watch = monotonic(), self._desk.stopwatch()
        return is_held

    def _end_if_forked(self) -> None:
        if os.getpid() != self._pid:
            os._exit(0)  # an item has forked, and this is its child: the parent process goes on with the claim

    # --- while results are pickled ----------------------------------------------------------------

    def begin(self, position: int) -> None:
        """Publish whose result is about to be pickled."""
        if self._task.timeout is not None:
            self._desk.words[BEGAN] = monotonic_ns()
        self._desk.words[INDEX] = self._index(position)

    def refuse(self, position: int, error: BaseException) -> FailureRecord:
        """The failure of an item whose result cannot be pickled."""
        kind = type(self.returns.results[position]).__name__
        unsendable = failures.unsendable(self._index(position), kind, error)
        return failures.record(unsendable, kind="unpicklable")

    def let_go(self, results: list[Any]) -> None:
        """Let go of results one by one: a `__del__` may end this process, and that is its own item's doing."""
        words, first = self._desk.words, self._index(0)
        for position in range(len(results)):
            words[INDEX] = first + position
            results[position] = None

    def _index(self, position: int) -> int:
        return self._sent + self.returns.packed + position
