"""Dispatch: which items where, and what a death costs. Decides and does nothing: no I/O, no clock, no process.

Events go in as method calls, instructions come out as return values. Rules:

 1. An index belongs to one span at a time: planned, offered, running, to be encoded again, or done.
 2. A worker holds at most two ranges, the second only where ranges are short: it hides the way to
    the parent and back. Nobody waits behind a long one.
 3. Ranges are sized by measured time (`Pace`): a few milliseconds each, fewer items towards the end.
    A worker that has overrun hands the rest of its range back, so a wrong guess costs little.
 4. A worker that dies costs the item that it ran, if it ran one: that item is tried again alone, up
    to `crash_retries` times, then blamed. Everything else it held runs elsewhere.
 5. Jobs take turns; none has more workers than its `max_workers`.
 6. At most a window of items is planned and not delivered.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from .pace import Pace
from .ranges import Blame, Held, Limits, Send, Span

_AHEAD = 8  # ranges per worker in the window: enough for one slow item to hold back its neighbours


@dataclass(slots=True)
class _Job:
    limits: Limits
    pace: Pace = field(default_factory=Pace)
    planned: int = 0  # index up to which items have been planned for the first time
    delivered: int = 0
    is_sealed: bool = False
    again: deque[Span] = field(default_factory=deque)  # to be encoded once more, before any new item
    ready: deque[int] = field(default_factory=deque)  # encoded ranges that wait for a worker
    crashes: Counter[int] = field(default_factory=Counter)  # item -> workers that it has ended
    holders: Counter[int] = field(default_factory=Counter)  # worker -> ranges of this job that it holds


class Dispatch:
    """The state of all jobs and workers of a pool."""

    def __init__(self) -> None:
        self._jobs: dict[int, _Job] = {}
        self._ranges: dict[int, Held] = {}
        self._workers: dict[int, deque[int]] = {}  # worker -> its ranges, the running one first
        self._turn: deque[int] = deque()  # jobs, the next to be served first
        self._numbered = 0

    # --- jobs -------------------------------------------------------------------------------

    def open(self, job: int, limits: Limits) -> None:
        """A job begins."""
        self._jobs[job] = _Job(limits)
        self._turn.append(job)

    def is_hungry(self, job: int) -> bool:
        """Whether there is a span to plan: few ranges wait for a worker, and there are items to send."""
        state = self._jobs[job]
        if len(state.ready) >= state.limits.max_workers:
            return False
        return bool(state.again) or not (state.is_sealed or self._is_window_full(state))

    def plan(self, job: int) -> Span | None:
        """The span that the job's owner should encode next; None: nothing for now."""
        if not self.is_hungry(job):
            return None
        state = self._jobs[job]
        size = state.limits.chunksize or self._size(state)
        if state.again:
            return self._plan_again(state, size)
        start = state.planned
        state.planned += size
        return Span(start, start + size)

    def seal(self, job: int, length: int) -> None:
        """The input has ended: there are `length` items. What was planned beyond is no more."""
        state = self._jobs[job]
        state.is_sealed = True
        state.planned = length
        state.again = deque(span for span in state.again if span.start < length)

    def offer(self, job: int, planned: Span, count: int) -> int:
        """The first `count` items of a planned span are encoded; returns the number of their range.

        The rest of the span did not fit, and is planned again.
        """
        state = self._jobs[job]
        stop = planned.start + count
        if stop < planned.stop:
            state.again.appendleft(Span(stop, planned.stop))
            state.pace.fit(count)
        self._numbered += 1
        self._ranges[self._numbered] = Held(job, Span(planned.start, stop), planned.start)
        state.ready.append(self._numbered)
        return self._numbered

    def again(self, job: int, span: Span) -> None:
        """These items were planned but not offered: plan them once more."""
        if span.start < span.stop:
            self._jobs[job].again.appendleft(span)

    def deliver(self, job: int, count: int) -> None:
        """The job's owner has passed `count` outcomes on."""
        self._jobs[job].delivered += count

    def close(self, job: int) -> None:
        """A job ends; the ranges that still run go on, and count for nothing."""
        state = self._jobs.pop(job)
        self._turn.remove(job)
        for number in state.ready:
            del self._ranges[number]

    def held(self, worker: int) -> Held | None:
        """The range that a worker runs, as far as is known here."""
        return self._ranges[self._workers[worker][0]] if self._workers[worker] else None

    def holders(self, job: int) -> list[int]:
        """The workers that hold ranges of a job, also after it has been closed."""
        return [worker for worker, held in self._workers.items() if any(self._ranges[n].job == job for n in held)]

    # --- workers ----------------------------------------------------------------------------

    def join(self, worker: int) -> None:
        """A worker can be given ranges."""
        self._workers[worker] = deque()

    def assign(self) -> list[Send]:
        """Give ready ranges to workers that have room; to be called after every event."""
        sends: list[Send] = []
        for depth in (0, 1):
            for worker, held in self._workers.items():
                if len(held) == depth and (number := self._next_range(worker)) is not None:
                    held.append(number)
                    job = self._ranges[number].job
                    self._jobs[job].holders[worker] += 1
                    sends.append(Send(worker, number, job))
        return sends

    def progress(self, number: int, stop: int) -> None:
        """The outcomes of a range up to index `stop` have arrived."""
        self._ranges[number].done = stop

    def finish(self, worker: int, number: int, seconds: float) -> None:
        """A worker is done with a range; what it has not reported goes elsewhere."""
        self._workers[worker].remove(number)
        ended = self._ranges.pop(number)
        state = self._jobs.get(ended.job)
        if state is None:
            return
        state.holders[worker] -= 1
        if ended.done > ended.span.start:
            state.pace.measure(ended.done - ended.span.start, seconds)
        self.again(ended.job, Span(ended.done, ended.span.stop))

    def lose(self, worker: int, running: int, index: int, *, is_final: bool) -> list[Blame]:
        """A worker has died.

        Args:
            worker: Which one.
            running: The range that it ran, -1 for none.
            index: The item that it ran, -1 for none.
            is_final: Whether the item is blamed at once (a timeout) or may be tried again (a crash).
        """
        blames: list[Blame] = []
        for number in self._workers.pop(worker):
            lost = self._ranges.pop(number)
            state = self._jobs.get(lost.job)
            if state is None:
                continue
            del state.holders[worker]
            rest = Span(lost.done, lost.span.stop)
            if number == running and rest.start <= index < rest.stop:
                blames += self._blame(lost.job, state, rest, index, is_final)
            else:
                self.again(lost.job, rest)
        return blames

    # --- inside -----------------------------------------------------------------------------

    def _size(self, state: _Job) -> int:
        length = state.limits.length
        left = None if length is None else length - state.planned
        return state.pace.size(left, state.limits.max_workers)

    @staticmethod
    def _plan_again(state: _Job, size: int) -> Span:
        span = state.again.popleft()
        if span.stop - span.start > size:
            state.again.appendleft(Span(span.start + size, span.stop))
        return Span(span.start, min(span.stop, span.start + size))

    @staticmethod
    def _is_window_full(state: _Job) -> bool:
        window = _AHEAD * state.limits.max_workers * (state.limits.chunksize or state.pace.size())
        return state.limits.is_windowed and state.planned - state.delivered >= window

    def _next_range(self, worker: int) -> int | None:
        for _ in range(len(self._turn)):
            job = self._turn[0]
            self._turn.rotate(-1)
            state = self._jobs[job]
            if state.ready and self._may_queue(worker, job) and self._is_allowed(worker, state):
                return state.ready.popleft()
        return None

    def _may_queue(self, worker: int, job: int) -> bool:
        """Whether a range may wait behind what a worker runs: that is short, and nobody else wants the worker."""
        if not self._workers[worker]:
            return True
        is_own = self._ranges[self._workers[worker][0]].job == job
        return is_own and self._jobs[job].pace.is_short and not any(self._jobs[o].ready for o in self._turn if o != job)

    @staticmethod
    def _is_allowed(worker: int, state: _Job) -> bool:
        if state.holders[worker]:
            return True
        return sum(1 for ranges in state.holders.values() if ranges) < state.limits.max_workers

    def _blame(self, job: int, state: _Job, rest: Span, index: int, is_final: bool) -> list[Blame]:
        if state.limits.is_whole and rest.stop - rest.start > 1:
            for at in reversed(range(*rest)):  # any of them may be guilty: find out one by one
                self.again(job, Span(at, at + 1))
            return []
        state.crashes[index] += 1
        self.again(job, Span(index + 1, rest.stop))
        self.again(job, Span(rest.start, index))
        if is_final or state.crashes[index] > state.limits.crash_retries:
            return [Blame(job, index, state.crashes[index])]
        self.again(job, Span(index, index + 1))
        return []
