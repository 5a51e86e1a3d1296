"""One contract, every executor: order, outcomes, exceptions and options mean the same on each of them."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.executors.base import Job, Run
from pocketflex.executors.process import ProcessPool
from pocketflex.outcome import RemoteTraceback

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it


class Joined:
    """Worker processes beside which the caller runs items too."""

    def start(self, job: Job, options: pf.BatchOptions) -> Run:
        return ProcessPool().start(job, replace(options, isolate=False))


JOINED = pytest.param(Joined(), id="joined")
EXECUTORS = ("serial", "threads", "processes", JOINED)
Door = Callable[..., list[Any]]


@pytest.fixture(params=EXECUTORS)
def executor(request: pytest.FixtureRequest) -> Any:
    return request.param


def by_map(function: Any, items: Any, **options: Any) -> list[Any]:
    return pf.parallel_map(function, items, **options)


def by_imap(function: Any, items: Any, **options: Any) -> list[Any]:
    return list(pf.parallel_imap(function, items, **options))


@pytest.fixture(params=[by_map, by_imap], ids=["map", "imap"])
def door(request: pytest.FixtureRequest) -> Door:
    return request.param  # type: ignore[no-any-return]


class TwoArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.a, self.b = a, b


class Formatting(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")


def square(x: Any) -> Any:
    return x * x


def same(x: Any) -> Any:
    return x


def odd_fails(x: int) -> int:
    if x % 2:
        raise ValueError(f"odd: {x}")  # the guilty line
    return x


def summary(outcome: Any) -> Any:
    """What must be the same on every executor."""
    if isinstance(outcome, pf.Failure):
        error = outcome.error
        return outcome.index, type(error), str(error), error.args, outcome.attempts, outcome.kind, error.__notes__
    return outcome


# --- results -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "chunksize"), [(0, None), (0, 3), (1, None), (1, 1), (2, 1000), (100, None), (100, 1), (100, 3)]
)
def test_results_come_in_the_order_of_the_items(door: Door, executor: Any, count: int, chunksize: int | None) -> None:
    expected = [x * x for x in range(count)]
    assert door(square, range(count), executor=executor, chunksize=chunksize, max_workers=3) == expected


@pytest.mark.parametrize(
    "make",
    [
        list,
        lambda: (),
        lambda: iter([]),
        lambda: np.zeros((0, 3)),
        dict,
        lambda: (n for n in range(7)),
        lambda: {3: "a", 5: "b"},
        lambda: {1},
        lambda: "abc",
        lambda: itertools.islice(itertools.count(), 5),
        lambda: map(str, range(3)),
    ],
)
def test_any_iterable_gives_items(executor: Any, make: Callable[[], Any]) -> None:
    items = make()
    expected = [] if items is None else list(make())
    assert pf.parallel_map(same, items, executor=executor, max_workers=2) == expected


@pytest.mark.parametrize(
    "array",
    [
        np.arange(10),
        np.arange(10.0)[::-2],
        np.arange(12, dtype=">i2").reshape(4, 3),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.array([(1, 2.5), (2, 3.5)], [("a", "i4"), ("b", "f8")]),
        np.array([{"a": 1}, None, "x"], object),
        np.array([[1, "x"], [2, "y"]], object),
        np.array(["2020-01-01", "NaT"], "M8[s]"),
        np.array(["a", "bcd"]),
        np.zeros((3, 0)),
        np.ma.masked_array([1, 2, 3], [0, 1, 0]),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_the_items_of_an_array_are_its_rows(executor: Any, array: Any) -> None:
    def look(row: Any) -> Any:
        return type(row).__name__, getattr(row, "dtype", None), np.shape(row), row

    expected = [look(row) for row in array]
    found = pf.parallel_map(look, array, executor=executor, max_workers=2)
    assert [one[:3] for one in found] == [one[:3] for one in expected]
    np.testing.assert_equal([one[3] for one in found], [one[3] for one in expected])


def test_values_of_every_kind_pass_through(executor: Any) -> None:
    items = [0, -(2**70), 1.5, float("inf"), -0.0, "\ud800", b"\x00", None, True, 1j, [1, [2]], {"a": (1,)}, {1}, ...]
    found = pf.parallel_map(same, items, executor=executor, max_workers=2)
    assert found == items
    assert list(map(type, found)) == list(map(type, items))
    assert str(found[4]) == "-0.0"


def test_a_result_that_is_a_failure_object_is_a_result(door: Door, executor: Any) -> None:
    def give(x: int) -> pf.Failure:
        return pf.Failure(7, ValueError("a value"), 3)

    for on_error in ("raise", "collect", "skip"):
        found = door(give, [1], executor=executor, on_error=on_error)
        assert [(one.index, str(one.error), one.attempts) for one in found] == [(7, "a value", 3)]


def test_imap_gives_the_first_results_of_an_endless_input(executor: Any) -> None:
    squares = pf.parallel_imap(square, itertools.count(), executor=executor, max_workers=2)
    assert list(itertools.islice(squares, 100)) == [x * x for x in range(100)]
    squares.close()  # type: ignore[attr-defined]


def test_imap_reads_its_input_as_results_are_consumed(executor: Any) -> None:
    read = itertools.count()
    squares = pf.parallel_imap(square, read, executor=executor, max_workers=2, chunksize=1)
    for _ in range(5):
        next(squares)
    squares.close()  # type: ignore[attr-defined]
    assert next(read) <= 5 + 8 * 2 + 2


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_without_order_all_are_delivered(door: Door, executor: Any, chunksize: int | None) -> None:
    found = door(square, iter(range(200)), executor=executor, ordered=False, max_workers=3, chunksize=chunksize)
    assert sorted(found) == [x * x for x in range(200)]


@pytest.mark.parametrize("chunksize", [1, 4, 10])
@pytest.mark.parametrize("executor", ["threads", "processes", JOINED])
def test_the_chunksize_is_honoured(executor: Any, chunksize: int) -> None:
    """All items of a chunk run in one worker, one after another."""

    def where(_item: int) -> tuple[int, int]:
        return os.getpid(), threading.get_ident()

    found = pf.parallel_map(where, range(40), executor=executor, chunksize=chunksize, max_workers=3)
    for at in range(0, 40, chunksize):
        assert len(set(found[at : at + chunksize])) == 1


def test_the_results_are_the_same_on_all_executors() -> None:
    def work(x: int) -> Any:
        if x % 7 == 3:
            raise TwoArguments(x, x + 1)
        if x % 7 == 4:
            raise Formatting(x)
        if x % 7 == 5:
            return x / (x - 5)
        return random.Random(x).random(), str(x), [x] * 3

    items = [random.Random(1).randrange(50) for _ in range(120)] + [5]
    found = [
        [
            summary(one)
            for one in pf.parallel_map(
                work, iter(items), executor=executor, on_error="collect", max_workers=2, chunksize=chunksize
            )
        ]
        for executor in ("serial", "threads", "processes", Joined())
        for chunksize in (None, 5)
    ]
    assert all(one == found[0] for one in found)


# --- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [None, 1, 4])
def test_the_failure_with_the_lowest_index_is_raised(door: Door, executor: Any, chunksize: int | None) -> None:
    with pytest.raises(ValueError, match="odd: 3") as caught:
        door(odd_fails, [0, 2, 4, 3, 6, 5, 7], executor=executor, max_workers=3, chunksize=chunksize)
    note, *others = caught.value.__notes__
    assert all(other.startswith("also failed: item ") for other in others)
    assert "odd_fails" in note
    assert "item 3" in note
    assert "attempt 1" in note


def test_a_remote_traceback_is_the_cause_and_names_the_users_line() -> None:
    with pytest.raises(ValueError, match="odd: 1") as caught:
        pf.parallel_map(odd_fails, [1])
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    text = str(caught.value.__cause__)
    assert "in odd_fails" in text
    assert 'raise ValueError(f"odd: {x}")  # the guilty line' in text


def test_collected_failures_are_in_their_places(door: Door, executor: Any) -> None:
    found = door(odd_fails, range(6), executor=executor, on_error="collect", max_workers=2)
    assert [one for one in found if not isinstance(one, pf.Failure)] == [0, 2, 4]
    assert [(one.index, str(one.error), one.attempts, one.kind) for one in found[1::2]] == [
        (n, f"odd: {n}", 1, "exception") for n in (1, 3, 5)
    ]
    assert all(f"item {one.index}" in one.error.__notes__[0] for one in found[1::2])


def test_skipped_failures_are_left_out_and_told(door: Door, executor: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert door(odd_fails, range(6), executor=executor, on_error="skip", max_workers=2) == [0, 2, 4]
    (record,) = caplog.records
    assert record.name == "pocketflex"
    assert "3 of 6" in record.getMessage()
    assert "item 1" in record.getMessage()


@pytest.mark.parametrize("count", [1, 5])
def test_all_failing_is_an_error_even_when_failures_are_skipped(door: Door, executor: Any, count: int) -> None:
    with pytest.raises(ValueError, match="odd: 1") as caught:
        door(odd_fails, range(1, 2 * count, 2), executor=executor, on_error="skip", max_workers=2)
    assert any(f"all {count} items failed" in note for note in caught.value.__notes__)


def test_nothing_fails_in_an_empty_batch(door: Door, executor: Any) -> None:
    assert door(odd_fails, [], executor=executor, on_error="skip") == []


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        (TwoArguments, (1, 2)),
        (Formatting, (5,)),
        (SystemExit, (3,)),
        (GeneratorExit, ("x",)),
        (StopAsyncIteration, ("x",)),
        (KeyError, ("k",)),
        (OSError, (2, "No such file", "name.txt")),
        (MemoryError, ("made up",)),
        (RecursionError, ("made up",)),
        (ExceptionGroup, ("some", [ValueError(1)])),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_exception_arrives_as_itself(
    door: Door, executor: Any, kind: type[BaseException], args: tuple[Any, ...]
) -> None:
    def fail(item: int) -> int:
        if item == 1:
            raise kind(*args)
        return item

    expected = kind(*args)
    with pytest.raises(kind) as caught:
        door(fail, [1], executor=executor)
    assert type(caught.value) is type(expected)
    assert str(caught.value) == str(expected)
    assert repr(caught.value.args) == repr(expected.args)
    collected = door(fail, [0, 1, 2], executor=executor, on_error="collect")
    assert (collected[0], collected[2]) == (0, 2)
    assert type(collected[1].error) is type(expected)


def test_stop_iteration_of_an_item_is_its_failure(executor: Any) -> None:
    def fail(item: int) -> int:
        return next(iter([])) if item == 2 else item

    with pytest.raises(StopIteration) as caught:
        pf.parallel_map(fail, range(4), executor=executor)
    assert "item 2" in caught.value.__notes__[0]
    found = pf.parallel_map(fail, range(4), executor=executor, on_error="skip")
    assert found == [0, 1, 3]


def test_stop_iteration_of_an_item_does_not_end_a_stream_silently(executor: Any) -> None:
    def fail(item: int) -> int:
        return next(iter([])) if item == 2 else item

    with pytest.raises(RuntimeError) as caught:
        list(pf.parallel_imap(fail, range(4), executor=executor))
    assert isinstance(caught.value.__cause__, StopIteration)


def test_ctrl_c_in_this_process_is_no_failure_of_an_item() -> None:
    def fail(_item: int) -> None:
        raise KeyboardInterrupt

    for executor in ("serial", "threads"):
        with pytest.raises(KeyboardInterrupt):
            pf.parallel_map(fail, [1], executor=executor, on_error="collect")
    (failure,) = pf.parallel_map(fail, [1], executor="processes", on_error="collect")
    assert isinstance(failure.error, KeyboardInterrupt)


@pytest.mark.parametrize("chunksize", [None, 1, 3])
def test_an_input_that_raises_ends_the_stream_after_the_items_before(executor: Any, chunksize: int | None) -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise LookupError("the input broke")

    found: list[int] = []
    with pytest.raises(LookupError, match="the input broke"):  # noqa: PT012
        for result in pf.parallel_imap(same, items(), executor=executor, max_workers=2, chunksize=chunksize):
            found.append(result)  # noqa: PERF402
    assert found == list(range(5))
    with pytest.raises(LookupError, match="the input broke"):
        pf.parallel_map(same, items(), executor=executor, max_workers=2, chunksize=chunksize)


def test_a_failed_item_before_a_broken_input_is_raised_first(executor: Any) -> None:
    def items() -> Iterator[int]:
        yield from (0, 1)
        raise LookupError("the input broke")

    with pytest.raises(ValueError, match="odd: 1"):
        list(pf.parallel_imap(odd_fails, items(), executor=executor, max_workers=1, chunksize=1))


def test_an_item_over_its_time_is_a_failure_of_kind_timeout(door: Door, executor: Any) -> None:
    def work(seconds: float) -> float:
        threading.Event().wait(seconds)
        return seconds

    found = door(work, [0, 0.4, 0], executor=executor, timeout=0.15, on_error="collect", max_workers=2)
    assert (found[0], found[2]) == (0, 0)
    assert (found[1].index, found[1].kind, found[1].attempts) == (1, "timeout", 1)
    assert isinstance(found[1].error, pf.ItemTimeoutError)
    assert isinstance(found[1].error, TimeoutError)
    with pytest.raises(TimeoutError, match="item 0"):
        door(work, [0.4], executor=executor, timeout=0.15)


# --- calls that are wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_workers": 0}, r"max_workers=0.*at least 1"),
        ({"max_workers": -1}, r"max_workers=-1"),
        ({"max_workers": 1.5}, r"max_workers=1\.5"),
        ({"max_workers": True}, r"max_workers=True"),
        ({"chunksize": 0}, r"chunksize=0"),
        ({"chunksize": "many"}, r"chunksize='many'"),
        ({"timeout": 0}, r"timeout=0"),
        ({"timeout": float("nan")}, r"timeout=nan"),
        ({"timeout": "1"}, r"timeout='1'"),
        ({"on_error": "ignore"}, r"on_error='ignore'.*'raise', 'collect', 'skip'"),
        ({"ordered": 1}, r"ordered=1"),
        ({"progress": None}, r"progress=None"),
        ({"isolate": 0}, r"isolate=0.*True or False"),
        ({"crash_retries": -1}, r"crash_retries=-1"),
        ({"worker": 2}, r"unknown option 'worker'.*max_workers"),
        ({"chunk_size": 2}, r"unknown option 'chunk_size': did you mean 'chunksize'"),
        ({"zzz": 2}, r"unknown option 'zzz': the options are max_workers"),
    ],
    ids=str,
)
def test_a_wrong_option_is_named_before_anything_runs(
    door: Door, executor: Any, options: dict[str, Any], message: str
) -> None:
    read: list[int] = []
    with pytest.raises(pf.OptionError, match=message) as caught:
        door(same, (read.append(n) for n in range(3)), executor=executor, **options)
    assert isinstance(caught.value, ValueError)
    assert read == []


@pytest.mark.parametrize("executor", ["process", "", 5, object()], ids=repr)
def test_a_wrong_executor_is_an_error_that_lists_the_right_ones(door: Door, executor: Any) -> None:
    with pytest.raises(pf.OptionError, match=r"'processes', 'serial', 'threads'"):
        door(same, [1], executor=executor)


@pytest.mark.parametrize("function", [None, 3, "square"], ids=repr)
def test_what_is_not_callable_is_refused_at_the_call(executor: Any, function: Any) -> None:
    for door in (pf.parallel_map, pf.parallel_imap):
        with pytest.raises(TypeError, match=type(function).__name__):
            door(function, [1], executor=executor)


@pytest.mark.parametrize("items", [3, object(), np.array(1)], ids=["int", "object", "0-d array"])
def test_what_is_not_iterable_is_refused_at_the_call(executor: Any, items: Any) -> None:
    for door in (pf.parallel_map, pf.parallel_imap):
        with pytest.raises(TypeError, match=rf"{door.__name__}\(same\).*iterable.*{type(items).__name__}"):
            door(same, items, executor=executor)


# --- an executor of one's own --------------------------------------------------------------------


def test_an_object_with_the_protocol_is_an_executor() -> None:
    from pocketflex.executors.serial import Serial

    assert pf.parallel_map(square, range(4), executor=Serial()) == [0, 1, 4, 9]


@pytest.mark.parametrize("count", [0, 3])
def test_closing_a_stream_early_ends_its_input(executor: Any, count: int) -> None:
    ended: list[bool] = []

    def items() -> Iterator[int]:
        try:
            yield from itertools.count()
        finally:
            ended.append(True)

    source = items()
    stream = pf.parallel_imap(same, source, executor=executor, max_workers=2)
    assert list(itertools.islice(stream, count)) == list(range(count))
    stream.close()  # type: ignore[attr-defined]
    source.close()  # type: ignore[attr-defined]  # nothing may still be inside it
    assert ended == [True] * bool(count)


def test_an_item_may_itself_call_the_engine(executor: Any) -> None:
    def inner(x: int) -> list[int]:
        return pf.parallel_map(square, range(x), max_workers=2, executor=executor)

    expected = [[n * n for n in range(x)] for x in range(5)]
    assert pf.parallel_map(inner, range(5), executor=executor, max_workers=2) == expected


async def awaited(item: int) -> int:
    return item


async def generated(item: int) -> Any:
    yield item


class Callables:
    async def __call__(self, item: int) -> int:
        return item

    async def method(self, item: int) -> int:
        return item


@pytest.mark.parametrize("door", [pf.parallel_map, pf.parallel_imap])
@pytest.mark.parametrize("function", [awaited, generated, partial(awaited), Callables(), Callables().method])
def test_an_async_function_is_refused_at_the_call(door: Any, function: Any) -> None:
    with pytest.raises(TypeError, match=r"is async, and parallel_i?map calls plain functions: make it"):
        door(function, [1])


@pytest.mark.parametrize("door", [pf.parallel_map, pf.parallel_imap])
def test_none_is_not_an_empty_batch_of_a_function(door: Any) -> None:
    with pytest.raises(TypeError, match="the items of a batch must be iterable, not NoneType"):
        door(str, None)
