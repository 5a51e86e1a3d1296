"""A claim under way, without a worker: what is told, what is handed back, what is on the board meanwhile."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Any, NamedTuple

import numpy as np
import pytest

from pocketflex._engine import claims, failures, stopwatch, telling
from pocketflex._engine.blocks import encode_items
from pocketflex._engine.board import BEGAN, CANCELLED, COUNT, INDEX, JOB, Slot
from pocketflex._engine.claims import ClaimRun
from pocketflex._engine.failures import FailureRecord
from pocketflex._engine.fetching import Fetcher
from pocketflex._engine.ledger import NBYTES, Entry, Ledger
from pocketflex._engine.lens import Lens
from pocketflex._engine.pace import TARGET
from pocketflex._engine.ranges import Span, Tried
from pocketflex._engine.records import Record, Told
from pocketflex._engine.results import ResultReader
from pocketflex._engine.segments import Region
from pocketflex._engine.shm import Arena
from pocketflex._engine.source import Taken
from pocketflex._engine.stopwatch import Stopwatch
from pocketflex._engine.task import Task
from pocketflex._engine.transport import Parcel, Terms
from pocketflex.call import Call
from pocketflex.retry import Retry, current_attempt

JOB_NUMBER = 7
START = 100  # index of the first item of a block
WORKER = 3
PLENTY = 1 << 40


class Outcome(NamedTuple):
    """What was told of an item: its result, or the kind and the exception of its failure."""

    result: Any
    kind: str = ""
    error: BaseException | None = None
    attempts: int = 0


class FakeTransport:
    """The worker's end, where both sides are this process."""

    def __init__(self) -> None:
        self.arena = Arena()
        self.parent = Arena()
        self.lens = Lens()

    def memory(self, segment: int) -> Any:
        if not self.lens.knows(segment):
            self.lens.add(segment, os.dup(self.parent.find(segment).fd))
        return self.lens.source(segment)


class FakeDesk:
    """A worker's desk; it keeps what it is told, and reads it as the parent does."""

    def __init__(self, lock: int) -> None:
        self.number = WORKER
        self.transport: Any = FakeTransport()
        self.words = memoryview(bytearray(12288)).cast("q")
        Slot(self.words).clear()
        self.ledger = Ledger(memoryview(bytearray(NBYTES)), lock)
        self.ledger.clear(1, None)
        self.told: list[Record] = []
        self.blocks = 0
        self.rings = 0
        self._lens = Lens()
        self._pid = os.getpid()

    def tell(self, record: Record) -> None:
        if os.getpid() != self._pid:
            os._exit(1)  # the child of an item's fork must never come here
        self.told.append(record)

    def ring(self) -> None:
        self.rings += 1

    def stopwatch(self) -> Stopwatch:
        return Stopwatch(is_crowded=False)

    def task(self, call: Call, timeout: float | None = None, is_fixed: bool = False) -> Task:
        nowhere = Parcel(0, Region(0, 0, 0), 0, None)
        return Task(JOB_NUMBER, call, self.ledger, Terms(nowhere, nowhere, timeout, is_fixed))

    def publish(self, items: Any, grain: int, tried: int = 0) -> None:
        block = encode_items(self.transport.parent, Taken(items, 0, len(items)), grain, 1 << 30)
        assert block.length == len(items)
        self.blocks += 1
        self.ledger.publish(Entry(self.blocks, START, block.length, grain, block.region, tried))

    def run(self, task: Task, want: int = PLENTY) -> None:
        """Run one claim, as the worker does."""
        self.words[JOB] = JOB_NUMBER
        claim = self.ledger.claim(WORKER, want)
        assert claim is not None
        ClaimRun(self, task, claim, task.read(claim.entry, self.transport, Fetcher(os.getpid()))).run()

    def outcomes(self) -> dict[int, Outcome]:
        """What has been told, by index; regions are released as they are read."""
        found: dict[int, Outcome] = {}
        for record in self.told:
            if record.kind == Told.OUTCOMES and record.nbytes:
                fresh = self._read(record)
                assert len(fresh) == record.length
                assert not found.keys() & fresh.keys()
                found |= fresh
        return found

    def not_run(self) -> list[Span]:
        return [Span(record.start, record.stop) for record in self.told if record.kind == Told.NOT_RUN]

    def _read(self, record: Record) -> dict[int, Outcome]:
        lens, region = self._lens, record.region
        if not lens.knows(region.segment):
            lens.add(region.segment, os.dup(self.transport.arena.find(region.segment).fd))
        reader = ResultReader(region, lens.source(region.segment), record.length, lambda: lens.release(region))
        results: list[Any] = [None] * record.length
        failed = reader.read(results, 0)
        outcomes = [Outcome(result) for result in results]
        for position, failure in failed.items():
            assert isinstance(failure, FailureRecord)
            error = failures.load_error(failure.error)
            outcomes[position] = Outcome(None, failure.kind, error, failure.attempts)
        return dict(enumerate(outcomes, record.start))

    def close(self) -> None:
        for arena, lens in ((self.transport.arena, self._lens), (self.transport.parent, self.transport.lens)):
            for segment in arena.segments():
                lens.forget(segment)
            arena.close()


class Clock:
    """Time that passes only when an item says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def costing(self, seconds: float) -> Callable[[Any], Any]:
        """An item's function that takes so long and returns its item."""

        def work(item: Any) -> Any:
            self.now += seconds
            return item

        return work


@pytest.fixture
def desk() -> Iterator[FakeDesk]:
    lock = os.memfd_create("lock")
    desk = FakeDesk(lock)
    yield desk
    desk.close()
    os.close(lock)


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow machine too, a claim is not interrupted unless the test says so."""
    monkeypatch.setattr(claims, "BUDGET", 1e6)
    monkeypatch.setattr(telling, "_FLUSH", 1e6)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(claims, "monotonic", clock)
    monkeypatch.setattr(telling, "monotonic", clock)
    monkeypatch.setattr(stopwatch, "monotonic", clock)
    return clock


def double(item: Any) -> Any:
    return item * 2


def fail_at_3(item: Any) -> Any:
    if item == 3:
        raise KeyError("three")
    return item


WAYS = [
    pytest.param({}, None, id="plain"),
    pytest.param({"retry": Retry(2)}, None, id="retried"),
    pytest.param({}, 60.0, id="timed"),
]


# --- outcomes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("grain", [1, 3])
@pytest.mark.parametrize(
    "items",
    [list(range(10)), list("abcdefghij"), [1, "b", 2.5], [[1], [2], [3]], [1 << 70, 2]],
    ids=["integers", "strings", "mixed", "lists", "large"],
)
def test_every_item_of_a_claim_has_its_outcome(
    desk: FakeDesk, items: list[Any], grain: int, options: Any, timeout: float | None
) -> None:
    desk.publish(items, grain)
    desk.run(desk.task(Call(double, **options), timeout))
    assert desk.outcomes() == {START + at: Outcome(item * 2) for at, item in enumerate(items)}
    assert desk.not_run() == []


@pytest.mark.parametrize("items", [np.arange(20.0), np.arange(40.0).reshape(20, 2)], ids=["numbers", "rows"])
def test_rows_are_items(desk: FakeDesk, items: Any) -> None:
    desk.publish(items, 6)
    desk.run(desk.task(Call(double)))
    outcomes = desk.outcomes()
    assert np.array_equal([outcomes[START + at].result for at in range(20)], items * 2)


def test_a_claim_is_no_more_than_its_grains(desk: FakeDesk) -> None:
    desk.publish(list(range(10)), 2)
    task = desk.task(Call(double))
    desk.run(task, 4)
    assert desk.outcomes().keys() == set(range(START, START + 4))
    desk.run(task, 2)
    assert desk.outcomes().keys() == set(range(START, START + 6))


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("grain", [1, 2, 100])
def test_an_item_that_raises_costs_no_other(desk: FakeDesk, grain: int, options: Any, timeout: float | None) -> None:
    desk.publish(list(range(8)), grain)
    desk.run(desk.task(Call(fail_at_3, **options), timeout))
    outcomes = desk.outcomes()
    failed = outcomes.pop(START + 3)
    assert (failed.kind, type(failed.error), failed.attempts) == ("exception", KeyError, 2 if options else 1)
    assert outcomes == {START + at: Outcome(at) for at in range(8) if at != 3}


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, KeyboardInterrupt, StopIteration])
@pytest.mark.parametrize(("options", "timeout"), WAYS)
def test_nothing_that_an_item_raises_ends_the_worker(
    desk: FakeDesk, error: type[BaseException], options: Any, timeout: float | None
) -> None:
    def work(item: int) -> int:
        if item:
            raise error
        return item

    desk.publish([0, 1, 0], 3)
    desk.run(desk.task(Call(work, **options), timeout))
    outcomes = desk.outcomes()
    assert [outcome.kind for outcome in outcomes.values()] == ["", "exception", ""]
    assert type(outcomes[START + 1].error) is error


def test_all_items_may_fail(desk: FakeDesk) -> None:
    desk.publish(list(range(600)), 100)
    desk.run(desk.task(Call(lambda item: 1 // 0)))
    assert [type(outcome.error) for outcome in desk.outcomes().values()] == [ZeroDivisionError] * 600


class Unreadable:
    """An item whose unpickling raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("not a number",)


def test_an_item_that_cannot_be_unpickled_costs_no_other(desk: FakeDesk) -> None:
    desk.publish([[0], Unreadable(), [2]], 3)
    desk.run(desk.task(Call(double)))
    outcomes = desk.outcomes()
    assert [outcome.kind for outcome in outcomes.values()] == ["", "unpicklable", ""]
    assert str(outcomes[START + 1].error).startswith(f"item {START + 1} cannot be unpickled in the worker: ValueError")


def test_a_result_that_cannot_be_pickled_costs_no_other(desk: FakeDesk) -> None:
    desk.publish(list(range(700)), 100)
    desk.run(desk.task(Call(lambda item: iter_of(item) if item == 650 else item)))
    outcomes = desk.outcomes()
    failed = outcomes.pop(START + 650)
    assert failed.kind == "unpicklable"
    assert str(failed.error).startswith(f"the result of item {START + 650} (generator) cannot be sent")
    assert outcomes == {START + at: Outcome(at) for at in range(700) if at != 650}


def iter_of(item: Any) -> Any:
    return (one for one in [item])


@pytest.mark.parametrize("other", [None, "text", [1], 1.5, 1 << 80, True], ids=repr)
def test_results_of_changing_kinds_stay_in_order(desk: FakeDesk, other: Any) -> None:
    """What goes into a column and what does not are told apart, and put together again."""
    desk.publish(list(range(1500)), 100)
    desk.run(desk.task(Call(lambda item: other if item % 700 == 650 else item)))
    results = [outcome.result for outcome in desk.outcomes().values()]
    expected = [other if at % 700 == 650 else at for at in range(1500)]
    assert list(desk.outcomes()) == list(range(START, START + 1500))
    assert results == expected
    assert list(map(type, results)) == list(map(type, expected))


def test_each_item_begins_with_its_first_attempt(desk: FakeDesk) -> None:
    def work(item: int) -> int:
        if current_attempt() < item:
            raise ValueError
        return current_attempt()

    desk.publish([1, 0, 2, 0], 4)
    desk.run(desk.task(Call(work, Retry(3))))
    assert [outcome.result for outcome in desk.outcomes().values()] == [1, 0, 2, 0]


# --- waits between attempts --------------------------------------------------------------------

WAITING = Retry(4, 2.5)


def fail_odd(item: int) -> tuple[int, int]:
    if item % 2 and current_attempt() < 3:
        raise ValueError(item)
    return item, current_attempt()


def fail_odd_chunk(items: Any) -> list[tuple[int, int]]:
    return [fail_odd(item) for item in items]


@pytest.mark.parametrize("chunk", [None, fail_odd_chunk], ids=["items", "chunk"])
@pytest.mark.parametrize("grain", [1, 3, 100])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_what_has_to_wait_is_told_and_the_others_go_on(
    desk: FakeDesk, grain: int, chunk: Any, timeout: float | None
) -> None:
    """In the order of the items, each index once, and what is the last of the claim behind the last outcomes."""
    desk.publish(list(range(6)), grain)
    desk.run(desk.task(Call(fail_odd, WAITING, chunk=chunk), timeout))
    later = [record for record in desk.told if record.kind == Told.LATER]
    assert [(one.start, one.length, one.attempts, one.pause) for one in later] == [
        (START + at, 1, 1, 2_500_000_000) for at in (1, 3, 5)
    ]
    assert desk.outcomes() == {START + at: Outcome((at, 0)) for at in (0, 2, 4)}
    told = [index for record in desk.told for index in range(record.start, record.stop)]
    assert told == list(range(START, START + 6))
    assert desk.not_run() == []


@pytest.mark.parametrize("chunk", [None, fail_odd_chunk], ids=["items", "chunk"])
def test_what_has_waited_goes_on_with_its_attempts_and_its_time(desk: FakeDesk, chunk: Any) -> None:
    desk.publish([7], 1, Tried(2, 1500).pack())
    desk.run(desk.task(Call(fail_odd, WAITING, chunk=chunk)))
    (later,) = desk.told
    assert (later.kind, later.start, later.attempts) == (Told.LATER, START, 3)
    assert 1_500_000_000 <= later.nanoseconds < 2_500_000_000
    desk.told.clear()
    desk.publish([7], 1, Tried(3, 1500).pack())
    desk.run(desk.task(Call(fail_odd, WAITING, chunk=chunk)))
    assert desk.outcomes() == {START: Outcome((7, 3))}


@pytest.mark.parametrize("chunk", [None, fail_odd_chunk], ids=["items", "chunk"])
def test_the_time_of_earlier_attempts_counts_and_not_that_between_them(desk: FakeDesk, chunk: Any) -> None:
    desk.publish([0], 1, Tried(3, 59_000).pack())
    began = []

    def look(item: Any) -> int:
        began.append(monotonic_ns() - desk.words[BEGAN])
        return 1

    desk.run(desk.task(Call(look, WAITING, chunk=chunk and (lambda items: [look(items)])), 60.0))
    assert 59_000_000_000 <= began[0] < 60_000_000_000
    assert desk.rings == 1  # or the parent would take it to have all of its time
    desk.told.clear()
    desk.publish([0], 1, Tried(3, 61_000).pack())
    desk.run(desk.task(Call(look, WAITING, chunk=chunk and (lambda items: [look(items)])), 60.0))
    assert desk.outcomes()[START].kind == "timeout"


def test_an_item_that_is_kept_when_it_has_to_wait_is_told_before_it(desk: FakeDesk) -> None:
    """Else the parent would use the memory of the block again while the user's code still refers to it."""
    kept = []

    def keep(row: Any) -> None:
        kept.append(row)
        raise ValueError

    desk.publish(np.arange(2000.0).reshape(2, 1000), 2)
    desk.run(desk.task(Call(keep, WAITING)))
    assert [(record.kind, record.start, record.is_held) for record in desk.told] == [
        (Told.LATER, START, 0),
        (Told.OUTCOMES, START + 1, 1),
        (Told.LATER, START + 1, 0),
    ]
    kept.clear()


# --- chunks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [list(range(10)), np.arange(10)], ids=["list", "array"])
@pytest.mark.parametrize("grain", [1, 4, 100])
def test_a_chunk_is_all_items_of_a_claim(desk: FakeDesk, items: Any, grain: int) -> None:
    seen: list[Any] = []

    def chunk(part: Any) -> Any:
        seen.append((type(part), len(part), desk.words[INDEX], desk.words[COUNT]))
        return [item * 2 for item in part]

    desk.publish(items, grain)
    desk.run(desk.task(Call(double, chunk=chunk)))
    assert seen == [(type(items), 10, START, 10)]
    assert [outcome.result for outcome in desk.outcomes().values()] == list(range(0, 20, 2))


def test_of_a_chunk_that_fails_only_the_guilty_item_does(desk: FakeDesk) -> None:
    desk.publish(list(range(6)), 2)
    desk.run(desk.task(Call(fail_at_3, chunk=lambda part: [fail_at_3(item) for item in part])))
    assert [type(outcome.error) for outcome in desk.outcomes().values()] == [type(None)] * 3 + [KeyError] + [
        type(None)
    ] * 2


def test_the_next_claim_counts_items_one_by_one_again(desk: FakeDesk) -> None:
    desk.publish(list(range(4)), 4)
    desk.run(desk.task(Call(double, chunk=lambda part: list(part))))
    desk.publish([0], 1)
    counts: list[int] = []
    desk.run(desk.task(Call(lambda item: counts.append(desk.words[COUNT]))))
    assert counts == [1]


# --- what is not run here ----------------------------------------------------------------------


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("grain", [1, 3, 4, 20])
def test_after_its_budget_the_rest_of_a_claim_is_handed_back(
    desk: FakeDesk, clock: Clock, monkeypatch: pytest.MonkeyPatch, grain: int, options: Any, timeout: float | None
) -> None:
    monkeypatch.setattr(claims, "BUDGET", 3.0)
    monkeypatch.setattr(telling, "_FLUSH", 3.0)
    monkeypatch.setattr(claims, "_LOOK", -1.0)  # look at the clock after every item
    desk.publish(list(range(20)), grain)
    desk.run(desk.task(Call(clock.costing(1.0), **options), timeout))
    begun = min(-(-3 // grain) * grain, 20)  # items of grains that have begun
    assert desk.outcomes().keys() == set(range(START, START + 3))
    assert desk.not_run() == [Span(START + 3, START + begun)]
    assert desk.ledger.unclaimed == 20 - begun
    again = desk.ledger.claim(5, PLENTY)
    assert (again.entry.span(again.first, again.grains) if again else None) == (
        Span(START + begun, START + 20) if begun < 20 else None
    )


def test_a_claim_whose_size_is_fixed_is_run_to_its_end(
    desk: FakeDesk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BUDGET", 3.0)
    desk.publish(list(range(20)), 20)
    desk.run(desk.task(Call(clock.costing(100.0)), is_fixed=True))
    assert desk.outcomes().keys() == set(range(START, START + 20))
    assert desk.not_run() == []


def test_the_last_item_may_take_long(desk: FakeDesk, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "BUDGET", 3.0)
    desk.publish([1], 1)
    desk.run(desk.task(Call(clock.costing(100.0))))
    assert desk.outcomes() == {START: Outcome(1)}
    assert desk.not_run() == []


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("grain", [1, 4, 20])
def test_a_job_that_is_cancelled_ends_after_the_item_under_way(
    desk: FakeDesk, monkeypatch: pytest.MonkeyPatch, grain: int, options: Any, timeout: float | None
) -> None:
    monkeypatch.setattr(claims, "_LOOK", -1.0)

    def work(item: int) -> int:
        if item == 5:
            desk.words[CANCELLED] = JOB_NUMBER
        return item

    desk.publish(list(range(20)), grain)
    desk.run(desk.task(Call(work, **options), timeout))
    assert desk.outcomes().keys() == set(range(START, START + 6))


def test_the_end_of_another_job_is_none_of_this_ones_business(desk: FakeDesk) -> None:
    desk.words[CANCELLED] = JOB_NUMBER - 1
    desk.publish(list(range(20)), 4)
    desk.run(desk.task(Call(double)))
    assert len(desk.outcomes()) == 20


# --- what is told early ------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("items", [[0, 1, 2, 3], [[0], [1], [2], [3]]], ids=["columns", "pickled"])
def test_the_result_of_a_slow_item_does_not_wait_for_its_neighbours(
    desk: FakeDesk, clock: Clock, monkeypatch: pytest.MonkeyPatch, items: list[Any], options: Any, timeout: float | None
) -> None:
    monkeypatch.setattr(telling, "_FLUSH", 3.0)
    known: list[int] = []
    slow = clock.costing(10.0)

    def work(item: Any) -> Any:
        known.append(sum(record.length for record in desk.told))
        return slow(item)

    desk.publish(items, 4)
    desk.run(desk.task(Call(work, **options), timeout, is_fixed=True))
    assert known == [0, 1, 2, 3]
    assert len(desk.outcomes()) == 4


def test_quick_items_are_told_together(desk: FakeDesk, clock: Clock) -> None:
    desk.publish([[at] for at in range(2000)], 100)
    desk.run(desk.task(Call(clock.costing(0.0))))
    assert [record.length for record in desk.told] == [2000]


def test_large_results_are_told_a_few_at_a_time(desk: FakeDesk) -> None:
    large = 200_000
    desk.publish(list(range(60)), 1)
    desk.run(desk.task(Call(lambda item: bytes([item]) * large)))
    assert len(desk.told) >= 3
    assert max(record.nbytes for record in desk.told) <= (4 << 20) + 3 * large
    assert [outcome.result[:1] for outcome in desk.outcomes().values()] == [bytes([at]) for at in range(60)]


def test_the_time_told_is_that_of_the_items(desk: FakeDesk, clock: Clock) -> None:
    desk.publish(list(range(4)), 4)
    desk.run(desk.task(Call(clock.costing(0.001))))
    (record,) = desk.told
    assert record.nanoseconds == pytest.approx(4e6, abs=10)


def test_the_next_claim_is_sized_by_this_one(desk: FakeDesk, clock: Clock) -> None:
    desk.publish(list(range(4)), 4)
    task = desk.task(Call(clock.costing(0.001)))
    desk.run(task)
    assert task.pace.is_known
    assert task.want() == int(TARGET / 0.001)
    assert desk.task(Call(double), is_fixed=True).want() == 1


# --- what stays in use -------------------------------------------------------------------------


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize(("options", "timeout"), WAYS)
def test_a_block_that_the_users_code_refers_to_is_held(
    desk: FakeDesk, is_kept: bool, options: Any, timeout: float | None
) -> None:
    kept: list[Any] = []

    def work(item: Any) -> float:
        if is_kept:
            kept.append(item)
        return float(item.sum())

    desk.publish(np.ones((6, 4)), 2)
    desk.run(desk.task(Call(work, **options), timeout))
    assert [bool(record.is_held) for record in desk.told] == [is_kept]


def test_a_block_is_held_also_where_nothing_is_left_to_be_told(
    desk: FakeDesk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BUDGET", 0.5)
    monkeypatch.setattr(telling, "_FLUSH", 0.5)
    kept: list[Any] = []

    def work(item: Any) -> None:
        kept.append(item)
        clock.now += 1.0

    desk.publish(np.ones((6, 4)), 3)
    desk.run(desk.task(Call(work)))
    before = next(at for at, record in enumerate(desk.told) if record.kind == Told.NOT_RUN)
    assert any(record.is_held for record in desk.told[:before]), "a block must not go before it is known to be held"


@pytest.mark.parametrize("result", [1, "text", [1], 1 << 70], ids=repr)
def test_memory_of_results_is_used_again_once_they_are_read(desk: FakeDesk, result: Any) -> None:
    task = desk.task(Call(lambda item: result))
    for number in range(200):
        desk.publish([0] * 40, 20)
        desk.run(task)
        assert desk.outcomes()[START] == Outcome(result)
        desk.told.clear()
        desk.ledger.forget(number + 1)
    assert len(desk.transport.arena.segments()) == 1


@pytest.mark.parametrize("count", [1, 1000])
def test_results_for_which_there_is_no_memory_fail_and_the_worker_goes_on(
    desk: FakeDesk, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Memory for the failures themselves there is: they are small."""
    allocate = desk.transport.arena.allocate

    def scarce(nbytes: int, **options: Any) -> Region:
        if nbytes > 1 << 20:
            raise OSError("no memory")
        return Region(*allocate(nbytes, **options))

    monkeypatch.setattr(desk.transport.arena, "allocate", scarce)
    desk.publish([0] * count, 100)
    desk.run(desk.task(Call(lambda item: "x" * (2 << 20) if count == 1 else item)))
    outcomes = desk.outcomes()
    assert outcomes.keys() == set(range(START, START + count))
    if count == 1:
        assert isinstance(outcomes[START].error, OSError)


# --- the board ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "timeout"), WAYS)
@pytest.mark.parametrize("items", [list(range(10)), [[at] for at in range(10)]], ids=["columns", "pickled"])
def test_the_board_names_the_item_that_runs(
    desk: FakeDesk, items: list[Any], options: Any, timeout: float | None
) -> None:
    desk.publish(items, 3)
    desk.run(desk.task(Call(lambda item: (desk.words[JOB], desk.words[INDEX]), **options), timeout))
    assert [outcome.result for outcome in desk.outcomes().values()] == [(JOB_NUMBER, START + at) for at in range(10)]
    assert (desk.words[JOB], desk.words[INDEX]) == (-1, -1)


seen: list[Any] = []
looking_at: list[FakeDesk] = []


class Looking:
    """Writes down which item the board names while it is pickled, and while it is loaded."""

    def __reduce__(self) -> tuple[Any, ...]:
        look()
        return look, ()


def look() -> None:
    if looking_at:
        seen.append(looking_at[0].words[INDEX])


@pytest.fixture
def watched(desk: FakeDesk) -> Iterator[list[Any]]:
    yield seen
    looking_at.clear()
    seen.clear()


@pytest.mark.parametrize("grain", [1, 3])
def test_the_board_names_the_item_that_is_unpickled(desk: FakeDesk, watched: list[Any], grain: int) -> None:
    desk.publish([Looking(), Looking(), Looking()], grain)
    looking_at.append(desk)
    desk.run(desk.task(Call(lambda item: None)))
    assert watched == [START, START + 1, START + 2]


@pytest.mark.parametrize("before", [0, 300])
def test_the_board_names_the_item_whose_result_is_pickled(desk: FakeDesk, watched: list[Any], before: int) -> None:
    """Also where results that went into a column come before it."""
    desk.publish(list(range(before + 3)), 50)
    looking_at.append(desk)
    desk.run(desk.task(Call(lambda item: item if item < before else Looking())))
    assert [index for index in watched if index >= START][:3] == [START + before + at for at in range(3)]


@pytest.mark.parametrize("items", [[1, 2], [[1], [2]], np.arange(2)], ids=["columns", "pickled", "rows"])
@pytest.mark.parametrize("chunk", [None, list], ids=["items", "chunk"])
def test_a_deadline_is_never_seen_early(desk: FakeDesk, items: Any, chunk: Any) -> None:
    """A worker that was idle for long has an old time on its board: it must not stand there with a new item."""
    wrong: list[tuple[int, int]] = []
    words = desk.words

    class Words:
        """The board as its reader sees it after each store."""

        def __getitem__(self, at: Any) -> Any:
            return words[at]

        def __setitem__(self, at: Any, value: Any) -> None:
            words[at] = value
            if at == INDEX and value >= 0 and words[BEGAN] == 1:
                wrong.append((value, words[BEGAN]))

    desk.publish(items, 1)
    words[BEGAN], words[JOB] = 1, JOB_NUMBER  # ns since the machine was started
    claim = desk.ledger.claim(WORKER, PLENTY)
    assert claim is not None
    task = desk.task(Call(double, chunk=chunk), 60.0)
    desk.words = Words()  # type: ignore[assignment]
    ClaimRun(desk, task, claim, task.read(claim.entry, desk.transport, Fetcher(os.getpid()))).run()
    desk.words = words
    assert wrong == []


# --- what else an item may do ------------------------------------------------------------------


def test_a_child_that_an_item_forks_tells_nothing(desk: FakeDesk) -> None:
    children: list[int] = []

    def work(item: int) -> int:
        child = os.fork()
        if child:
            children.append(child)
        return item

    desk.publish([5], 1)
    desk.run(desk.task(Call(work)))
    assert [os.waitpid(child, 0)[1] for child in children] == [0]
    assert desk.outcomes() == {START: Outcome(5)}


@pytest.mark.parametrize("broken", [None, 5], ids=repr)
def test_an_item_may_break_its_standard_output(desk: FakeDesk, monkeypatch: pytest.MonkeyPatch, broken: Any) -> None:
    desk.publish([5], 1)
    desk.run(desk.task(Call(lambda item: monkeypatch.setattr(sys, "stdout", broken))))
    monkeypatch.undo()
    assert desk.outcomes() == {START: Outcome(None)}


def test_items_may_be_written_to(desk: FakeDesk) -> None:
    def work(item: Any) -> float:
        item += 1
        return float(item[0])

    desk.publish([np.zeros(1000), np.ones(1000)], 2)
    desk.run(desk.task(Call(work)))
    assert [outcome.result for outcome in desk.outcomes().values()] == [1.0, 2.0]
