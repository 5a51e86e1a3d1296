"""Workers that have run enough, or keep too much memory, are replaced; nothing is lost with them."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value
from pocketflex._engine.wear import own_memory

ship_by_value(sys.modules[__name__])  # workers cannot import this file

MB = 1 << 20


def pid_of(_item: Any) -> int:
    return os.getpid()


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_runs_so_many_items_at_the_most(most: int, workers: int) -> None:
    pids = pf.parallel_map(pid_of, range(250 if most > 1 else 20), max_workers=workers, max_tasks_per_child=most)
    runs = Counter(pids)
    assert max(runs.values()) <= most
    assert len(runs) >= len(pids) // most


def test_it_counts_the_items_of_all_calls() -> None:
    pids = [pf.parallel_map(pid_of, [1], max_workers=1, max_tasks_per_child=2)[0] for _ in range(6)]
    assert max(Counter(pids).values()) <= 2


def test_a_chunk_of_a_fixed_size_is_not_divided() -> None:
    pids = pf.parallel_map(pid_of, range(30), max_workers=1, chunksize=5, max_tasks_per_child=7)
    assert set(Counter(pids).values()) <= {5, 10}


def test_what_runs_as_a_chunk_counts_its_items() -> None:
    class Pids(pf.BatchNode):
        def prep(self, shared: Any) -> Any:
            return range(100)

        def exec_chunk(self, items: Any) -> list[int]:
            assert len(items) <= 8
            return [os.getpid()] * len(items)

        def post(self, shared: Any, items: Any, results: Any) -> Any:
            return "done", {"pids": results}

    pids = pf.run_parallel_batch(Pids, max_workers=2, max_tasks_per_child=8)["pids"]
    assert max(Counter(pids).values()) <= 8


def test_nobody_is_blamed(tmp_path: Path) -> None:
    """Neither an item, nor a call whose items take longer than those after which their worker is replaced."""
    end = tmp_path / "end"
    os.mkfifo(end)
    long: list[Any] = []
    thread = threading.Thread(
        target=lambda: long.extend(pf.parallel_map(lambda _: end.read_text(), [0], max_workers=1, crash_retries=0))
    )
    thread.start()
    try:
        options: Any = {"max_workers": 2, "max_tasks_per_child": 1, "crash_retries": 0}
        assert pf.parallel_map(abs, range(-60, 0), **options) == [*range(60, 0, -1)]
        stream = pf.parallel_imap(abs, iter(range(-60, 0)), **options)
        assert [*stream] == [*range(60, 0, -1)]
    finally:
        end.write_text("done")
        thread.join()
    assert long == ["done"]


kept: list[Any] = []


def keep(nbytes: int) -> tuple[int, int]:
    kept.append(bytearray(os.urandom(1)) * nbytes)
    return os.getpid(), own_memory()


def test_a_worker_that_keeps_more_than_its_part_is_replaced() -> None:
    found = pf.parallel_map(keep, [20 * MB] * 40, max_workers=2, chunksize=1, memory_limit=300 * MB)
    assert len({pid for pid, _ in found}) > 2
    assert max(memory for _, memory in found) < 150 * MB + 25 * MB


def test_one_that_keeps_too_much_whatever_it_runs_still_gets_on() -> None:
    found = pf.parallel_map(pid_of, range(5), max_workers=2, chunksize=1, memory_limit=1)
    assert len(set(found)) == 5


def need_alone(path: str) -> int:
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an error where another has it
        return len(bytearray(os.urandom(1)) * (150 * MB))


def test_items_that_need_much_run_one_at_a_time(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert pf.parallel_map(need_alone, [path] * 10, max_workers=2, memory_limit=250 * MB) == [150 * MB] * 10


def meet(item: tuple[str, Path, Path] | None) -> int:
    if item is not None:
        role, one, two = item
        if role == "a":
            one.write_text("x")
            two.read_text()
        else:
            one.read_text()
            two.write_text("x")
    return os.getpid()


def test_items_that_need_little_run_side_by_side(tmp_path: Path) -> None:
    fifos = tmp_path / "one", tmp_path / "two"
    for fifo in fifos:
        os.mkfifo(fifo)
    found = pf.parallel_map(
        meet, [*[None] * 30, ("a", *fifos), ("b", *fifos)], max_workers=2, chunksize=1, memory_limit=1 << 34
    )
    assert found[-1] != found[-2]


def test_two_calls_with_a_limit_at_a_time_both_get_on() -> None:
    found: list[Any] = []
    stream = pf.parallel_imap(abs, iter(range(1000)), max_workers=2, chunksize=1, memory_limit=200 * MB)
    assert next(stream) == 0
    found = pf.parallel_map(abs, range(100), max_workers=2, chunksize=1, memory_limit=300 * MB)
    assert found == [*range(100)]
    assert [*stream] == [*range(1, 1000)]


@pytest.mark.parametrize("executor", ["serial", "threads"])
def test_where_there_are_no_worker_processes_nothing_is_replaced(executor: str) -> None:
    options: Any = {"max_tasks_per_child": 1, "memory_limit": 1}
    assert pf.parallel_map(pid_of, range(5), executor=executor, **options) == [os.getpid()] * 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"max_tasks_per_child": 0},
            "max_tasks_per_child=0: it must be a whole number, at least 1, or None for no limit",
        ),
        ({"max_tasks_per_child": 1.5}, "max_tasks_per_child=1.5"),
        ({"memory_limit": 0}, "memory_limit=0: it must be a number of bytes"),
        ({"memory_limit": "4 GB"}, "memory_limit='4 GB': it must be a number of bytes, as in memory_limit=4e9"),
        ({"memory_limit": float("nan")}, "memory_limit=nan"),
    ],
)
def test_what_is_no_limit_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(pf.OptionError, match=words):
        pf.parallel_map(abs, [1], **options)


def test_a_call_after_one_that_needed_much_is_not_held_back(tmp_path: Path) -> None:
    """Nor is one beside another limit, nor behind a worker that is in a long item of a call without one."""
    end = tmp_path / "end"
    os.mkfifo(end)
    path, fifos = str(tmp_path / "lock"), (tmp_path / "one", tmp_path / "two")
    for fifo in fifos:
        os.mkfifo(fifo)
    assert pf.parallel_map(need_alone, [path] * 3, max_workers=3, memory_limit=250 * MB) == [150 * MB] * 3
    long = threading.Thread(target=lambda: pf.parallel_map(lambda _: end.read_text(), [0], max_workers=3))
    long.start()
    beside = pf.parallel_imap(abs, iter(range(100)), max_workers=3, memory_limit=1)
    assert next(beside) == 0
    try:
        pair = [("a", *fifos), ("b", *fifos)]
        found = pf.parallel_map(meet, [*[None] * 30, *pair], max_workers=3, chunksize=1, memory_limit=1 << 34)
    finally:
        end.write_text("done")
        long.join()
    assert found[-1] != found[-2]
    assert [*beside] == [*range(1, 100)]
