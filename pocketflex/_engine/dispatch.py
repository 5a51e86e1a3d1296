"""Dispatch: what is encoded next, and what a death costs. Decides and does nothing: no I/O, no clock, no process.

Workers claim items by themselves, from blocks in shared memory; dispatch decides which blocks there
are. Events go in as method calls, instructions come out as return values. Rules:

 1. An index belongs to one lot at a time, or waits to be planned, or to be due, or is done.
 2. Blocks are sized by measured time (`Pace`), and so is the grain in which they are claimed. Nothing
    is known of the first ones: they are small, and can be claimed item by item.
 3. Only so much waits unclaimed that no worker runs dry while the owner encodes more.
 4. A worker that dies costs the item that it ran, if it ran one: that item is tried again alone, up
    to `crash_retries` times, then blamed. Everything else it had claimed is planned again.
 5. At most a window of items is planned and not delivered.
 6. Where the owner of a job runs items too it takes them as they would be planned, or claims them as a
    worker does; but nothing of a job that has ended a worker, for that could end the owner. It may be
    in an item for long, so more waits unclaimed meanwhile.
 7. An item that waits for its next attempt is in no lot. Once due, it is planned alone, before new ones.
 8. Where memory is limited, there are no more blocks, of one item each, than it will do for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .course import Course
from .ranges import MOST_LOTS, Blame, Limits, Lot, Plan, Running, Span, Tried, joined

_TELLING = 20e-6  # seconds: of a shorter run of the owner's, most is what it takes to begin one


class Dispatch:
    """The state of all jobs of a pool."""

    def __init__(self) -> None:
        self._jobs: dict[int, Course] = {}
        self._lots: dict[int, Lot] = {}
        self._numbered = 0

    def open(self, job: int, limits: Limits) -> None:
        """A job begins."""
        crashes = {0: limits.crashes} if limits.crashes else {}
        self._jobs[job] = Course(limits, is_sealed=limits.length == 0, crashes=crashes)

    def is_hungry(self, job: int, unclaimed: int) -> bool:
        """Whether there is a span to plan: few items wait to be claimed, and there are items to send."""
        state = self._jobs.get(job)
        if state is None or state.lots >= (state.ration() or MOST_LOTS) or (state.lots and unclaimed >= state.enough()):
            return False
        return bool(state.again) or not (state.is_sealed or state.is_window_full())

    def plan(self, job: int, unclaimed: int) -> Plan | None:
        """The span that the job's owner should encode next; None: nothing for now."""
        if not self.is_hungry(job, unclaimed):
            return None
        state = self._jobs[job]
        size = state.size()
        if state.again:
            return self._plan_again(state, size)
        start, length = state.planned, state.limits.length
        if length is not None and start + size >= length:
            state.is_sealed, size = True, length - start
        state.planned += size
        return Plan(Span(start, start + size), state.grain(size))

    def is_joined(self, job: int) -> bool:
        """Whether the job's owner may run items itself."""
        state = self._jobs[job]
        return state.limits.is_joined and not state.crashes

    def take(self, job: int, most: int) -> Span | None:
        """A span for the job's owner to run itself, of at most so many items; None: nothing to be planned."""
        state = self._jobs[job]
        if not self.is_joined(job):
            return None
        size = state.limits.chunksize or most
        if state.again:
            return self._plan_again(state, size).span
        if state.is_sealed or state.is_window_full():
            return None
        state.planned += size
        return Span(state.planned - size, state.planned)

    def leave(self, job: int, taken: Span, at: int, seconds: float) -> None:
        """The owner has run a span that it took up to item `at`, and what it ran took so long."""
        state = self._jobs[job]
        if at > taken.start and seconds > _TELLING:
            state.pace.measure(at - taken.start, seconds)
        if taken.stop == state.planned and not state.is_sealed:
            state.planned = at
        else:
            self.again(job, Span(at, taken.stop))

    def seal(self, job: int, length: int) -> None:
        """The input has ended: there are `length` items. What was planned beyond is no more."""
        state = self._jobs[job]
        state.is_sealed = True
        state.planned = length
        state.again = deque(span for span in state.again if span.start < length)

    def offer(self, job: int, planned: Span, count: int) -> int:
        """The first `count` items of a planned span are in a block; returns its number.

        The rest of the span did not fit, and is planned again.
        """
        stop = planned.start + count
        self._jobs[job].pace.fit(count, is_full=stop < planned.stop)
        self.again(job, Span(stop, planned.stop))
        self._numbered += 1
        self._lots[self._numbered] = Lot(job, planned.start, bytearray(count), count)
        self._jobs[job].lots += 1
        return self._numbered

    def again(self, job: int, span: Span) -> None:
        """These items were planned but not offered: plan them once more."""
        if span.start < span.stop:
            self._jobs[job].again.appendleft(span)

    def deliver(self, job: int, count: int) -> None:
        """The job's owner has passed `count` outcomes on."""
        self._jobs[job].delivered += count

    def close(self, job: int) -> None:
        """A job ends; what still runs counts for nothing."""
        del self._jobs[job]
        self._lots = {number: lot for number, lot in self._lots.items() if lot.job != job}

    def is_open(self, number: int) -> bool:
        """Whether items of a block are not settled."""
        return number in self._lots

    def arrive(self, number: int, span: Span, seconds: float) -> None:
        """Items of a block have outcomes, which took so long."""
        lot = self._lots[number]
        self._settle(number, lot, span)
        self._jobs[lot.job].pace.measure(span.stop - span.start, seconds)
        self._jobs[lot.job].tried.pop(span.start, None)  # such an item is alone in its block

    def postpone(self, number: int, index: int, tried: Tried) -> None:
        """An item of a block has no outcome: it is to be tried again once it is `due`."""
        lot = self._lots[number]
        self._settle(number, lot, Span(index, index + 1))
        self._jobs[lot.job].tried[index] = tried

    def due(self, job: int, index: int) -> None:
        """An item that was postponed has waited long enough: its turn is behind those that have before it."""
        self._jobs[job].again.append(Span(index, index + 1))

    def tried(self, job: int, planned: Span) -> Tried:
        """What the item of a planned span has behind it."""
        return self._jobs[job].tried.get(planned.start, Tried())

    def needed(self, job: int, nbytes: int) -> None:
        """A worker needed so much memory for a claim, as far as it says."""
        if nbytes:
            self._jobs[job].need(nbytes)

    def hand_back(self, number: int, span: Span) -> None:
        """A worker has claimed items of a block and will not run them."""
        lot = self._lots.get(number)
        if lot is not None and span.start < span.stop:
            self._settle(number, lot, span)
            self.again(lot.job, span)

    def lose(self, claimed: Iterable[tuple[int, Span]], running: Running, *, is_final: bool) -> list[Blame]:
        """A worker has died.

        Args:
            claimed: What it had claimed: block and items, also such as have outcomes already.
            running: The item that it ran.
            is_final: Whether the item is blamed at once (a timeout) or may be tried again (a crash).
        """
        blames: list[Blame] = []
        for number, span in joined(claimed):
            lot = self._lots.get(number)
            if lot is None:
                continue
            for rest in lot.unsettled(*span):
                self._settle(number, lot, rest)
                if lot.job == running.job and rest.start <= running.item < rest.stop:
                    blames += self._blame(lot.job, rest, running.item, is_final)
                else:
                    self.again(lot.job, rest)
        return blames

    def _settle(self, number: int, lot: Lot, span: Span) -> None:
        lot.settle(*span)
        if not lot.open:
            del self._lots[number]
            self._jobs[lot.job].lots -= 1

    def _plan_again(self, state: Course, size: int) -> Plan:
        span = state.again.popleft()
        if span.stop - span.start > size:
            state.again.appendleft(Span(span.start + size, span.stop))
        span = Span(span.start, min(span.stop, span.start + size))
        return Plan(span, state.grain(size))

    def _blame(self, job: int, rest: Span, index: int, is_final: bool) -> list[Blame]:
        state = self._jobs[job]
        if state.limits.is_whole and rest.stop - rest.start > 1:
            for at in reversed(range(*rest)):  # any of them may be guilty: find out one by one
                self.again(job, Span(at, at + 1))
            return []
        state.crashes[index] = state.crashes.get(index, 0) + 1
        self.again(job, Span(index + 1, rest.stop))
        self.again(job, Span(rest.start, index))
        if is_final or state.crashes[index] > state.limits.crash_retries:
            return [Blame(job, index, state.crashes[index])]
        self.again(job, Span(index, index + 1))
        return []
