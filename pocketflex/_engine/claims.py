"""One claim under way in a worker, and the job that it is of. worker.py tells the story."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic, monotonic_ns
from typing import Any

from ..call import FRESH, Later
from ..outcome import Failure, Outcome, Outcomes, Value
from ..retry import begin_attempt
from . import failures, native
from .board import ATTEMPT, BEGAN, CANCELLED, COUNT, INDEX, JOB
from .fetching import FetchError
from .items import ItemReader
from .ledger import Claim
from .pace import BUDGET
from .ranges import Span, Tried
from .reading import Column
from .records import Record, Told
from .task import Office, Task
from .telling import Telling
from .wear import forget_peak

_LOOK = 0.0005  # seconds between two looks at the clock, which costs more than a tiny item ...
_MOST_UNWATCHED = 64  # ... but never more items than this, as they may turn out dearer than the last ones


class ClaimRun:
    """One claim under way."""

    def __init__(self, desk: Office, task: Task, claim: Claim, reader: ItemReader) -> None:
        self._desk = desk
        self._task = task
        self._claim = claim
        self._reader = reader
        self._words = desk.words
        self._span: Span = claim.entry.span(claim.first, claim.grains)
        self._telling = Telling(desk, task, claim, reader)
        self._returns = self._telling.returns
        self._watch = desk.stopwatch()
        self._is_over = False  # whether the rest of the claim is not to be run here
        self.is_held = False  # whether the parent has been told that the user's code still refers to the block
        self._next = self._span.start  # index of the first item that has not been run
        tried = Tried.unpack(claim.entry.tried) if claim.entry.tried else None  # such an item is alone in its block
        self._before = Later(tried.attempts, tried.milliseconds / 1000) if tried else FRESH

    def run(self) -> None:
        """Run the items and tell their outcomes; hand back what is not run."""
        begin_attempt(0)
        if self._task.endurance.nbytes:
            forget_peak()
        self._words[COUNT] = self._words[ATTEMPT] = 1
        run, is_unreadable = self._run_chunk if self._task.call.chunk else self._run_grains, False
        try:
            run()
        except FetchError:
            is_unreadable = True
        with suppress(Exception):  # items may have closed or replaced it
            sys.stdout.flush()  # what items print must not wait in a buffer that dies with this process
        self.is_held = self._telling.flush(is_last=True)
        if self.ran:
            self._task.pace.measure(self.ran, self._watch.seconds())
        if self._next < self._span.stop:
            self._hand_back(is_unreadable)

    @property
    def ran(self) -> int:
        """Items that have run."""
        return self._next - self._span.start

    # --- running --------------------------------------------------------------------------------

    def _run_grains(self) -> None:
        task, claim = self._task, self._claim
        is_plain = task.call.is_plain and task.timeout is None
        for grain in range(claim.first, claim.first + claim.grains):
            self._begin()
            if not is_plain or self._reader.is_pickled(grain):
                self._run_watched(iter(self._reader.items(grain)), self._next + self._reader.length(grain))
            else:
                self._run_pieces(grain)
            if self._is_over or (self._next < self._span.stop and not self._may_go_on()):
                return

    def _run_pieces(self, grain: int) -> None:
        for first, stop in self._reader.cuts(grain):
            self._begin()  # to read a piece may end this process too
            try:
                piece = self._reader.piece(grain, first, stop)
            except MemoryError:  # one by one, perhaps, some can be had
                self._run_watched(self._reader.one_by_one(grain, first, stop), self._next + stop - first)
            else:
                self._run_plain(piece)
            if self._is_over:
                return

    def _begin(self) -> None:
        if self._task.timeout is not None:
            self._words[BEGAN] = monotonic_ns()
        self._words[INDEX] = self._next

    def _run_plain(self, items: list[Any] | Column) -> None:
        """Run bare calls; the loop is native."""
        task, returns, first, at = self._task, self._returns, self._next, 0
        count = len(items) if isinstance(items, list) else items[-1]
        while at < count:
            error, state = None, array("q", (at, 0, 0, 0))
            until, stop = self._telling.due, min(count, at + self._telling.room)
            room, offset = returns.room()
            try:
                native.call_each(
                    task.call.function, items, at, stop, returns.results, self._words, first, until, room, offset, state
                )
            except BaseException as raised:
                error = raised
            at, *packed = state
            returns.keep(*packed)
            if error is not None:
                self._telling.fail(error)
                at += 1
            self._next = first + at
            is_due = self._telling.are_many() or at < count or monotonic_ns() > until
            if is_due and self._next < self._span.stop:  # behind the last item `run` tells, with what is held
                self._is_over = not self._may_go_on()
            if self._is_over:
                return

    def _run_watched(self, items: Iterator[Any], stop: int) -> None:
        """Run calls that need more than that: unpickling, attempts, a timeout."""
        stride, looked = 1, monotonic()
        while self._next < stop:
            end = min(self._next + stride, stop)
            while self._next < end:
                self._run_one(items, self._next)
                self._next += 1
            self._is_over = self._next < stop and not self._may_go_on()
            if self._is_over:
                return
            now = monotonic()
            stride = min(2 * stride, _MOST_UNWATCHED) if now - looked < _LOOK else max(1, stride // 2)
            looked = now

    def _run_one(self, items: Iterator[Any], index: int) -> None:
        task = self._task
        self._point_at(index)
        try:
            item = next(items)
        except FetchError:
            raise
        except BaseException as error:
            self._telling.fail(failures.unreadable(index, error), 1, "unpicklable")
            return
        try:
            if task.call.is_plain and task.timeout is None:
                self._returns.results.append(task.call.function(item))
            else:
                self._keep(index, task.call.try_on(index, item, task.timeout, self._before, self._begin_attempt))
        except BaseException as error:
            self._telling.fail(error)

    def _point_at(self, index: int) -> None:
        """Publish which item runs."""
        if self._task.timeout is None:
            self._words[INDEX] = index
            return
        self._words[BEGAN] = monotonic_ns() - int(self._before.spent * 1e9)  # before the index: see board.py
        self._words[COUNT] = 1  # after BEGAN: the parent reads them the other way round
        self._words[INDEX] = index
        if self._before.spent:  # the parent expects that an item has all of its time before it
            self._desk.ring()

    def _begin_attempt(self, attempt: int) -> None:
        begin_attempt(attempt)
        self._words[ATTEMPT] = attempt + 1

    def _keep(self, index: int, found: Outcome | Later) -> None:
        if isinstance(found, Later):
            self._telling.postpone(index, found)
        else:
            self._telling.keep(found)

    def _run_chunk(self) -> None:
        start, count, call = self._span.start, self._span.stop - self._span.start, self._task.call
        self._words[COUNT] = count
        self._begin()
        try:
            items = self._reader.sequence(self._claim.first, self._claim.first + self._claim.grains)
            outcomes = None if self._before.attempts else call.run_whole(start, items, self._task.timeout)
        except FetchError:
            raise
        except BaseException as error:
            outcomes = Outcomes.gather(start, [Failure(start + at, error) for at in range(count)])
        if outcomes is None:
            self._run_alone(items)
        else:
            failures = {failure.index: failure for failure in outcomes.failures}
            for index, result in enumerate(outcomes.results, start):
                self._telling.keep(failures.get(index) or Value(result))
        self._next = self._span.stop

    def _run_alone(self, items: Any) -> None:
        """Run the items of a chunk one at a time."""
        for at, index in enumerate(range(*self._span)):
            self._point_at(index)
            try:
                one = items[at : at + 1]
                call, timeout = self._task.call, self._task.timeout
                self._keep(index, call.try_alone(index, one, timeout, self._before, self._begin_attempt))
            except BaseException as error:
                self._telling.fail(error)

    # --- what may be done between two items -------------------------------------------------------

    def _may_go_on(self) -> bool:
        """Tell what there is to tell; False if the rest of the claim is not to be run here."""
        now = monotonic()
        self._telling.tell_due(now)
        is_late = not self._task.is_fixed and self._is_late(now)
        return not is_late and self._words[CANCELLED] != self._words[JOB]

    def _is_late(self, now: float) -> bool:
        return self._watch.wall(now) >= BUDGET and self._watch.seconds() >= BUDGET  # the first look costs nothing

    def _hand_back(self, is_unreadable: bool) -> None:
        """Let others run the rest; what cannot be read here, no other worker can read either."""
        whole, rest = (0, Span(self._next, self._span.stop)) if is_unreadable else self._claim.unbegun(self._next)
        if whole:
            self._task.ledger.hand_back(self._claim, whole, self._desk.number)
        told, number = Told.UNREADABLE if is_unreadable else Told.NOT_RUN, self._claim.entry.number
        self._desk.tell(Record(told, self._task.job, number, rest.start, rest.stop - rest.start))
