"""What had finished when a call ended with an exception; what its exception tells of other failures; replays."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.outcome import Failure, Outcomes, Value
from pocketflex.settlement import Settlement

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

EXECUTORS = ("serial", "threads", "processes")
RunScript = Callable[..., Any]


def invert(n: int) -> float:
    return 1 / n


# --- other failures ----------------------------------------------------------------------------


def failed(*indexes: int) -> list[Failure]:
    return [Failure(index, ValueError(f"bad {index}")) for index in indexes]


def notes(met: list[Failure], known: list[Failure]) -> list[str]:
    settlement = Settlement("raise", "node N")
    with pytest.raises(ValueError, match="bad") as caught:
        settlement.take(Outcomes(met[0].index, met, tuple(met)))
    settlement.note_others(known)
    return list(caught.value.__notes__)


def test_the_exception_tells_of_the_other_failures_by_their_index() -> None:
    assert notes(failed(3, 4), failed(9, 7)) == [
        "node N, item 3, attempt 1",
        "also failed: item 4: ValueError: bad 4",
        "also failed: item 7: ValueError: bad 7",
        "also failed: item 9: ValueError: bad 9",
    ]


def test_of_many_other_failures_it_tells_five() -> None:
    found = notes(failed(0), failed(*range(1, 1001)))
    assert found[5:] == ["also failed: item 5: ValueError: bad 5", "and 995 more"]
    assert len(found) == 7


def test_of_a_long_message_it_tells_the_beginning() -> None:
    found = notes(failed(0), [Failure(1, ValueError("x" * 10_000))])
    assert len(found[1]) < 210


@pytest.mark.parametrize("error", [KeyError(1), ValueError("bad 1")])
def test_one_failure_tells_of_no_other(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        pf.parallel_map(lambda n: _raise(error) if n == 1 else n, [0, 1, 2], executor="serial")
    assert len(caught.value.__notes__) == 1


def _raise(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("executor", ["threads", "processes"])
@pytest.mark.parametrize("door", [pf.parallel_map, lambda *args, **options: list(pf.parallel_imap(*args, **options))])
def test_what_has_failed_behind_the_lowest_is_told(executor: str, door: Any) -> None:
    """One chunk, so that all of them have failed before anything is delivered."""
    with pytest.raises(ZeroDivisionError) as caught:
        door(invert, [1, 0, 2, 0, 0], executor=executor, chunksize=5, max_workers=1)
    first, *others = caught.value.__notes__
    assert "item 1, attempt 1" in first
    assert others == [f"also failed: item {at}: ZeroDivisionError: division by zero" for at in (3, 4)]


def test_async_siblings_are_cancelled_and_awaited_and_what_failed_before_is_told() -> None:
    ended = []

    class Work(pf.AsyncBatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            return range(6)

        async def exec_item_async(self, item: int) -> None:
            try:
                await asyncio.sleep(0 if item < 4 else 3600)
            finally:
                ended.append(item)
                await asyncio.sleep(0)
            if item in (1, 3):
                raise ValueError(f"bad {item}")

    async def main() -> None:
        with pytest.raises(ValueError, match="bad 1") as caught:
            await pf.run_async_parallel_batch(Work())
        assert len(asyncio.all_tasks()) == 1
        assert caught.value.__notes__[0] == "node Work, item 1, attempt 1"
        assert {0, 1}.issubset(pf.partial(caught.value))
        assert not {4, 5} & set(pf.partial(caught.value))

    asyncio.run(main())
    assert sorted(ended) == list(range(6))


# --- what had finished -------------------------------------------------------------------------


def outcomes_of(error: BaseException) -> dict[int, Any]:
    """Results, and the indexes of failures."""
    found = pf.partial(error)
    assert list(found) == sorted(found)
    return {at: one.result if isinstance(one, Value) else ("failed", one.index) for at, one in found.items()}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("items", [[4, 2, 0, 1, 0, 5], iter([4, 2, 0, 1, 0, 5])], ids=["list", "iterator"])
def test_what_is_raised_has_what_had_finished(executor: str, ordered: bool, items: Any) -> None:
    copied = copy.copy(items)
    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(invert, copied, executor=executor, ordered=ordered, max_workers=2)
    found = outcomes_of(caught.value)
    expected = [0.25, 0.5, ("failed", 2), 1.0, ("failed", 4), 0.2]
    assert found.items() <= dict(enumerate(expected)).items()
    assert ("failed", 2) in found.values() or ("failed", 4) in found.values()
    assert executor == "processes" or not ordered or [found[0], found[1]] == [0.25, 0.5]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_of_an_array_they_are_its_rows(executor: str) -> None:
    def rows(n: int) -> Any:
        return np.full(3, 1.0) / (1 if n < 4 else invert(0))

    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(rows, range(5), output="array", executor=executor, chunksize=1)
    found = pf.partial(caught.value)
    assert all(np.array_equal(one.result, np.ones(3)) for one in found.values() if isinstance(one, Value))
    assert found[4].kind == "exception"  # type: ignore[union-attr]


def test_a_stream_yields_what_is_before_the_failure_and_keeps_what_is_behind() -> None:
    stream = pf.parallel_imap(invert, [4, 2, 0, 1, 0, 5], max_workers=1, chunksize=6)
    assert [next(stream), next(stream)] == [0.25, 0.5]
    with pytest.raises(ZeroDivisionError) as caught:
        next(stream)
    assert outcomes_of(caught.value).items() >= {2: ("failed", 2), 3: 1.0, 4: ("failed", 4), 5: 0.2}.items()


@pytest.mark.parametrize(
    "error", [ValueError(), KeyboardInterrupt(), RuntimeError("x"), asyncio.CancelledError()], ids=repr
)
def test_an_exception_from_elsewhere_has_none(error: BaseException) -> None:
    assert pf.partial(error) == {}


def test_a_circle_of_causes_has_an_end() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert pf.partial(first) == {}


def test_an_exception_that_is_pickled_does_not_take_results_along() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(lambda n: n if n == 1 else invert(0), [1, 0], executor="serial")
    assert len(pf.partial(caught.value)) == 2
    assert pf.partial(pickle.loads(pickle.dumps(caught.value))) == {}


def test_the_outermost_call_is_the_one_whose_items_they_are() -> None:
    def inner(n: int) -> Any:
        return pf.parallel_map(invert, [1, n])

    for executor in EXECUTORS:
        with pytest.raises(ZeroDivisionError) as caught:
            pf.parallel_map(inner, [1, 2, 0], executor=executor, max_workers=1, chunksize=3)
        assert outcomes_of(caught.value) == {0: [1.0, 1.0], 1: [1.0, 0.5], 2: ("failed", 2)}


def test_results_live_as_long_as_the_exception() -> None:
    class Large:
        pass

    made: list[weakref.ref[Large]] = []

    def work(n: int) -> Large:
        invert(n)
        large = Large()
        made.append(weakref.ref(large))
        return large

    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(work, [1, 1, 0], executor="serial")
    assert len(pf.partial(caught.value)) == 3
    assert all(one() is not None for one in made)
    del caught
    gc.collect()
    assert [one() for one in made] == [None, None]


# --- interrupted -------------------------------------------------------------------------------

INTERRUPTED = """
import asyncio, os, signal, sys, threading, time
import pocketflex as pf

def stop(): os.kill(os.getpid(), signal.SIGINT)

def work(n):
    if n == 40:
        stop()
        time.sleep(60)
    return n

class Sync(pf.BatchNode):
    def prep(self, shared): return range(100)
    def exec_item(self, n): return work(n)

class Async(pf.AsyncBatchNode):
    def prep(self, shared): return range(100)
    async def exec_item_async(self, n):
        if n == 40:
            stop()
            await asyncio.sleep(60)
        return n

begun = time.monotonic()
try:
    CALL
except KeyboardInterrupt as error:
    done = pf.partial(error)
    assert all(outcome == pf.Value(n) for n, outcome in done.items())
    assert set(done) == set(range(40)), sorted(done)
    told, at = [], error
    while at is not None:
        told += getattr(at, "__notes__", [])
        at = at.__context__
    assert f"{len(done)} of 100 items had finished; pf.partial(error) has their outcomes" in str(told), told
    assert time.monotonic() - begun < 30
    print("fine")
"""
MAP = "pf.parallel_map(work, range(100), MORE)"
CALLS = [
    pytest.param(MAP.replace("MORE", "executor='serial'"), id="serial"),
    pytest.param(MAP.replace("MORE", "max_workers=1, isolate=False"), id="alone"),
    pytest.param("pf.run_batch(Sync)", id="run_batch"),
    pytest.param("asyncio.run(pf.run_async_batch(Async))", id="run_async_batch"),
    pytest.param("asyncio.run(pf.run_async_parallel_batch(Async, max_concurrency=1))", id="concurrent"),
]


@pytest.mark.parametrize("call", CALLS)
def test_ctrl_c_carries_what_had_finished(run_script: RunScript, call: str) -> None:
    done = run_script(INTERRUPTED.replace("CALL", call))
    assert (done.stdout, done.stderr) == ("fine\n", "")


WORKERS = """
import asyncio, os, signal, sys, time
import pocketflex as pf
from pocketflex.executors.process import ProcessPool

class Interrupting:
    \"\"\"Ctrl-C once the outcomes of the first chunk have been taken.\"\"\"

    workers = 2

    def start(self, job, options):
        self.inner = ProcessPool().start(job, options)
        return self

    def cancel(self):
        self.inner.cancel()

    def __iter__(self):
        seen = 0
        for run in self.inner:
            yield run
            seen += len(run.results)
            if seen == 10:
                os.kill(os.getpid(), signal.SIGINT)

def work(n):
    if n >= 10:
        time.sleep(60)
    return n

class Sync(pf.BatchNode):
    chunksize = 10
    def prep(self, shared): return range(30)
    def exec_item(self, n): return work(n)

begun = time.monotonic()
try:
    CALL
except KeyboardInterrupt as error:
    assert time.monotonic() - begun < 30
    assert pf.partial(error) == {n: pf.Value(n) for n in range(10)}, pf.partial(error)
    print("fine")
"""


@pytest.mark.parametrize(
    "call",
    [
        "pf.run_parallel_batch(Sync, max_workers=2, executor=Interrupting())",
        "pf.run_parallel_batch(Sync, max_workers=2, executor=Interrupting(), ordered=False)",
        "asyncio.run(pf.run_async_parallel_batch(Sync, max_workers=2, executor=Interrupting()))",
    ],
    ids=["sync", "unordered", "async"],
)
def test_ctrl_c_ends_workers_and_carries_what_they_had_told(run_script: RunScript, call: str) -> None:
    done = run_script(WORKERS.replace("CALL", call))
    assert (done.stdout, done.stderr) == ("fine\n", "")


class Slow(pf.AsyncBatchNode[Any, Any, Any]):
    """The first five items end, the others wait until they are cancelled; the test is told once all have begun."""

    def __init__(self, begun: asyncio.Event) -> None:
        super().__init__()
        self.begun = begun

    def prep(self, shared: Any) -> Any:
        return range(8)

    async def exec_item_async(self, item: int) -> int:
        if item == 7:
            self.begun.set()
        if item >= 5:
            await asyncio.Event().wait()
        return item


DONE = {n: Value(n) for n in range(5)}


def test_a_task_that_is_cancelled_carries_what_had_finished() -> None:
    async def main() -> None:
        begun = asyncio.Event()
        task = asyncio.create_task(pf.run_async_parallel_batch(Slow(begun)))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert pf.partial(caught.value) == DONE

    asyncio.run(main())


def test_a_timeout_of_asyncio_carries_what_had_finished() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def call() -> None:
            async with asyncio.timeout(None) as limit:
                asyncio.ensure_future(begun.wait()).add_done_callback(lambda _: limit.reschedule(0))
                await pf.run_async_parallel_batch(Slow(begun))

        with pytest.raises(TimeoutError) as caught:
            await call()
        assert pf.partial(caught.value) == DONE

    asyncio.run(main())


def test_in_a_task_group_the_sibling_of_a_failing_task_carries_it_too() -> None:
    async def main() -> None:
        begun, errors = asyncio.Event(), []

        async def call() -> None:
            try:
                await pf.run_async_parallel_batch(Slow(begun))
            except asyncio.CancelledError as error:
                errors.append(error)
                raise

        async def group() -> None:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(call())
                await begun.wait()
                raise ValueError

        with pytest.raises(ExceptionGroup):
            await group()
        assert [pf.partial(error) for error in errors] == [DONE]

    asyncio.run(main())


def test_a_sync_batch_on_a_loop_carries_it_when_its_task_is_cancelled() -> None:
    class Gated(pf.BatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            yield from range(5)
            loop.call_soon_threadsafe(begun.set)
            go_on.wait()
            yield 5

        def exec_item(self, item: int) -> int:
            return item

    import threading

    go_on, begun = threading.Event(), asyncio.Event()

    async def main() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(pf.run_async(Gated()))
        await begun.wait()
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        found = pf.partial(caught.value)
        assert found.items() >= DONE.items()
        (note,) = caught.value.__notes__
        assert note.startswith(f"node Gated: {len(found)} items had finished")

    loop: Any = None
    asyncio.run(main())


# --- replay ------------------------------------------------------------------------------------


def failures_of(items: Any, executor: str, **options: Any) -> list[Failure]:
    found = pf.parallel_map(invert, items, executor=executor, on_error="collect", **options)
    return [one for one in found if isinstance(one, Failure)]


MAKE: list[Callable[[], Any]] = [
    lambda: [1, 0, 2],
    lambda: (1, 0, 2),
    lambda: range(-1, 2),
    lambda: np.array([1, 0, 2]).tolist(),
    lambda: (n for n in [1, 0, 2]),
    lambda: {1: 1, 0: 1, 2: 1},
]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("make", MAKE)
@pytest.mark.parametrize("options", [{}, {"isolate": False}, {"retry": pf.Retry(2)}, {"ordered": False}])
def test_a_failure_runs_its_item_again(executor: str, make: Callable[[], Any], options: dict[str, Any]) -> None:
    (failure,) = failures_of(make(), executor, max_workers=2, **options)
    assert failure.item == 0
    with pytest.raises(ZeroDivisionError) as caught:
        failure.replay()
    assert caught.value is not failure.error
    assert caught.traceback[-1].name == "invert"


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_single_item_is_run_again(executor: str) -> None:
    pf.parallel_map(abs, [1, 2], max_workers=2)  # so that there is an idle worker
    (failure,) = failures_of([0], executor)
    with pytest.raises(ZeroDivisionError):
        failure.replay()


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("is_array", [True, False])
def test_a_chunk_is_run_again_with_the_one_item(executor: str, is_array: bool) -> None:
    seen: list[Any] = []

    class Chunks(pf.ParallelBatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            return np.arange(6.0).reshape(3, 2) if is_array else [0, 2, 4]

        def exec_chunk(self, items: Any) -> Any:
            seen.append(items)
            if any(np.ravel(item)[0] == 2 for item in items):
                raise ValueError("two")
            return items

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    failure = pf.run(Chunks(), executor=executor, on_error="collect")["results"][1]
    seen.clear()
    with pytest.raises(ValueError, match="two"):
        failure.replay()
    assert np.array_equal(seen[0], [[2.0, 3.0]] if is_array else [2])
    assert type(seen[0]) is (np.ndarray if is_array else list)
    assert np.array_equal(failure.item, [2.0, 3.0] if is_array else 2)


@pytest.mark.parametrize("wrong", [lambda items: [0], lambda items: [*items, 0], set, dict.fromkeys, lambda _: "abc"])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_chunk_of_other_results_than_one_each_fails_as_a_whole(executor: str, wrong: Callable[[Any], Any]) -> None:
    class Chunks(pf.ParallelBatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [1, 2, 3]

        def exec_chunk(self, items: Any) -> Any:
            return wrong(items)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    options = {"executor": executor, "chunksize": 3}
    with pytest.raises(pf.ChunkError, match=r"exec_chunk returned (a set|a dict|a str|\d results for 3 items)"):
        pf.run(Chunks(), **options)
    found = pf.run(Chunks(), on_error="collect", **options)["results"]
    assert [(one.index, type(one.error)) for one in found] == [(index, pf.ChunkError) for index in range(3)]


@pytest.mark.parametrize("is_plain", [True, False])
def test_an_async_item_is_awaited_again(is_plain: bool) -> None:
    class Work(pf.AsyncBatchNode[Any, Any, Any]):
        def prep(self, shared: Any) -> Any:
            return [1, 0]

        async def exec_item_async(self, item: int) -> float:
            return invert(item)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    async def main() -> None:
        node = Work(max_retries=1 if is_plain else 2)
        failure = (await pf.run_async(node, on_error="collect"))["results"][1]
        with pytest.raises(ZeroDivisionError):
            await failure.replay()

    asyncio.run(main())


def test_a_failing_item_is_run_once_without_retries_or_fallback(tmp_path: Path) -> None:
    class Work(pf.BatchNode[Any, Any, Any]):
        retry = pf.Retry(3)

        def prep(self, shared: Any) -> Any:
            return [7]

        def exec_item(self, item: int) -> None:
            with (tmp_path / "log").open("a") as file:
                file.write(f"{self.cur_retry} ")
            raise ValueError(item)

        def exec_fallback(self, item: int, exc: Exception) -> Any:
            raise LookupError

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    (failure,) = pf.run_parallel_batch(Work(), on_error="collect")["results"]
    assert type(failure.error) is LookupError
    with pytest.raises(ValueError, match="7"):
        failure.replay()
    assert (tmp_path / "log").read_text() == "0 1 2 0 "


def test_crashes_timeouts_and_what_cannot_be_carried_are_run_again_too(tmp_path: Path) -> None:
    parent = os.getpid()

    def work(item: Any) -> Any:
        if os.getpid() != parent:
            if item == "crash":
                os.kill(os.getpid(), signal.SIGKILL)
            if item == "hang":
                signal.pause()
        return f"{item} here"

    generator = (n for n in ())
    items = ["fine", "crash", "hang", generator]
    fine, *failures = pf.parallel_map(work, items, timeout=0.5, on_error="collect", max_workers=2)
    assert fine == "fine here"
    assert [failure.kind for failure in failures] == ["crashed", "timeout", "unpicklable"]
    assert [failure.replay() for failure in failures[:2]] == ["crash here", "hang here"]
    assert failures[2].replay().startswith("<generator")


@pytest.mark.parametrize("lose", [lambda one: pickle.loads(pickle.dumps(one)), copy.copy, copy.deepcopy])
def test_a_failure_without_its_item_says_so(lose: Callable[[Any], Any]) -> None:
    (failure,) = failures_of([1, 0], "processes")
    lost = lose(failure)
    assert (lost.index, lost.attempts, lost.kind) == (1, 1, "exception")
    with pytest.raises(LookupError, match="item 1 is not there any more"):
        lost.replay()
    with pytest.raises(LookupError, match="item 5 is not there any more"):
        Failure(5, ValueError()).replay()


def test_what_a_failure_keeps_is_nobodys_business() -> None:
    (failure,) = failures_of([1, 0], "processes")
    other = Failure(failure.index, failure.error)
    assert failure == other
    assert hash(failure) == hash(other)
    assert repr(failure) == repr(other)
    assert asdict(Failure(1, failure.error)).keys() == {"index", "error", "attempts", "kind"}
    assert not hasattr(failure, "__dict__")


@pytest.mark.parametrize("executor", EXECUTORS)
def test_only_the_items_that_failed_are_kept(executor: str) -> None:
    class Item:
        def __init__(self, number: int) -> None:
            self.number = number

    made: list[weakref.ref[Item]] = []

    def items() -> Iterator[Item]:
        for number in range(50):
            item = Item(number)
            made.append(weakref.ref(item))
            yield item
            del item

    found = pf.parallel_map(
        lambda item: invert(item.number % 10) and None, items(), executor=executor, on_error="collect"
    )
    gc.collect()
    failures = [one for one in found if isinstance(one, Failure)]
    assert [failure.index for failure in failures] == [0, 10, 20, 30, 40]
    alive = [ref() for ref in made]
    kept = [item.number for item in alive if item is not None and item.number % 10]
    assert kept == [] or executor != "processes"  # here the frames of a traceback refer to those of the loop
    assert all(alive[at] is not None for at in (0, 10, 20, 30, 40))


def test_a_list_that_has_been_shortened_has_no_item_to_run_again() -> None:
    items = [0, 0, 0]

    def shrink() -> Iterator[Any]:
        for one in pf.parallel_imap(invert, items, on_error="collect", max_workers=1, chunksize=3):
            items.clear()
            yield one

    first, *_ = list(shrink())
    with pytest.raises(ZeroDivisionError):
        first.replay()
