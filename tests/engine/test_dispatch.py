"""Dispatch without a process: any sequence of events ends every item exactly once."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pocketflex._engine.dispatch import Dispatch
from pocketflex._engine.pace import _TARGET
from pocketflex._engine.ranges import Blame, Limits, Send, Span

_AHEAD = 8  # ranges a worker that the window allows


@dataclass
class Range:
    """A range as the test sees it, in the hands of a worker or waiting for one."""

    job: int
    span: Span
    at: int  # the item that its worker is at
    told: int  # outcomes up to here have been reported


@dataclass
class Model:
    """What is true of a job, kept without Dispatch."""

    limits: Limits
    length: int
    is_sealed: bool = False
    next: int = 0  # first index that was never planned
    owned: set[int] = field(default_factory=set)  # planned, offered or running
    ended: Counter[int] = field(default_factory=Counter)
    crashes: Counter[int] = field(default_factory=Counter)
    offered: deque[int] = field(default_factory=deque)
    delivered: int = 0


class Events(RuleBasedStateMachine):
    """Jobs, workers, results and deaths in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch()
        self.jobs: dict[int, Model] = {}
        self.ranges: dict[int, Range] = {}
        self.workers: dict[int, list[int]] = {}
        self.numbers = 0

    # --- events ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.jobs) < 3)
    @rule(
        length=st.integers(0, 60),
        max_workers=st.integers(1, 4),
        chunksize=st.none() | st.integers(1, 7),
        crash_retries=st.integers(0, 2),
        is_known=st.booleans(),
        is_windowed=st.booleans(),
        is_whole=st.booleans(),
    )
    def open(
        self,
        length: int,
        max_workers: int,
        chunksize: int | None,
        crash_retries: int,
        is_known: bool,
        is_windowed: bool,
        is_whole: bool,
    ) -> None:
        limits = Limits(max_workers, chunksize, crash_retries, length if is_known else None, is_windowed, is_whole)
        self.numbers += 1
        self.jobs[self.numbers] = Model(limits, length)
        self.dispatch.open(self.numbers, limits)

    @precondition(lambda self: len(self.workers) < 5)
    @rule()
    def join(self) -> None:
        self.numbers += 1
        self.workers[self.numbers] = []
        self.dispatch.join(self.numbers)
        self.assign()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), times=st.integers(1, 4))
    def feed(self, data: st.DataObject, times: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        for _ in range(times):
            self.feed_once(number, data.draw(st.integers(0, 9), label="how the encoding goes"))

    def feed_once(self, number: int, fate: int = 5) -> bool:
        """What `Owner._feed` does. Fates: 0: cannot be encoded from the middle on, 1: does not fit."""
        job, span = self.jobs[number], self.dispatch.plan(number)
        if span is None:
            return False
        span = self.check_plan(job, span)
        if span.stop > job.length:
            span = Span(span.start, max(job.length, span.start))
            job.is_sealed = True
            self.dispatch.seal(number, span.stop)
        job.owned |= set(range(*span))
        count = span.stop - span.start
        if fate == 0 and count:
            guilty = span.start + count // 2
            job.owned -= set(range(guilty, span.stop))
            job.ended[guilty] += 1
            self.dispatch.again(number, Span(guilty + 1, span.stop))
            span = Span(span.start, guilty)
        elif fate == 1 and count > 1:
            job.owned -= set(range(span.start + count // 2, span.stop))
        stop = span.start + count // 2 if fate == 1 and count > 1 else span.stop
        if stop > span.start:
            taken = self.dispatch.offer(number, span, stop - span.start)
            assert taken not in self.ranges
            self.ranges[taken] = Range(number, Span(span.start, stop), span.start, span.start)
            job.offered.append(taken)
            self.assign()
        return True

    def check_plan(self, job: Model, span: Span) -> Span:
        assert span.start < span.stop
        indexes = set(range(*span))
        assert not indexes & job.owned, "an index is given out twice"
        assert not [index for index in indexes if job.ended[index]], "an index that has ended is given out"
        if span.start >= job.next:  # new ones: in order, without a gap
            assert span.start == job.next
            assert not job.is_sealed
            job.next = min(span.stop, max(job.length, span.start))
        if job.limits.chunksize:
            assert span.stop - span.start <= job.limits.chunksize
            if job.limits.is_windowed:
                window = _AHEAD * job.limits.max_workers * job.limits.chunksize
                assert job.next - job.delivered < window + job.limits.chunksize
        return span

    @precondition(lambda self: any(self.workers.values()))
    @rule(data=st.data(), items=st.integers(0, 8), is_sent=st.booleans(), is_over=st.booleans())
    def work(self, data: st.DataObject, items: int, is_sent: bool, is_over: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(number for number, held in self.workers.items() if held)))
        self.run(worker, items, is_sent, is_over)

    def run(self, worker: int, items: int, is_sent: bool, is_over: bool) -> None:
        """A worker runs some items, may send their outcomes, may be done with the range."""
        number = self.workers[worker][0]
        held = self.ranges[number]
        held.at = min(held.at + items, held.span.stop)
        if is_sent or is_over:
            if held.at > held.told:
                self.end(held.job, range(held.told, held.at))
                self.dispatch.progress(number, held.at)
            held.told = held.at
        if is_over or held.at == held.span.stop:
            if held.at > held.told:
                self.end(held.job, range(held.told, held.at))
                self.dispatch.progress(number, held.at)
            self.dispatch.finish(worker, number, 0.001 * items)
            self.workers[worker].pop(0)
            self.release(held, Span(held.at, held.span.stop))
            del self.ranges[number]
            self.assign()

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), is_final=st.booleans(), is_between=st.booleans())
    def die(self, data: st.DataObject, is_final: bool, is_between: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        held = self.workers.pop(worker)
        first = self.ranges[held[0]] if held else None
        index = -1 if is_between or first is None or first.at == first.span.stop else first.at
        blames = self.dispatch.lose(worker, held[0] if held else -1, index, is_final=is_final)
        for number in held:
            lost = self.ranges.pop(number)
            self.release(lost, Span(lost.told, lost.span.stop))
        expected = []
        if first is not None and index >= 0 and first.job in self.jobs:
            job = self.jobs[first.job]
            if not (job.limits.is_whole and first.span.stop - first.told > 1):
                job.crashes[index] += 1
                if is_final or job.crashes[index] > job.limits.crash_retries:
                    expected = [Blame(first.job, index, job.crashes[index])]
                    job.ended[index] += 1
        assert blames == expected
        self.assign()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        self.deliver_all(number)

    def deliver_all(self, number: int) -> None:
        job = self.jobs[number]
        count = sum(job.ended.values()) - job.delivered
        job.delivered += count
        self.dispatch.deliver(number, count)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        self.close_job(number)

    def close_job(self, number: int) -> None:
        job = self.jobs.pop(number)
        self.dispatch.close(number)
        for taken in job.offered:
            del self.ranges[taken]
        self.assign()

    # --- consequences ---------------------------------------------------------------------------

    def end(self, number: int, indexes: range) -> None:
        if number in self.jobs:
            job = self.jobs[number]
            assert set(indexes) <= job.owned
            job.owned -= set(indexes)
            job.ended.update(indexes)

    def release(self, held: Range, rest: Span) -> None:
        if held.job in self.jobs:
            self.jobs[held.job].owned -= set(range(*rest))

    def assign(self) -> None:
        for send in self.dispatch.assign():
            job = self.jobs[send.job]
            assert job.offered.popleft() == send.range, "ranges are given out in the order of their offers"
            self.workers[send.worker].append(send.range)
        assert self.dispatch.assign() == []

    @invariant()
    def limits_hold(self) -> None:
        for number, job in self.jobs.items():
            holders = [w for w, held in self.workers.items() if any(self.ranges[taken].job == number for taken in held)]
            assert len(holders) <= job.limits.max_workers
            assert sorted(self.dispatch.holders(number)) == sorted(holders)
            assert max(job.ended.values(), default=0) <= 1, "an item ended twice"
        assert max(map(len, self.workers.values()), default=0) <= 2

    @invariant()
    def nobody_idles_beside_work(self) -> None:
        idle = [worker for worker, held in self.workers.items() if not held]
        for number, job in self.jobs.items():
            if idle and job.offered:
                assert len(self.dispatch.holders(number)) == job.limits.max_workers

    @invariant()
    def what_is_held_is_known(self) -> None:
        for worker, held in self.workers.items():
            known = self.dispatch.held(worker)
            assert (known is None) == (not held)
            if known is not None:
                assert (known.job, known.span) == (self.ranges[held[0]].job, self.ranges[held[0]].span)

    def teardown(self) -> None:
        """Now everything goes well: every item of every job must come to its end, then nothing is left."""
        if not self.workers:
            self.join()
        for _ in range(10_000):
            moved = [self.feed_once(number) for number in list(self.jobs)]
            for number in self.jobs:
                self.deliver_all(number)
            busy = [worker for worker, held in self.workers.items() if held]
            for worker in busy:
                self.run(worker, 3, True, False)
            if not busy and not any(moved):
                break
        for number, job in list(self.jobs.items()):
            assert job.ended == Counter(range(job.length))
            assert self.dispatch.plan(number) is None
            self.close_job(number)
        for worker in list(self.workers):
            assert self.dispatch.lose(worker, -1, -1, is_final=False) == []
        assert (self.dispatch._jobs, self.dispatch._ranges, self.dispatch._workers) == ({}, {}, {})


Events.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestEvents = Events.TestCase


# --- single rules ------------------------------------------------------------------------------


def fed(limits: Limits, workers: int, ranges: int) -> tuple[Dispatch, list[Send]]:
    """A dispatch with one job (1), workers 0, 1, ... and so many offered ranges."""
    dispatch = Dispatch()
    dispatch.open(1, limits)
    for worker in range(workers):
        dispatch.join(worker)
    sends: list[Send] = []
    for _ in range(ranges):
        span = dispatch.plan(1)
        assert span is not None
        dispatch.offer(1, span, span.stop - span.start)
        sends += dispatch.assign()
    return dispatch, sends


@pytest.mark.parametrize("crash_retries", [0, 1, 3])
def test_an_item_that_ends_its_workers_is_tried_alone_and_then_blamed(crash_retries: int) -> None:
    dispatch, (send,) = fed(Limits(1, chunksize=5, crash_retries=crash_retries, length=5), 1, 1)
    dispatch.progress(send.range, 1)  # item 0 is done
    blames = dispatch.lose(0, send.range, 2, is_final=False)
    for attempt in range(crash_retries):
        assert blames == []
        worker = attempt + 1
        dispatch.join(worker)
        assert dispatch.plan(1) == Span(2, 3)
        number = dispatch.offer(1, Span(2, 3), 1)
        assert dispatch.assign() == [Send(worker, number, 1)]
        blames = dispatch.lose(worker, number, 2, is_final=False)
    assert blames == [Blame(1, 2, crash_retries + 1)]
    assert [dispatch.plan(1), dispatch.plan(1)] == [Span(1, 2), Span(3, 5)]


def test_a_timeout_is_blamed_at_once() -> None:
    dispatch, (send,) = fed(Limits(1, chunksize=3, crash_retries=5, length=3), 1, 1)
    assert dispatch.lose(0, send.range, 1, is_final=True) == [Blame(1, 1, 1)]


@pytest.mark.parametrize(("running", "index"), [(-1, -1), (99, 0), (1, -1)])
def test_a_death_between_items_blames_nobody(running: int, index: int) -> None:
    dispatch, (send,) = fed(Limits(1, chunksize=3, crash_retries=0, length=3), 1, 1)
    assert send.range == 1
    assert dispatch.lose(0, running, index, is_final=False) == []
    assert dispatch.plan(1) == Span(0, 3)


def test_an_item_whose_outcome_has_arrived_is_not_blamed() -> None:
    """The board still names it when its worker is killed before the next one."""
    dispatch, (send,) = fed(Limits(1, chunksize=3, crash_retries=0, length=3), 1, 1)
    dispatch.progress(send.range, 2)
    assert dispatch.lose(0, send.range, 1, is_final=True) == []
    assert dispatch.plan(1) == Span(2, 3)


def test_a_chunk_that_ends_its_worker_is_split_to_find_the_guilty_item() -> None:
    dispatch, (send,) = fed(Limits(1, chunksize=3, crash_retries=0, length=3, is_whole=True), 1, 1)
    assert dispatch.lose(0, send.range, 0, is_final=False) == []
    assert [dispatch.plan(1)] == [Span(0, 1)]


def test_jobs_take_turns() -> None:
    dispatch = Dispatch()
    for job in (1, 2):
        dispatch.open(job, Limits(8, chunksize=1, length=4))
        for _ in range(4):
            span = dispatch.plan(job)
            assert span is not None
            dispatch.offer(job, span, 1)
    for worker in range(4):
        dispatch.join(worker)
    assert Counter(send.job for send in dispatch.assign()) == {1: 2, 2: 2}


def short_job(dispatch: Dispatch, job: int, worker: int) -> None:
    """Open a job whose ranges are known to be short, with two of them offered."""
    dispatch.open(job, Limits(2, chunksize=1))
    for _ in range(2):
        span = dispatch.plan(job)
        assert span is not None
        number = dispatch.offer(job, span, 1)
        if span.start == 0:
            assert dispatch.assign() == [Send(worker, number, job)]
            dispatch.progress(number, 1)
            dispatch.finish(worker, number, 1e-5)


def test_short_ranges_are_given_out_one_ahead() -> None:
    dispatch = Dispatch()
    dispatch.join(0)
    short_job(dispatch, 1, 0)
    assert len(dispatch.assign()) == 1
    span = dispatch.plan(1)
    assert span is not None
    dispatch.offer(1, span, 1)
    assert len(dispatch.assign()) == 1  # a second one for the same worker


def test_nobody_waits_behind_a_long_range() -> None:
    """Not even a range that is short itself: it would be done long before elsewhere."""
    dispatch = Dispatch()
    dispatch.join(0)
    dispatch.open(1, Limits(1, chunksize=1))
    span = dispatch.plan(1)
    assert span is not None
    number = dispatch.offer(1, span, 1)
    assert dispatch.assign() == [Send(0, number, 1)]
    dispatch.progress(number, 1)
    dispatch.finish(0, number, 60.0)  # its items take a minute
    span = dispatch.plan(1)
    assert span is not None
    dispatch.offer(1, span, 1)
    dispatch.assign()
    dispatch.join(1)
    short_job(dispatch, 2, 1)
    assert [send.worker for send in dispatch.assign()] == [1]
    span = dispatch.plan(2)
    assert span is not None
    dispatch.offer(2, span, 1)
    assert [send.worker for send in dispatch.assign()] == [1]


def test_ranges_grow_with_short_items_and_shrink_towards_the_end() -> None:
    dispatch = Dispatch()
    dispatch.open(1, Limits(2, length=10_000))
    dispatch.join(0)
    sizes = []
    while (span := dispatch.plan(1)) and span.start < 10_000:
        span = Span(span.start, min(span.stop, 10_000))
        if span.stop == 10_000:
            dispatch.seal(1, 10_000)
        number = dispatch.offer(1, span, span.stop - span.start)
        dispatch.assign()
        dispatch.progress(number, span.stop)
        dispatch.finish(0, number, (span.stop - span.start) * 1e-4)
        sizes.append(span.stop - span.start)
    assert sum(sizes) == 10_000
    assert sizes[0] == 1
    assert 0.5 <= max(sizes) * 1e-4 / _TARGET <= 1
    assert sizes[-2] < max(sizes)


def test_a_long_item_keeps_its_ranges_at_one() -> None:
    dispatch, (send,) = fed(Limits(1), 1, 1)
    dispatch.progress(send.range, 1)
    dispatch.finish(0, send.range, 1.0)
    assert dispatch.plan(1) == Span(1, 2)


def test_planning_waits_for_delivery() -> None:
    dispatch, _ = fed(Limits(1, chunksize=1, is_windowed=True), 1, 1)
    planned = 1
    for _ in range(100):
        number = next(iter(dispatch._ranges))
        dispatch.progress(number, planned)
        dispatch.finish(0, number, 1.0)
        span = dispatch.plan(1)
        if span is None:
            break
        planned = span.stop
        dispatch.offer(1, span, 1)
        dispatch.assign()
    assert planned == _AHEAD
    dispatch.deliver(1, 1)
    assert dispatch.plan(1) == Span(_AHEAD, _AHEAD + 1)
