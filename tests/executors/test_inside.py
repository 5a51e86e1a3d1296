"""`isolate=False`: items that run in this process, beside workers or alone."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import signal
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import psutil
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex.call import Call
from pocketflex.executors.base import Job
from pocketflex.executors.process import ProcessPool
from pocketflex.retry import current_attempt

ship_by_value(sys.modules[__name__])  # pytest loads this file by its path, so workers cannot import it
HERE = os.getpid()


def where(_item: Any) -> int:
    return os.getpid()


def meet(tmp_path: Path) -> Callable[[int], None]:
    """What items 0 and 1 call to go on only when both of them run."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def wait(item: int) -> None:
        os.close(os.open(pipe, os.O_WRONLY if item else os.O_RDONLY))

    return wait


class Local:
    """A callable that only the process that has made it can load."""

    def __call__(self, item: int) -> int:
        return -item

    def __reduce__(self) -> Any:
        return load_local, (HERE,)


def load_local(pid: int) -> Local:
    if os.getpid() != pid:
        raise LookupError("not here")
    return Local()


# --- who runs what -------------------------------------------------------------------------------


def test_one_item_runs_here_while_a_worker_runs_the_other(tmp_path: Path) -> None:
    wait = meet(tmp_path)

    def work(item: int) -> int:
        wait(item)
        return os.getpid()

    found = pf.parallel_map(work, [0, 1], max_workers=2, isolate=False)
    assert found.count(HERE) == 1
    assert len(psutil.Process().children()[0].children()) == 1, "this process counts as one of max_workers"


@pytest.mark.parametrize(("items", "max_workers"), [(range(100), 1), ([5], 4), (iter(range(3)), 1)], ids=str)
def test_where_nobody_else_would_have_an_item_there_is_no_worker(items: Any, max_workers: int) -> None:
    assert set(pf.parallel_map(where, items, max_workers=max_workers, isolate=False)) == {HERE}
    assert [worker for spawner in psutil.Process().children() for worker in spawner.children()] == []


def test_the_items_and_results_are_the_objects_themselves() -> None:
    items = [[n] for n in range(50)]
    found = pf.parallel_map(lambda item: item, items, max_workers=1, isolate=False)
    assert all(one is other for one, other in zip(found, items, strict=True))


def test_the_rows_of_an_array_are_views_of_it() -> None:
    rows = np.zeros((4, 2))
    pf.parallel_map(lambda row: row.fill(1), rows, max_workers=1, isolate=False)
    assert rows.sum() == 8


@pytest.mark.parametrize("max_workers", [1, 2])
def test_with_a_timeout_nothing_runs_here(max_workers: int) -> None:
    found = pf.parallel_map(where, range(200), max_workers=max_workers, isolate=False, timeout=60)
    assert HERE not in found


def test_chunks_are_left_to_the_workers() -> None:
    class Whole(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(100)

        def exec_chunk(self, items: Any) -> Any:
            return [os.getpid()] * len(items)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"pids": set(results)}

    assert HERE not in pf.run_parallel_batch(Whole, isolate=False)["pids"]


def test_an_event_loop_runs_none_of_the_items_itself() -> None:
    class Where(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(200)

        def exec_item(self, item: int) -> int:
            return os.getpid()

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"pids": set(results)}

    assert HERE not in asyncio.run(pf.run_async_parallel_batch(Where, isolate=False, max_workers=2))["pids"]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_elsewhere_the_option_changes_nothing(executor: str) -> None:
    assert pf.parallel_map(abs, range(-5, 0), executor=executor, isolate=False) == [5, 4, 3, 2, 1]


@pytest.mark.parametrize("max_workers", [1, 2, 3])
@pytest.mark.parametrize("make", [list, iter, np.array], ids=["list", "iterator", "array"])
def test_many_tiny_items_come_back_in_order(make: Callable[[Any], Any], max_workers: int) -> None:
    found = pf.parallel_map(lambda n: int(n) + 1, make(range(200_000)), max_workers=max_workers, isolate=False)
    assert found == list(range(1, 200_001))


def test_the_results_of_both_come_in_one_array(tmp_path: Path) -> None:
    wait = meet(tmp_path)

    def work(item: int) -> int:
        wait(item)
        return os.getpid()

    found = pf.parallel_map(work, [0, 1], max_workers=2, isolate=False, output="array")
    assert isinstance(found, np.ndarray)
    assert found.tolist().count(HERE) == 1


def test_many_results_of_tiny_items_come_in_one_array() -> None:
    found = pf.parallel_map(lambda n: n * 0.5, range(100_000), max_workers=2, isolate=False, output="array")
    np.testing.assert_array_equal(found, np.arange(100_000) * 0.5)


def test_a_stream_is_read_as_it_is_consumed() -> None:
    read = itertools.count()
    stream = pf.parallel_imap(abs, read, max_workers=1, isolate=False, chunksize=2)
    assert list(itertools.islice(stream, 3)) == [0, 1, 2]
    stream.close()
    assert next(read) <= 6


# --- failures ------------------------------------------------------------------------------------


def test_an_exception_of_an_item_that_ran_here_has_a_note_and_no_remote_traceback() -> None:
    def fail(item: int) -> int:
        return 1 // (item - 3)

    with pytest.raises(ZeroDivisionError) as caught:
        pf.parallel_map(fail, range(9), max_workers=1, isolate=False)
    assert caught.value.__cause__ is None
    (note,) = caught.value.__notes__
    assert "item 3, attempt 1" in note
    found = pf.parallel_map(fail, range(9), max_workers=1, isolate=False, on_error="collect")
    assert [isinstance(one, pf.Failure) for one in found] == [n == 3 for n in range(9)]


def test_a_failure_does_not_keep_the_other_items() -> None:
    items = [Local() for _ in range(100)]
    watched = [weakref.ref(item) for item in items]
    found = pf.parallel_map(len, items, max_workers=1, isolate=False, on_error="collect")  # type: ignore[arg-type]
    items.clear()
    assert all(one.kind == "exception" for one in found)
    kept = found[7]
    found.clear()
    assert [at for at, one in enumerate(watched) if one() is not None] == [7], "its own is kept, for a replay"
    del kept
    assert [one for one in watched if one() is not None] == []


@pytest.mark.parametrize("max_workers", [1, 2])
def test_attempts_and_fallbacks_are_those_of_a_worker(max_workers: int) -> None:
    class Stubborn(pf.BatchNode):
        max_retries = 3

        def prep(self, shared: Any) -> Any:
            return range(300)

        def exec_item(self, item: int) -> Any:
            if item % 2 or self.cur_retry < 2:
                raise ValueError(item)
            return self.cur_retry

        def exec_fallback(self, item: int, error: Exception) -> Any:
            return str(error)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"results": results}

    before = current_attempt()
    found = pf.run_parallel_batch(Stubborn, isolate=False, max_workers=max_workers)["results"]
    assert found == [str(n) if n % 2 else 2 for n in range(300)]
    assert current_attempt() == before


def test_an_item_that_ends_its_worker_is_not_run_here(tmp_path: Path) -> None:
    wait = meet(tmp_path)

    def work(item: int) -> int:
        if item < 2:
            wait(item)
            if os.getpid() != HERE:
                os._exit(3)
        return os.getpid()

    found = pf.parallel_map(work, range(2), max_workers=2, isolate=False, on_error="collect", crash_retries=0)
    (crashed,) = [one for one in found if isinstance(one, pf.Failure)]
    assert crashed.kind == "crashed"
    assert HERE in found


def test_ctrl_c_in_an_item_ends_the_call_and_leaves_the_pool_usable() -> None:
    def work(item: int) -> int:
        if os.getpid() == HERE:
            signal.raise_signal(signal.SIGINT)
        return item

    for max_workers in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            pf.parallel_map(work, range(1000), max_workers=max_workers, isolate=False, on_error="collect")
        assert pf.parallel_map(abs, range(1000), max_workers=2, isolate=False) == list(range(1000))


def test_a_list_that_an_item_shortens_is_an_error() -> None:
    items = list(range(100))

    def shorten(item: int) -> None:
        if item == 50:
            items.clear()

    with pytest.raises(RuntimeError, match="the list of items had 100"):
        pf.parallel_map(shorten, items, max_workers=1, isolate=False)


@pytest.mark.parametrize("max_workers", [1, 2])
def test_a_run_is_cancelled_by_an_item(max_workers: int) -> None:
    runs: list[Any] = []

    def work(item: int) -> int:
        for run in runs:
            run.cancel()
        return item

    run = ProcessPool().start(
        Job(Call(Shipped(work)), range(100_000), "x"), pf.BatchOptions(max_workers=max_workers, isolate=False)
    )
    runs.append(run)
    assert sum(len(outcomes.results) for outcomes in run) < 100_000


class Shipped:
    """Calls a function here; in a worker it is `abs`."""

    def __init__(self, function: Callable[[int], int]) -> None:
        self.function = function

    def __call__(self, item: int) -> int:
        return self.function(item)

    def __reduce__(self) -> Any:
        return Shipped, (abs,)


# --- what cannot be carried ----------------------------------------------------------------------


@pytest.mark.parametrize("max_workers", [1, 2])
@pytest.mark.parametrize("chunksize", [None, 3])
def test_what_cannot_be_carried_there_or_back_runs_here(max_workers: int, chunksize: int | None) -> None:
    items: list[Any] = [Lock() if n % 7 == 0 else n for n in range(300)]
    found = pf.parallel_map(
        lambda one: type(one).__name__, items, max_workers=max_workers, isolate=False, chunksize=chunksize
    )
    assert found == [type(one).__name__ for one in items]
    locks = pf.parallel_map(
        lambda n: Lock() if n % 5 else n, range(300), max_workers=max_workers, isolate=False, chunksize=chunksize
    )
    assert [type(one).__name__ for one in locks] == ["lock" if n % 5 else "int" for n in range(300)]


def test_what_fails_here_after_it_could_not_be_carried_is_its_own_failure() -> None:
    items: list[Any] = [Lock(), *range(50)]
    found = pf.parallel_map(len, items, max_workers=2, isolate=False, on_error="collect")
    assert [(one.index, one.kind) for one in found] == [(n, "exception") for n in range(51)]


@pytest.mark.parametrize("kind", ["dumped", "loaded"])
def test_a_function_that_cannot_be_carried_runs_here_and_that_is_told(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    lock = Lock()
    function: Any = Local() if kind == "loaded" else (lambda item: -item if lock else 0)
    with caplog.at_level(logging.WARNING, "pocketflex"):
        found = pf.parallel_map(function, range(100_000), max_workers=2, isolate=False)
    assert found == [-n for n in range(100_000)]
    assert len(caplog.records) == 1 or kind == "loaded"  # all may be done before a worker tries
    assert all("all items run in this process" in record.getMessage() for record in caplog.records)


def test_a_call_inside_an_item_that_runs_here_runs_there() -> None:
    def inner(_item: int) -> set[int]:
        return set(pf.parallel_map(where, range(10), max_workers=2, isolate=False)) | {os.getpid()}

    found = pf.parallel_map(inner, range(50), max_workers=2, isolate=False)
    assert all(len(pids) == 1 for pids in found)
    assert set(pf.parallel_map(inner, [1], isolate=False)[0]) == {HERE}
