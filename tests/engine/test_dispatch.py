"""Dispatch without a process: any sequence of events ends every item exactly once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pocketflex._engine.course import _AHEAD, _WINDOW
from pocketflex._engine.dispatch import Dispatch
from pocketflex._engine.pace import TARGET
from pocketflex._engine.ranges import MOST_GRAINS, MOST_LOTS, Blame, Limits, Plan, Running, Span, Tried

NOTHING = Running(-1, -1)
STALE = (10**9, Span(0, 5))  # a block that has gone; a ledger may still name it


@dataclass
class Lot:
    """A block as the test sees it, and who has claimed its grains."""

    job: int
    span: Span
    grain: int
    owners: list[int | None]
    left: set[int]  # items that are neither done nor gone elsewhere

    def items(self, first: int, stop: int) -> Span:
        start = self.span.start
        return Span(start + first * self.grain, min(start + stop * self.grain, self.span.stop))

    @property
    def unclaimed(self) -> int:
        spans = [self.items(at, at + 1) for at, owner in enumerate(self.owners) if owner is None]
        return sum(span.stop - span.start for span in spans)


@dataclass
class Claim:
    """What a worker runs now."""

    lot: int
    first: int
    stop: int
    at: int  # the item that it is at
    told: int  # outcomes up to here have been told


@dataclass
class Model:
    """What is true of a job, kept without Dispatch."""

    limits: Limits
    length: int
    is_sealed: bool = False
    next: int = 0  # first index that was never taken from the input
    planned: int = 0  # first index that was never planned
    owned: set[int] = field(default_factory=set)  # in a block, waiting or running
    ended: Counter[int] = field(default_factory=Counter)
    crashes: Counter[int] = field(default_factory=Counter)
    alone: set[int] = field(default_factory=set)  # suspected, or waited for: to be tried in blocks of one
    waiting: set[int] = field(default_factory=set)  # to be tried again, but not yet
    tries: Counter[int] = field(default_factory=Counter)  # attempts after which an item had to wait
    delivered: int = 0


class Events(RuleBasedStateMachine):
    """Jobs, workers, claims, results and deaths in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch()
        self.jobs: dict[int, Model] = {}
        self.lots: dict[int, Lot] = {}
        self.workers: dict[int, Claim | None] = {}
        self.numbers = 0
        self.offered = 0  # the number of the last block

    # --- events ---------------------------------------------------------------------------------

    @precondition(lambda self: len(self.jobs) < 3)
    @rule(
        length=st.integers(0, 150),
        max_workers=st.integers(1, 4),
        chunksize=st.none() | st.integers(1, 7),
        crash_retries=st.integers(0, 2),
        is_known=st.booleans(),
        is_windowed=st.booleans(),
        is_whole=st.booleans(),
        is_joined=st.booleans(),
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
        is_joined: bool,
    ) -> None:
        known = length if is_known else None
        limits = Limits(max_workers, chunksize, crash_retries, known, is_windowed, is_whole, is_joined)
        self.numbers += 1
        self.jobs[self.numbers] = Model(limits, length)
        self.dispatch.open(self.numbers, limits)

    @precondition(lambda self: len(self.workers) < 5)
    @rule()
    def join(self) -> None:
        self.numbers += 1
        self.workers[self.numbers] = None

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), times=st.integers(1, 4))
    def feed(self, data: st.DataObject, times: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        for _ in range(times):
            self.feed_once(number, data.draw(st.integers(0, 9), label="how the encoding goes"))

    def feed_once(self, number: int, fate: int = 5) -> bool:
        """What `Owner._feed` does. Fates: 0: cannot be encoded from the middle on, 1: does not fit, 2: slow input."""
        job, unclaimed = self.jobs[number], self.unclaimed(number)
        is_hungry = self.dispatch.is_hungry(number, unclaimed)
        plan = self.dispatch.plan(number, unclaimed)
        assert (plan is not None) == is_hungry
        if plan is None:
            return False
        start, wanted = plan.span
        self.check_plan(job, plan)
        assert self.dispatch.tried(number, plan.span).attempts == job.tries[start], "what an item had behind it is lost"
        stop = min(wanted, max(job.length, start))
        if fate == 2 and wanted > job.next:
            stop = start + (stop - start) // 2
            self.dispatch.again(number, Span(stop, wanted))
        elif stop < wanted:
            job.is_sealed = True
            self.dispatch.seal(number, stop)
        job.next = max(job.next, stop)
        if stop > start:
            self.offer(number, Span(start, stop), plan.grain, fate)
        return True

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), most=st.integers(1, 90), items=st.integers(0, 90), is_slow=st.booleans())
    def run_here(self, data: st.DataObject, most: int, items: int, is_slow: bool) -> None:
        """What `Inside.work` does: the owner takes a span, may get less of the input, may run less of that."""
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job, taken = self.jobs[number], self.dispatch.take(number, most)
        assert taken is None or (job.limits.is_joined and not job.crashes), "the owner runs what may end it"
        if taken is None:
            return
        self.check_plan(job, Plan(taken, job.limits.chunksize or most))
        stop = min(taken.stop, max(job.length, taken.start))
        if is_slow and taken.stop > job.next:
            stop = taken.start + (stop - taken.start) // 2
            self.dispatch.again(number, Span(stop, taken.stop))
        elif stop < taken.stop:
            job.is_sealed = True
            self.dispatch.seal(number, stop)
        job.next = max(job.next, stop)
        at = min(taken.start + items, stop)
        job.ended.update(range(taken.start, at))
        if not job.is_sealed and stop == job.planned:
            job.planned = at
        if taken.start < stop:
            self.dispatch.leave(number, Span(taken.start, stop), at, 1e-4 * items)

    def offer(self, number: int, span: Span, grain: int, fate: int) -> None:
        job = self.jobs[number]
        middle = span.start + (span.stop - span.start) // 2
        count = span.stop - span.start
        if fate == 0:
            job.ended[middle] += 1
            self.dispatch.again(number, Span(middle + 1, span.stop))
            span, count = Span(span.start, middle), middle - span.start
        elif fate == 1 and count > 1:
            count = middle - span.start
        if not count:
            return
        taken = self.dispatch.offer(number, span, count)
        assert taken > self.offered, "numbers of blocks rise: the ledger tells an old one from a new by that"
        self.offered = taken
        span = Span(span.start, span.start + count)
        self.lots[taken] = Lot(number, span, grain, [None] * -(-count // grain), set(range(*span)))
        job.owned |= set(range(*span))

    def check_plan(self, job: Model, plan: Plan) -> None:
        span, grain = plan
        indexes = set(range(*span))
        assert indexes
        assert 1 <= -(-len(indexes) // grain) <= MOST_GRAINS
        assert not indexes & job.owned, "an index is given out twice"
        assert not [index for index in indexes if job.ended[index]], "an index that has ended is given out"
        assert len(indexes) == 1 or not indexes & job.alone, "a suspect is not tried alone"
        assert not indexes & job.waiting, "an item that waits is given out"
        if span.stop > job.next:  # the input is read in order, without a gap
            assert span.start == job.next or (job.limits.is_joined and span.start < job.next)
            assert not job.is_sealed
        if job.limits.chunksize:
            assert len(indexes) <= job.limits.chunksize == grain
        if span.stop > job.planned:
            assert span.start == job.planned
            if job.limits.is_windowed and job.limits.chunksize:
                window = _WINDOW * job.limits.claimers * job.limits.chunksize
                assert job.planned - job.delivered < window
            job.planned = span.stop

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), grains=st.integers(1, 5), items=st.integers(0, 8), how=st.sampled_from(["", "tell", "end"]))
    def work(self, data: st.DataObject, grains: int, items: int, how: str) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        if self.workers[worker] is None:
            self.claim(worker, grains)
        if self.workers[worker] is not None:
            self.run(worker, items, how)

    def claim(self, worker: int, grains: int) -> bool:
        """As the ledger does: of the oldest block that has one, the first free grain and those after it."""
        for number, lot in sorted(self.lots.items()):
            if None in lot.owners:
                first = stop = lot.owners.index(None)
                while stop < len(lot.owners) and lot.owners[stop] is None and stop - first < grains:
                    lot.owners[stop] = worker
                    stop += 1
                start = lot.items(first, stop).start
                self.workers[worker] = Claim(number, first, stop, start, start)
                return True
        return False

    def run(self, worker: int, items: int, how: str) -> None:
        """A worker runs some items, may tell their outcomes, may hand the rest of the claim back."""
        claim = self.workers[worker]
        assert claim is not None
        lot = self.lots[claim.lot]
        stop = lot.items(claim.first, claim.stop).stop
        is_whole = self.jobs[lot.job].limits.is_whole
        claim.at = stop if is_whole and items else min(claim.at + items, stop)
        if how or claim.at == stop:
            self.tell(claim, lot, 0.001 * items)
        if how == "end" or claim.at == stop:
            self.workers[worker] = None
            self.hand_back(claim, lot, stop)

    def tell(self, claim: Claim, lot: Lot, seconds: float) -> None:
        span, claim.told = Span(claim.told, claim.at), claim.at
        if span.start < span.stop:
            self.dispatch.arrive(claim.lot, span, seconds)
            assert set(range(*span)) <= lot.left
            self.settle(claim.lot, span)
            self.jobs[lot.job].ended.update(range(*span))

    @precondition(lambda self: any(claim is not None for claim in self.workers.values()))
    @rule(data=st.data())
    def postpone(self, data: st.DataObject) -> None:
        """A worker tells that the item that it is at is to be tried again, and goes on behind it."""
        worker = data.draw(st.sampled_from(sorted(at for at, claim in self.workers.items() if claim is not None)))
        claim = self.workers[worker]
        assert claim is not None
        lot = self.lots[claim.lot]
        job, index, stop = self.jobs[lot.job], claim.at, lot.items(claim.first, claim.stop).stop
        self.tell(claim, lot, 0.001)
        job.tries[index] += 1
        self.dispatch.postpone(claim.lot, index, Tried(job.tries[index], 5 * job.tries[index]))
        job.waiting.add(index)
        job.alone.add(index)
        self.settle(claim.lot, Span(index, index + 1))
        claim.at = claim.told = index + 1
        if claim.at == stop:
            self.workers[worker] = None

    @precondition(lambda self: any(job.waiting for job in self.jobs.values()))
    @rule(data=st.data())
    def become_due(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(at for at, job in self.jobs.items() if job.waiting)))
        self.due(number, data.draw(st.sampled_from(sorted(self.jobs[number].waiting))))

    def due(self, number: int, index: int) -> None:
        self.jobs[number].waiting.remove(index)
        self.dispatch.due(number, index)

    def hand_back(self, claim: Claim, lot: Lot, stop: int) -> None:
        """As `ClaimRun._hand_back`: whole grains to the ledger, the rest of one that has begun to dispatch."""
        begun = -(-(claim.at - lot.span.start) // lot.grain)
        for grain in range(begun, claim.stop):
            lot.owners[grain] = None
        rest = Span(claim.at, min(lot.items(begun, begun + 1).start, stop) if begun < claim.stop else stop)
        self.dispatch.hand_back(claim.lot, rest)
        if rest.start < rest.stop:
            self.settle(claim.lot, rest)

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), is_final=st.booleans(), is_between=st.booleans())
    def die(self, data: st.DataObject, is_final: bool, is_between: bool) -> None:
        worker = data.draw(st.sampled_from(sorted(self.workers)))
        claim, claimed = self.workers.pop(worker), [STALE]
        for number, lot in self.lots.items():
            claimed += [(number, lot.items(at, at + 1)) for at, owner in enumerate(lot.owners) if owner == worker]
        running, expected = NOTHING, []
        if claim is not None and not is_between and claim.at < self.lots[claim.lot].span.stop:
            lot = self.lots[claim.lot]
            running = Running(lot.job, claim.at)
            expected = self.charge(lot, claim, is_final)
        assert self.dispatch.lose(claimed, running, is_final=is_final) == expected
        for number, span in claimed[1:]:
            if number in self.lots:
                self.settle(number, span)

    def charge(self, lot: Lot, claim: Claim, is_final: bool) -> list[Blame]:
        job, index = self.jobs[lot.job], claim.at
        together = set(range(*lot.items(claim.first, claim.stop)))
        if job.limits.is_whole and len(together) > 1:
            job.alone |= together
            return []
        job.alone.add(index)
        job.crashes[index] += 1
        if not is_final and job.crashes[index] <= job.limits.crash_retries:
            return []
        job.ended[index] += 1
        return [Blame(lot.job, index, job.crashes[index])]

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        self.deliver_all(data.draw(st.sampled_from(sorted(self.jobs))))

    def deliver_all(self, number: int) -> None:
        job = self.jobs[number]
        count = sum(job.ended.values()) - job.delivered
        job.delivered += count
        self.dispatch.deliver(number, count)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        self.close_job(data.draw(st.sampled_from(sorted(self.jobs))))

    def close_job(self, number: int) -> None:
        del self.jobs[number]
        self.dispatch.close(number)
        gone = {taken for taken, lot in self.lots.items() if lot.job == number}
        self.lots = {taken: lot for taken, lot in self.lots.items() if taken not in gone}
        for worker, claim in self.workers.items():
            if claim is not None and claim.lot in gone:
                self.dispatch.hand_back(claim.lot, Span(claim.at, claim.at + 1))  # what is told late counts for nothing
                self.workers[worker] = None
        assert not any(self.dispatch.is_open(taken) for taken in gone)

    # --- consequences ---------------------------------------------------------------------------

    def unclaimed(self, number: int) -> int:
        return sum(lot.unclaimed for lot in self.lots.values() if lot.job == number)

    def settle(self, number: int, span: Span) -> None:
        """These items are this block's no more."""
        lot = self.lots[number]
        self.jobs[lot.job].owned -= lot.left & set(range(*span))
        lot.left -= set(range(*span))
        if not lot.left:
            del self.lots[number]

    @invariant()
    def what_is_open_is_known(self) -> None:
        assert all(self.dispatch.is_open(number) for number in self.lots)
        assert len(self.dispatch._lots) == len(self.lots)

    @invariant()
    def nothing_ends_twice(self) -> None:
        for number, job in self.jobs.items():
            assert max(job.ended.values(), default=0) <= 1
            assert sum(lot.job == number for lot in self.lots.values()) <= MOST_LOTS

    def teardown(self) -> None:
        """Now everything goes well: every item of every job must come to its end, then nothing is left."""
        if not self.workers:
            self.join()
        for number, job in self.jobs.items():
            for index in list(job.waiting):
                self.due(number, index)
        for _ in range(10_000):
            moved = [self.feed_once(number) for number in list(self.jobs)]
            for number in self.jobs:
                self.deliver_all(number)
            for worker, claim in self.workers.items():
                if claim is not None or self.claim(worker, 3):
                    self.run(worker, 20, "tell")
                    moved.append(True)
            if not any(moved):
                break
        for number, job in list(self.jobs.items()):
            assert job.ended == Counter(range(job.length))
            assert self.dispatch.plan(number, 0) is None
            self.close_job(number)
        assert (self.dispatch._jobs, self.dispatch._lots) == ({}, {})


Events.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestEvents = Events.TestCase


# --- single rules ------------------------------------------------------------------------------


def opened(limits: Limits) -> Dispatch:
    dispatch = Dispatch()
    dispatch.open(1, limits)
    return dispatch


def planned(dispatch: Dispatch) -> Plan:
    plan = dispatch.plan(1, 0)
    assert plan is not None
    return plan


def offered(limits: Limits) -> tuple[Dispatch, int, Span]:
    """A dispatch with one job and its first block."""
    dispatch = opened(limits)
    span = planned(dispatch).span
    return dispatch, dispatch.offer(1, span, span.stop - span.start), span


@pytest.mark.parametrize("crash_retries", [0, 1, 3])
def test_an_item_that_ends_its_workers_is_tried_alone_and_then_blamed(crash_retries: int) -> None:
    dispatch, number, span = offered(Limits(1, chunksize=5, crash_retries=crash_retries, length=5))
    dispatch.arrive(number, Span(0, 1), 0.1)
    blames = dispatch.lose([(number, span)], Running(1, 2), is_final=False)
    for _ in range(crash_retries):
        assert blames == []
        assert planned(dispatch).span == Span(2, 3)
        number = dispatch.offer(1, Span(2, 3), 1)
        blames = dispatch.lose([(number, Span(2, 3))], Running(1, 2), is_final=False)
    assert blames == [Blame(1, 2, crash_retries + 1)]
    assert [planned(dispatch).span, planned(dispatch).span] == [Span(1, 2), Span(3, 5)]


def test_an_item_that_waits_is_planned_when_it_is_due_alone_and_with_its_past() -> None:
    dispatch, number, _ = offered(Limits(1, chunksize=3, length=6))
    dispatch.postpone(number, 1, Tried(2, 300))
    assert planned(dispatch).span == Span(3, 6)
    assert dispatch.plan(1, 0) is None
    dispatch.due(1, 1)
    again = planned(dispatch).span
    assert (again, dispatch.tried(1, again)) == (Span(1, 2), Tried(2, 300))
    assert dispatch.tried(1, Span(0, 1)) == Tried()


def test_attempts_and_crashes_of_an_item_are_counted_apart() -> None:
    """A worker that dies between two attempts, or in one, takes none of either away."""
    dispatch, number, _ = offered(Limits(1, chunksize=1, crash_retries=2, length=1))
    for attempts in (1, 2):
        dispatch.postpone(number, 0, Tried(attempts))
        assert dispatch.lose([(number, Span(0, 1))], NOTHING, is_final=False) == []
        assert dispatch.plan(1, 0) is None, "it waits, whoever has died"
        dispatch.due(1, 0)
        number = dispatch.offer(1, planned(dispatch).span, 1)
        assert dispatch.lose([(number, Span(0, 1))], Running(1, 0), is_final=False) == []
        assert dispatch.tried(1, planned(dispatch).span) == Tried(attempts)
        number = dispatch.offer(1, Span(0, 1), 1)
    assert dispatch.lose([(number, Span(0, 1))], Running(1, 0), is_final=False) == [Blame(1, 0, 3)]


def test_a_timeout_is_blamed_at_once() -> None:
    dispatch, number, span = offered(Limits(1, chunksize=3, crash_retries=5, length=3))
    assert dispatch.lose([(number, span)], Running(1, 1), is_final=True) == [Blame(1, 1, 1)]


@pytest.mark.parametrize("running", [NOTHING, Running(99, 0), Running(1, -1), Running(1, 50)], ids=str)
def test_a_death_between_items_blames_nobody(running: Running) -> None:
    dispatch, number, span = offered(Limits(1, chunksize=3, crash_retries=0, length=3))
    assert dispatch.lose([(number, span)], running, is_final=False) == []
    assert planned(dispatch).span == Span(0, 3)


def test_an_item_whose_outcome_has_arrived_is_not_blamed() -> None:
    """The board still names it when its worker is killed before the next one."""
    dispatch, number, span = offered(Limits(1, chunksize=3, crash_retries=0, length=3))
    dispatch.arrive(number, Span(0, 2), 0.1)
    assert dispatch.lose([(number, span)], Running(1, 1), is_final=True) == []
    assert planned(dispatch).span == Span(2, 3)


def test_a_death_costs_no_more_than_was_claimed() -> None:
    dispatch, number, _ = offered(Limits(1, crash_retries=0, length=1000))
    assert dispatch.lose([(number, Span(3, 4)), (number, Span(7, 9))], NOTHING, is_final=False) == []
    assert dispatch.is_open(number)
    assert {planned(dispatch).span, planned(dispatch).span} == {Span(3, 4), Span(7, 9)}


@pytest.mark.parametrize("is_final", [False, True])
def test_a_chunk_that_ends_its_worker_is_split_to_find_the_guilty_item(is_final: bool) -> None:
    dispatch, number, span = offered(Limits(1, chunksize=3, crash_retries=0, length=3, is_whole=True))
    assert dispatch.lose([(number, span)], Running(1, 0), is_final=is_final) == []
    assert [planned(dispatch).span for _ in range(3)] == [Span(0, 1), Span(1, 2), Span(2, 3)]


@pytest.mark.parametrize("is_final", [False, True])
def test_a_chunk_of_several_grains_is_not_its_first_items_fault(is_final: bool) -> None:
    """The ledger names each grain by itself, and the board only the first item of the chunk that ran."""
    dispatch, number, _ = offered(Limits(1, crash_retries=0, length=64, is_whole=True))
    grains = [(number, Span(at, at + 1)) for at in range(4)]
    assert dispatch.lose(grains, Running(1, 0), is_final=is_final) == []


@pytest.mark.parametrize("max_workers", [1, 3])
@pytest.mark.parametrize("chunksize", [1, 10])
def test_nothing_is_planned_while_enough_waits_to_be_claimed(max_workers: int, chunksize: int) -> None:
    dispatch = opened(Limits(max_workers, chunksize))
    enough = _AHEAD * max_workers * chunksize
    assert dispatch.is_hungry(1, enough)  # there is no block, whatever a dead worker has left in the counts
    dispatch.offer(1, planned(dispatch).span, chunksize)
    assert dispatch.plan(1, enough) is None
    assert not dispatch.is_hungry(1, enough)
    assert dispatch.is_hungry(1, enough - 1)


def test_a_job_has_as_many_blocks_as_its_ledger_has_entries() -> None:
    dispatch = opened(Limits(1, 1))
    numbers = [dispatch.offer(1, planned(dispatch).span, 1) for _ in range(MOST_LOTS)]
    assert dispatch.plan(1, 0) is None
    dispatch.arrive(numbers[5], Span(5, 6), 0.1)
    assert dispatch.plan(1, 0) is not None


@pytest.mark.parametrize("length", [None, 10_000, 40, 4, 1])
def test_of_what_is_not_known_little_is_planned_and_can_be_claimed_one_by_one(length: int | None) -> None:
    """Four items that take a minute each are to run at the same time on four workers."""
    plan = planned(opened(Limits(4, length=length)))
    assert plan.span.start == 0
    assert plan.span.stop <= 256
    assert plan.grain == 1


def test_blocks_grow_with_short_items() -> None:
    dispatch, length = opened(Limits(2, length=100_000)), 100_000
    sizes = []
    while (plan := dispatch.plan(1, 0)) is not None:
        span = plan.span
        size = span.stop - span.start
        dispatch.arrive(dispatch.offer(1, span, size), span, size * 1e-4)
        sizes.append(size)
    assert sum(sizes) == length
    assert 0.9 <= max(sizes) * 1e-4 / TARGET <= 5  # a block has a few claims
    assert sizes[0] < max(sizes)


def test_long_items_are_claimed_one_by_one() -> None:
    dispatch, number, span = offered(Limits(1))
    dispatch.arrive(number, span, (span.stop - span.start) * 1.0)
    plan = planned(dispatch)
    assert plan.grain == 1
    assert plan.span.stop - plan.span.start <= 5


@given(st.integers(1, 1000), st.lists(st.tuples(st.integers(1, 5000), st.floats(0, 100)), max_size=8))
def test_no_block_has_more_grains_than_its_entry(length: int, measured: list[tuple[int, float]]) -> None:
    dispatch = opened(Limits(1, length=length))
    for items, seconds in measured:
        span = planned(dispatch).span
        count = min(items, span.stop - span.start)
        dispatch.arrive(dispatch.offer(1, span, count), Span(span.start, span.start + count), seconds)
        plan = dispatch.plan(1, 0)
        if plan is None:  # these were all
            return
        assert -(-(plan.span.stop - plan.span.start) // plan.grain) <= MOST_GRAINS
        dispatch.again(1, plan.span)


@pytest.mark.parametrize("seconds", [0.0, 1e-3, 10.0])
def test_a_size_that_the_user_has_fixed_stays(seconds: float) -> None:
    dispatch = opened(Limits(3, chunksize=7))
    for number in range(5):
        plan = planned(dispatch)
        assert plan == Plan(Span(7 * number, 7 * number + 7), 7)
        dispatch.arrive(dispatch.offer(1, plan.span, 7), plan.span, seconds)


def test_what_does_not_fit_is_planned_first_and_the_next_block_is_smaller() -> None:
    dispatch = opened(Limits(1))
    span = planned(dispatch).span
    number = dispatch.offer(1, span, 10)
    dispatch.arrive(number, Span(0, 10), 1e-5)
    again = planned(dispatch).span
    assert again.start == 10
    assert again.stop - again.start < span.stop


def test_the_owner_takes_what_is_next_and_leaves_what_it_has_not_run() -> None:
    dispatch = opened(Limits(1, is_joined=True))
    assert dispatch.take(1, 10) == Span(0, 10)
    dispatch.leave(1, Span(0, 10), 4, 0.001)
    assert planned(dispatch).span.start == 4, "what it leaves is no piece of its own"


def test_what_was_not_offered_is_for_the_owner_too() -> None:
    dispatch = opened(Limits(1, is_joined=True))
    span = planned(dispatch).span
    dispatch.again(1, span)
    assert dispatch.take(1, 5) == Span(0, 5)
    assert dispatch.take(1, 1000) == Span(5, span.stop)


@pytest.mark.parametrize("is_final", [False, True])
def test_the_owner_takes_nothing_once_an_item_has_ended_a_worker(is_final: bool) -> None:
    dispatch, number, span = offered(Limits(1, is_joined=True))
    assert dispatch.is_joined(1)
    dispatch.lose([(number, span)], Running(1, 3), is_final=is_final)
    assert not dispatch.is_joined(1)
    assert dispatch.take(1, 5) is None


def test_the_owner_waits_for_delivery_and_takes_nothing_beyond_the_end() -> None:
    dispatch = opened(Limits(1, 5, is_windowed=True, is_joined=True))
    ahead = 0
    while span := dispatch.take(1, 5):
        ahead = span.stop
        dispatch.leave(1, span, ahead, 0.1)
    assert ahead == 2 * _WINDOW * 5
    dispatch.deliver(1, 5)
    assert dispatch.take(1, 5) == Span(ahead, ahead + 5)
    dispatch.seal(1, ahead + 3)
    dispatch.deliver(1, ahead)
    assert dispatch.take(1, 5) is None


@pytest.mark.parametrize(("each", "seconds"), [(1e-3, 0.9), (0.2, 0.4), (1e-7, 0.0)])
def test_more_waits_for_the_workers_of_an_owner_that_may_be_in_an_item(each: float, seconds: float) -> None:
    dispatch, number, span = offered(Limits(2, is_joined=True))
    dispatch.arrive(number, span, each * (span.stop - span.start))
    waiting = 0
    while (plan := dispatch.plan(1, waiting)) and plan.span.stop < 1_000_000:
        waiting += dispatch_all(dispatch, plan)
    assert waiting * each >= 2 * seconds
    assert waiting <= 500_000


def dispatch_all(dispatch: Dispatch, plan: Plan) -> int:
    size = plan.span.stop - plan.span.start
    dispatch.offer(1, plan.span, size)
    return size


def test_what_is_handed_back_is_planned_before_what_is_new() -> None:
    dispatch, number, span = offered(Limits(1, chunksize=8))
    dispatch.arrive(number, Span(0, 3), 0.1)
    dispatch.hand_back(number, Span(3, span.stop))
    assert not dispatch.is_open(number)
    assert [planned(dispatch).span, planned(dispatch).span] == [Span(3, 8), Span(8, 16)]


def test_nothing_is_planned_beyond_the_end() -> None:
    dispatch = opened(Limits(1, chunksize=4))
    span = planned(dispatch).span
    dispatch.again(1, Span(10, 12))  # the input was slow, and then ended at 2
    dispatch.seal(1, 2)
    dispatch.offer(1, Span(0, 2), 2)
    assert span == Span(0, 4)
    assert dispatch.plan(1, 0) is None


@pytest.mark.parametrize("chunksize", [1, 100])
def test_planning_waits_for_delivery(chunksize: int) -> None:
    dispatch, window = opened(Limits(1, chunksize, is_windowed=True)), _WINDOW * chunksize
    ahead = 0
    while plan := dispatch.plan(1, 0):
        ahead = plan.span.stop
        dispatch.arrive(dispatch.offer(1, plan.span, chunksize), plan.span, 1.0)
    assert window <= ahead < window + chunksize
    dispatch.deliver(1, chunksize)
    assert planned(dispatch).span == Span(ahead, ahead + chunksize)


def test_a_job_that_ends_leaves_nothing() -> None:
    dispatch, number, span = offered(Limits(1))
    dispatch.close(1)
    assert not dispatch.is_open(number)
    dispatch.hand_back(number, span)
    assert dispatch.lose([(number, span)], Running(1, 0), is_final=True) == []
