"""`initializer`: called once in each process that runs items, before them; what it raises ends the call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.options import BatchOptions

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it

state: dict[str, Any] = {}


def note(path: Any, word: str = "x") -> None:
    with open(path, "a") as file:
        file.write(f"{os.getpid()} {word}\n")


def noted(path: Any) -> list[tuple[int, str]]:
    return [(int(pid), word) for pid, word in (line.split() for line in Path(path).read_text().splitlines())]


@pytest.mark.parametrize("count", [1, 2, 300])
def test_each_worker_calls_it_once_before_its_first_item(tmp_path: Path, count: int) -> None:
    def work(path: Path) -> int:
        return [pid for pid, _ in noted(path)].count(os.getpid())

    for name in "ab":  # warm workers do so for each call
        path = tmp_path / name
        found = pf.parallel_map(work, [path] * count, max_workers=2, initializer=note, initargs=(path, "hello"))
        assert found == [1] * count
        calls = noted(path)
        assert len(calls) == len({pid for pid, _ in calls}) <= 2
        assert {word for _, word in calls} == {"hello"}


@pytest.mark.parametrize(
    "options", [{"executor": "serial"}, {"executor": "threads", "max_workers": 2}, {"isolate": False, "max_workers": 1}]
)
@pytest.mark.parametrize("count", [1, 40])
def test_in_this_process_it_is_called_once(tmp_path: Path, options: dict[str, Any], count: int) -> None:
    path = tmp_path / "calls"
    pf.parallel_map(abs, range(count), initializer=note, initargs=(path,), **options)
    assert noted(path) == [(os.getpid(), "x")]


def test_where_this_process_takes_part_it_calls_it_too(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    pf.parallel_map(abs, range(100), isolate=False, max_workers=2, initializer=note, initargs=(path,))
    pids = [pid for pid, _ in noted(path)]
    assert os.getpid() in pids
    assert len(pids) == len(set(pids))


class Work(pf.BatchNode):
    def prep(self, shared: Any) -> Any:
        return range(4)

    def exec_item(self, item: int) -> int:
        return item


class WorkAsync(pf.AsyncBatchNode):
    def prep(self, shared: Any) -> Any:
        return range(4)

    async def exec_item_async(self, item: int) -> int:
        return item


@pytest.mark.parametrize("model", [pf.run_async, pf.run_async_batch, pf.run_async_parallel_batch])
@pytest.mark.parametrize("node", [Work, WorkAsync])
def test_the_async_models_call_it(model: Any, node: Any, tmp_path: Path) -> None:
    path = tmp_path / "calls"
    asyncio.run(model(node, initializer=note, initargs=(path,)))
    pids = [pid for pid, _ in noted(path)]
    assert len(pids) == len(set(pids)) >= 1


def test_a_method_of_a_node_may_be_one() -> None:
    class Counts(Work):
        def initializer(self) -> None:
            self.factor = 10

        def exec_item(self, item: int) -> int:
            return self.factor * item

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    for model in (pf.run, pf.run_parallel_batch):
        assert model(Counts)["results"] == [0, 10, 20, 30]


def test_a_worker_that_takes_the_place_of_another_calls_it_too(tmp_path: Path) -> None:
    path = tmp_path / "calls"

    def work(item: int) -> int:
        if item == 1:
            os._exit(1)
        return [pid for pid, _ in noted(path)].count(os.getpid())

    found = pf.parallel_map(
        work, range(20), max_workers=1, initializer=note, initargs=(path,), on_error="skip", crash_retries=0
    )
    assert found == [1] * 19
    assert len(noted(path)) == 2


def test_a_worker_that_takes_the_place_of_a_worn_one_calls_it_too(tmp_path: Path) -> None:
    path = tmp_path / "calls"

    def work(_item: int) -> int:
        return [pid for pid, _ in noted(path)].count(os.getpid())

    options: dict[str, Any] = {"initializer": note, "initargs": (path,), "max_tasks_per_child": 3}
    assert pf.parallel_map(work, range(12), max_workers=1, **options) == [1] * 12
    assert len(noted(path)) == len(set(noted(path))) >= 4


def fail(kind: type[BaseException] = ValueError) -> None:
    raise kind("not today")


@pytest.mark.parametrize("options", [{}, {"isolate": False}, {"executor": "serial"}, {"executor": "threads"}], ids=str)
@pytest.mark.parametrize("kind", [ValueError, SystemExit])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("on_error", ["raise", "collect"])
def test_what_it_raises_ends_the_call(
    options: dict[str, Any], kind: type[BaseException], count: int, on_error: str
) -> None:
    with pytest.raises(pf.InitializerError, match=r"its initializer failed.*: not today") as caught:
        pf.parallel_map(
            abs, range(count), max_workers=2, initializer=fail, initargs=(kind,), on_error=on_error, **options
        )
    assert isinstance(caught.value, BrokenExecutor)
    assert type(caught.value.__cause__) is kind
    assert "parallel_map(abs)" in str(caught.value)
    assert pf.parallel_map(abs, [-1, -2], max_workers=2) == [1, 2]


def test_what_it_raises_ends_an_async_call() -> None:
    with pytest.raises(pf.InitializerError, match="node WorkAsync: its initializer failed: ValueError: not today"):
        asyncio.run(pf.run_async(WorkAsync, initializer=fail))


def test_an_initializer_that_ends_its_process_ends_the_call() -> None:
    with pytest.raises(pf.WorkerDiedError, match="before they run an item"):
        pf.parallel_map(abs, range(5), max_workers=2, initializer=os._exit, initargs=(3,))


def test_the_runs_of_a_flow_have_it_called_for_them_once(tmp_path: Path) -> None:
    class Runs(pf.ParallelBatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": n} for n in range(3)]

    path = tmp_path / "calls"
    pf.run_batch(Runs(start=Work()), initializer=note, initargs=(path,))
    assert noted(path) == [(os.getpid(), "x")]


def test_runs_and_their_batches_have_it_called_once_in_a_worker(tmp_path: Path) -> None:
    class Inner(Work):
        initializer = staticmethod(fail)  # what the call says wins over it, in the runs too

    class Runs(pf.ParallelBatchFlow):
        def prep(self, shared: Any) -> Any:
            return [{"n": n} for n in range(6)]

    path = tmp_path / "calls"
    pf.run_parallel_batch(Runs(start=Inner()), initializer=note, initargs=(path,), max_workers=2)
    pids = [pid for pid, _ in noted(path)]
    assert len(pids) == len(set(pids)) <= 2
    assert os.getpid() not in pids


@pytest.mark.parametrize("options", [{}, {"isolate": False}, {"executor": "serial"}, {"executor": "threads"}], ids=str)
@pytest.mark.parametrize("items", [[], iter([])], ids=["list", "stream"])
def test_without_items_it_is_not_called(options: dict[str, Any], items: Any) -> None:
    assert pf.parallel_map(abs, items, initializer=fail, **options) == []


def test_without_async_items_it_is_not_called() -> None:
    class Nothing(WorkAsync):
        def prep(self, shared: Any) -> Any:
            return []

        async def post_async(self, shared: Any, items: Any, results: Any) -> Any:
            return "end", {"results": results}

    assert asyncio.run(pf.run_async(Nothing, initializer=fail)) == {"results": []}


@pytest.mark.parametrize("is_failing", [False, True])
def test_an_async_stream_has_it_called_before_its_first_item_and_is_closed(tmp_path: Path, is_failing: bool) -> None:
    path, seen = tmp_path / "calls", []

    async def stream() -> Any:
        try:
            for item in range(5):
                yield item
        finally:
            seen.append("closed")

    class Streams(WorkAsync):
        def prep(self, shared: Any) -> Any:
            return stream()

        async def exec_item_async(self, item: int) -> int:
            await asyncio.sleep(0)
            if is_failing and item == 1:
                raise OSError("item")
            seen.append(len(noted(path)))
            return item

    expected: Any = pytest.raises(OSError, match="item") if is_failing else contextlib.nullcontext()
    with expected:
        asyncio.run(pf.run_async_parallel_batch(Streams, initializer=note, initargs=(path,)))
    assert seen.count("closed") == 1
    assert set(seen) == {"closed", 1}
    assert len(noted(path)) == 1


@pytest.mark.parametrize("options", [{}, {"isolate": False}, {"executor": "serial"}], ids=str)
def test_it_may_make_a_call_itself(options: dict[str, Any]) -> None:
    def begin() -> None:
        state["sum"] = sum(pf.parallel_map(abs, range(50), max_workers=2))

    found = pf.parallel_map(lambda n: state["sum"] + n, range(40), max_workers=2, initializer=begin, **options)
    assert found == [1225 + n for n in range(40)]


def test_what_it_prints_reaches_the_caller(capsys: pytest.CaptureFixture[str]) -> None:
    assert pf.parallel_map(abs, range(4), max_workers=1, initializer=print, initargs=("ready",)) == [0, 1, 2, 3]
    assert capsys.readouterr().out == "ready\n"


def test_one_that_cannot_be_pickled_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(
        pf.PayloadError, match=r"its function or initializer cannot be sent to a worker process: .*lock"
    ):
        pf.parallel_map(abs, range(4), initializer=lambda: lock)


def test_the_call_wins_over_the_node_and_arguments_belong_to_their_function() -> None:
    class Own(Work):
        initializer = staticmethod(fail)
        initargs = (KeyError,)

    with pytest.raises(pf.InitializerError, match="KeyError"):
        pf.run_batch(Own)
    assert BatchOptions.resolve({"initializer": abs}, Own()).initargs == ()
    pf.run_batch(Own, initializer=list)
    pf.run_batch(Own, initializer=None)


def test_arguments_that_are_equal_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    for number in (1, True, 1.0):
        pf.parallel_map(abs, [0], initializer=note, initargs=(tmp_path / "calls", number), executor="serial")
    assert [word for _, word in noted(tmp_path / "calls")] == ["1", "True", "1.0"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"initializer": 3}, "initializer=3: it must be a function"),
        ({"initializer": fail, "initargs": [1]}, "initargs=.*a tuple"),
        ({"initargs": (1,)}, "initargs=.*left away"),
        ({"initializer": asyncio.sleep, "initargs": (1,)}, "initializer=.*not async"),
    ],
)
def test_what_cannot_be_one_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(pf.OptionError, match=words):
        pf.parallel_map(abs, [1], **options)


def test_one_that_ends_its_worker_late_ends_the_call_too() -> None:
    def end_late() -> None:
        threading.Event().wait(0.6)  # longer than deaths may be apart that are counted together
        os._exit(3)

    with pytest.raises(pf.WorkerDiedError, match="before they run an item"):
        pf.parallel_map(abs, range(5), max_workers=8, initializer=end_late)


def test_one_that_never_ends_ends_with_its_call(tmp_path: Path) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()

    def items() -> Any:
        yield 1
        begun.set()
        yield 2

    with pytest.raises(KeyboardInterrupt):
        pf.parallel_map(abs, items(), max_workers=2, initializer=lambda: fifo.read_text())
    interrupter.join()
    assert pf.parallel_map(abs, [-1, -2], max_workers=2) == [1, 2]


def test_one_that_ends_workers_costs_no_other_call() -> None:
    found: list[int] = []
    other = threading.Thread(
        target=lambda: found.extend(pf.parallel_map(abs, range(-500, 0), max_workers=2, chunksize=1))
    )
    other.start()
    for _ in range(3):
        with pytest.raises(pf.WorkerDiedError, match="before they run an item"):
            pf.parallel_map(abs, range(5), max_workers=2, initializer=os._exit, initargs=(7,))
    other.join()
    assert found == [*range(500, 0, -1)]
