"""Workers die while much is under way: a large result half written, a large item half read, every channel full.

The cases in which pools with pipes have waited for ever, after CPython's tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import pocketflex as pf
from pocketflex._engine.by_value import ship_by_value

ship_by_value(sys.modules[__name__])  # workers cannot import this file

MS = 0.001
DELAYS = [0, 3 * MS, 10 * MS, 30 * MS]  # from before the first byte to behind the last


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def workers() -> list[psutil.Process]:
    return [worker for spawner in psutil.Process().children() for worker in spawner.children()]


def make_boxed(item: int) -> list[Any]:
    return [bytes([item]) * 10_000_000, np.full(1_000_000, item)]


def make_text(item: int) -> str:
    return chr(97 + item) * 20_000_000


def make_array(item: int) -> Any:
    return np.full((1_000, 2_000), item)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, list):
        return all(map(same, one, other))
    return bool(np.array_equal(one, other)) if isinstance(one, np.ndarray) else bool(one == other)


@pytest.mark.parametrize("make", [make_boxed, make_text, make_array])
def test_a_worker_that_dies_while_it_writes_a_large_result_costs_a_try(
    make: Callable[[int], Any], tmp_path: Path
) -> None:
    def work(task: tuple[int, float]) -> Any:
        item, delay = task
        result = make(item)
        if item == 1 and not (marker := tmp_path / f"{delay}").exists():
            marker.touch()
            threading.Timer(delay, kill_this_process).start()
        return result

    for delay in DELAYS:
        found = pf.parallel_map(work, [(item, delay) for item in range(3)], max_workers=2)
        assert all(same(one, make(item)) for item, one in enumerate(found)), delay


ITEMS = {
    "bytes that are fetched": [bytes([n]) * 20_000_000 for n in range(3)],
    "rows that are fetched": np.arange(8.0).repeat(1_000_000).reshape(8, -1),
    "copied": [[bytes([n]) * 5_000_000, np.full(1_000_000, n)] for n in range(4)],
}


def first(item: Any) -> float:
    item = item[1] if isinstance(item, list) else item
    return float(item[0]) + float(item[-1])


@pytest.mark.parametrize("kind", ITEMS)
def test_workers_that_die_while_they_read_large_items_cost_a_try(kind: str) -> None:
    items = ITEMS[kind]
    for delay in DELAYS:
        pf.parallel_map(abs, range(4), max_workers=2)
        killers = [threading.Timer(delay, worker.kill) for worker in workers()]
        for killer in killers:
            killer.start()
        assert pf.parallel_map(first, items, max_workers=2, crash_retries=5) == list(map(first, items)), delay
        for killer in killers:
            killer.join()


@pytest.mark.parametrize("ordered", [True, False])
def test_workers_that_die_with_all_channels_full_lose_nothing(ordered: bool) -> None:
    """Nobody reads what they tell: they have written all records that there is room for, and wait."""
    stream = pf.parallel_imap(abs, iter(range(1_000)), max_workers=2, chunksize=1, ordered=ordered, crash_retries=9)
    found = [next(stream)]
    for _ in range(2):
        victims = workers()
        for victim in victims:
            victim.kill()
        psutil.wait_procs(victims, 10)
        found += [next(stream) for _ in range(300)]
    found += stream
    assert sorted(found) == list(range(1_000))
    assert not ordered or found == sorted(found)


def test_an_item_takes_its_time_while_other_calls_come_and_go(tmp_path: Path) -> None:
    """Its worker reads nothing meanwhile, and has the memory of 600 calls to hear of."""
    begun, end, log = tmp_path / "begun", tmp_path / "end", tmp_path / "log"
    for fifo in (begun, end):
        os.mkfifo(fifo)

    def stay(_item: int) -> str:
        with open(log, "a") as lines:
            lines.write("run\n")
        begun.write_text("x")
        return end.read_text()

    held: list[Any] = []
    long = threading.Thread(target=lambda: held.extend(pf.parallel_map(stay, [0], max_workers=1)))
    long.start()
    begun.read_text()
    try:
        for number in range(600):
            rows = pf.share(np.full((4, 2), number))
            assert pf.parallel_map(lambda row: int(row[0]), rows, max_workers=2) == [number] * 4
    finally:
        end.write_text("done")
        long.join()
    assert held == ["done"]
    assert log.read_text() == "run\n"


@pytest.mark.parametrize("nbytes", [100, 33 << 20], ids=["shared", "alone"])
def test_an_item_takes_its_time_while_its_job_goes_on(tmp_path: Path, nbytes: int) -> None:
    """Each other item lies in memory of its own, which its worker hears of only then."""
    end, log = tmp_path / "end", tmp_path / "log"
    os.mkfifo(end)
    count = 600 if nbytes == 100 else 160

    def items() -> Iterator[np.ndarray]:
        for number in range(count):
            yield pf.share(np.full(10, number)) if nbytes == 100 else np.broadcast_to(np.uint8(number), nbytes)

    def work(item: np.ndarray) -> int:
        if item[0] == 0:
            with open(log, "a") as lines:
                lines.write("run\n")
            end.read_text()
        return int(item[0])

    found = []
    stream = pf.parallel_imap(work, items(), max_workers=2, ordered=False, chunksize=1)
    for number in stream:
        found.append(number)
        if len(found) == count - 20:
            end.write_text("done")
    assert sorted(found) == list(range(count))
    assert log.read_text() == "run\n"
